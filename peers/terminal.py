"""The terminal of a person. Everything that a command writes goes through here, and is plain.

So nobody has to remember it where a text is put together. Line breaks within a value are the
exception: `one_line` takes them out where the value enters a line.
"""

import os
import sys
from typing import Any

from rich.console import Console
from rich.text import Text

from contracts.plain import MAX_CHARACTERS, json_text, plain_lines

WIDE = 200
"""Columns where the output has no width: a file, a pipe."""


def say(text: object = "", *, most: int = MAX_CHARACTERS) -> None:
    """Write one text to stdout, at once; each line of it up to `most` characters."""
    print(plain_lines(text, most), flush=True)  # noqa: T201  # the one place


def say_json(value: object, indent: int | None = None) -> None:
    """Write JSON to stdout: whole, with escapes for what a terminal would obey."""
    print(json_text(value, indent=indent), flush=True)  # noqa: T201  # as above


def complain(text: object) -> None:
    """Write one text to stderr."""
    print(plain_lines(text), file=sys.stderr, flush=True)  # noqa: T201  # as above


def styled(text: object, style: str) -> Text:
    """A text in colour, for a console."""
    return Text(plain_lines(text), style)


class PlainConsole(Console):
    """rich's, for tables and colours: in a text brackets and colons mean nothing."""

    def render_str(self, text: str, **how: Any) -> Text:
        """What rich makes of each text that it is given, also of a table's cells."""
        return super().render_str(plain_lines(text), **how)


def console(**more: Any) -> PlainConsole:
    """Where tables and colours go; wide when it is no terminal, so that ids stay whole."""
    width = None if sys.stdout.isatty() or "COLUMNS" in os.environ else WIDE
    return PlainConsole(width=width, highlight=False, markup=False, emoji=False, **more)
