"""The commands `duragen up`, `logs` and `demo`."""
