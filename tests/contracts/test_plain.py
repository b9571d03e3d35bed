"""Outside text made plain: what is left of it can be seen, and does nothing."""

import json
import re
import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from contracts.plain import code_span, json_text, one_line, plain, plain_lines, unlinked

HIDDEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
ANYTHING = st.text(st.characters(), max_size=200)
HOSTILE = st.lists(
    st.one_of(
        st.sampled_from(
            [
                *(
                    "\x1b[31m",
                    "\x1b]0;title\x07",
                    "\x1b]8;;http://evil.example\x1b\\",
                    "\x1bc",
                    "\x1b",
                ),
                *(
                    "\x9b2J",
                    "\x9d52;c;AAAA\x9c",
                    "\x1bP1$r\x1b\\",
                    "\x90",
                    "\x07",
                    "\x08",
                    "\r",
                    "\n",
                ),
                *("\x7f", "\x85", "\u2028", "\u2029", "\u202e", "\u2066", "\u200b", "\ufeff"),
                *("\U000e0041", "\ud800", "\udfff", "\ufe0f", "\u3164", "\u2800", "\u00ad"),
                *("![x](http://evil.example/x.png)", "[x](javascript:alert(1))", "<b>", "<!--"),
                *(
                    "<http://evil.example>",
                    "http://evil.example",
                    "www.evil.example",
                    "a@b.example",
                ),
                *("`", "``", "```", "[x]: http://evil.example", "@here", "<!channel>", "    ", "|"),
            ]
        ),
        st.text(max_size=5),
    )
).map("".join)


def seen(text: str) -> bool:
    """Whether each character of it can be seen, or is a space."""
    return all(
        unicodedata.category(c) not in HIDDEN and (c == " " or not c.isspace()) for c in text
    )


@given(st.one_of(ANYTHING, HOSTILE))
@example("\x1b[31mred\x1b[0m")
def test_only_what_can_be_seen_is_left(text: str) -> None:
    """On one line, and the same when it is made plain again."""
    for made in (plain(text), one_line(text), unlinked(text), code_span(text)):
        assert seen(made), ascii(made)
    assert plain(plain(text)) == plain(text)
    assert plain_lines(text).count("\n") == text.count("\n")


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("Grüße, 你好, שלום, 🦊", "Grüße, 你好, שלום, 🦊"),
        ("  two  spaces", "  two  spaces"),
        ("\x1b[1;31mred\x1b[0m", "red"),
        ("\x1b]0;a title\x07text", "text"),
        ("\x1b]8;;https://evil.example\x1b\\click\x1b]8;;\x1b\\", "click"),
        ("\x1b]52;c;cm0gLXJm\x07paste", "paste"),
        ("\x9b31mred", "red"),
        ("\x1bc\x1b(0reset", "reset"),
        ("\x1b[31", "31"),
        ("\x1b]0;no end", "0;no end"),
        ("one\ntwo\r\nthree", "one two  three"),
        ("pay\u202egnp.exe", "pay gnp.exe"),
        ("a\u200bb\ufeffc", "a b c"),
        ("a\U000e0041\U000e0042b", "a  b"),
        ("half \ud83e", "half  "),
        ("heart \u2764\ufe0f\u3164", "heart \u2764"),
    ],
)
def test_examples(text: str, left: str) -> None:
    """Text of all languages stays; what steers a terminal, an eye or a parser goes."""
    assert plain(text) == left


def test_its_length_is_bounded() -> None:
    """And says that there was more."""
    assert plain("x" * 9, 4) == "xxxx…"
    assert plain("xxxx", 4) == "xxxx"
    assert len(plain("y" * 1_000_000)) == 4_001


@pytest.mark.parametrize("part", ["\x1b[", "\x1b]", "\x1b", "\x9d", "\x1b[0;", "\x90\x9d"])
def test_the_patterns_do_not_go_back_and_forth(part: str) -> None:
    """A million characters are done in a moment; with a pattern that does it would take hours."""
    assert seen(plain(part * (1_000_000 // len(part)), 1_000_000))


@given(st.one_of(ANYTHING, HOSTILE))
@example("`` ` ``")
@example("")
def test_code_in_markdown_stays_code(text: str) -> None:
    """Whatever is in it: one span of code within its line, and nothing beside it."""
    page = MarkdownIt("gfm-like", {"linkify": False}).parse(f"- before {code_span(text)} after")
    [inline] = [token for token in page if token.type == "inline"]
    assert [child.type for child in inline.children or ()] == ["text", "code_inline", "text"]


@given(st.one_of(ANYTHING, HOSTILE))
@example("[x]<http://evil.example>")
@example("[x]@evil.example")
def test_no_link_comes_to_life_in_a_chat(text: str) -> None:
    """Neither the links of Markdown, nor Slack's, nor bare ones, nor mentions."""
    assert not re.search(r"://|www\.|\]\(|[<>@`]", unlinked(text))


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | ANYTHING | HOSTILE,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(HOSTILE, inner, max_size=3),
        max_leaves=6,
    ),
    st.sampled_from([None, 2]),
)
def test_json_means_the_same(value: object, indent: int | None) -> None:
    """And shows nothing but visible characters, on as many lines as it should."""
    text = json_text(value, indent=indent)
    assert json.loads(text) == json.loads(json.dumps(value))  # two halves become one pair
    assert all(line.isprintable() for line in text.split("\n"))
    assert indent or "\n" not in text


def test_json_has_no_nan() -> None:
    """It is no JSON."""
    with pytest.raises(ValueError, match="JSON"):
        json_text(float("nan"))
