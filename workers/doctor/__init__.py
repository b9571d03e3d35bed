"""The command `duragen doctor`: checks every dependency, and says how to fix what is wrong."""
