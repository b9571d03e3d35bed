"""The embedded stack: its parts, their ports, settings, processes and logs."""
