"""`python -m starter.cli`: the same as the console script `duragen`."""

from starter.cli import main

main()
