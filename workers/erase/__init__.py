"""The command `duragen erase`: remove what a person may ask to be removed."""
