"""The command `duragen replay`: runs recorded histories against the code as it is now."""
