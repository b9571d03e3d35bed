"""Outside text made plain, for terminals, logs, pages, Markdown and chats.

What a provider, an Odoo or a caller wrote may hold escape sequences that a terminal obeys,
characters that nobody sees or that turn the reading order round, line breaks that forge a line, and
links. Outputs take such text through here. Pure functions: workflows may use them.
"""

import json
import re
from collections.abc import Callable
from typing import Any

MAX_CHARACTERS = 4_000
"""Of one line; what an error says beyond that helps nobody at a terminal."""

# ECMA-48, 5.4, 8.3 and 5.3: control sequences; strings up to their end (OSC: titles, links, the
# clipboard); other escapes. Each part stops where the next could begin: the time is linear.
_ESCAPES = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"
    r"|(?:\x1b[\]PX^_]|[\x9d\x90\x98\x9e\x9f])[^\x07\x1b\x90\x98\x9c-\x9f]*(?:\x07|\x1b\\|\x9c)"
    r"|\x1b[ -/]*[0-~]"
)
# Unicode, Default_Ignorable_Code_Point, where Python calls it printable; and the blank of Braille.
_UNSEEN = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0"
    "\U000e0100-\U000e01ef]"
)
_LINKING = {
    # First what becomes a bracket itself: `]<x>` would else be a link of Markdown.
    "<": "(",
    ">": ")",
    "@": "(at)",
    "`": "'",
    "](": "] (",
    "://": ": //",
    "www.": "www .",
}


def plain(text: object, most: int = MAX_CHARACTERS) -> str:
    """One line of visible characters, at most `most` of them, and `…` where more were.

    Escape sequences are left out. A space takes the place of every character that is not printable
    (`str.isprintable`): controls, line breaks, marks of direction, those without width, tags, half
    surrogates. Spaces stay as they are.
    """
    whole = str(text)
    line = _UNSEEN.sub("", _ESCAPES.sub("", whole[:most]))
    if not line.isprintable():
        line = "".join(c if c.isprintable() else " " for c in line)
    return f"{line}…" if len(whole) > most else line


def plain_lines(text: object, most: int = MAX_CHARACTERS) -> str:
    """The same line by line, for texts of our own that have several."""
    return "\n".join(plain(line, most) for line in str(text).split("\n"))


def one_line(text: object, most: int = MAX_CHARACTERS) -> str:
    """Plain, with single spaces: for a cell of a table, and within a sentence."""
    return " ".join(plain(text, most).split())


def code_span(text: object) -> str:
    """As code in Markdown: no link, image, HTML or mention in it comes to life."""
    return f"`{one_line(text).replace('`', chr(39)) or '-'}`"


def unlinked(text: object) -> str:
    """For chats and mail, which make links and mentions of bare text, each in its own syntax."""
    line = one_line(text)
    for live, dead in _LINKING.items():
        line = line.replace(live, dead)
    return line


def json_text(
    value: object, *, indent: int | None = None, default: Callable[[Any], Any] | None = None
) -> str:
    """JSON whose characters are all visible; it means the same, for others stand there as escapes.

    Raises what `json.dumps` raises; NaN is refused.
    """
    text = json.dumps(value, indent=indent, default=default, ensure_ascii=False, allow_nan=False)
    lines = text.split("\n")  # of the indentation: in a string a line break is an escape
    return "\n".join(line if line.isprintable() else _escaped(line) for line in lines)


def _escaped(line: str) -> str:
    # As an escape of JSON's: two for what is beyond 16 bits, and `\ud800` for half a pair.
    return "".join(c if c.isprintable() else _escape(c) for c in line)


def _escape(character: str) -> str:
    units = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[n : n + 2].hex()}" for n in range(0, len(units), 2))
