"""A part's log on the terminal: its end, and what is added to it."""

import threading
import time
from collections import deque
from pathlib import Path

from peers.terminal import say

LINE_CHARACTERS = 65_536
"""A line of a log may hold a traceback."""

_POLL_SECONDS = 0.2


def tail(file: Path, lines: int) -> list[str]:
    """The last lines of a log, none when there is no log yet."""
    try:
        with file.open(errors="replace", newline="\n") as stream:
            return [line.rstrip("\n") for line in deque(stream, maxlen=lines)]
    except FileNotFoundError:
        return []


def follow(name: str, file: Path, ending: threading.Event, *, from_end: bool = True) -> None:
    """Prints what is added to `file`, each line led by the part's name, until `ending` is set."""
    at = file.stat().st_size if from_end and file.exists() else 0
    rest = ""
    while not ending.is_set():
        if file.exists():
            if file.stat().st_size < at:  # a new file was begun because the old one was long
                at = 0
            with file.open(errors="replace", newline="\n") as stream:
                stream.seek(at)
                *whole, rest = (rest + stream.read()).split("\n")
                at = stream.tell()
            for line in whole:
                say(f"{name:>9} | {line}", most=LINE_CHARACTERS)
        time.sleep(_POLL_SECONDS)


def follow_in_background(name: str, file: Path, ending: threading.Event) -> None:
    """`follow` in a thread that does not keep the process alive."""
    threading.Thread(target=follow, args=(name, file, ending), daemon=True).start()
