"""The process: settings, wiring, which queue runs what, health, graceful shutdown."""
