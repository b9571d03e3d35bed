"""The lifecycle, deterministic: it decides, and leaves every side effect to activities."""
