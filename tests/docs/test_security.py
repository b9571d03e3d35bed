"""docs/security.md: every line of its table names a test that exists."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "security.md"
FILE = re.compile(r"\]\(\.\./([^)#\s]+\.py)\)")
TEST = re.compile(r"`(test_\w+)`")
OWASP = {f"API{number}" for number in range(1, 11)}


def rows() -> list[list[str]]:
    """The cells of each line: what is tried, what stops it, what proves that."""
    table = PAGE.read_text().partition("## The table")[2]
    lines = [line.strip("|").split(" | ") for line in table.splitlines() if line.startswith("| ")]
    return [line for line in lines if line[-1].strip() not in {"proven by", "---"}]


def test_every_line_has_its_tests() -> None:
    """Each names at least one file and one test in it, and all of them are there."""
    missing = []
    for row in rows():
        files, tests = FILE.findall(row[-1]), TEST.findall(row[-1])
        text = "\n".join((ROOT / file).read_text() for file in files)
        unknown = [test for test in tests if f"def {test}(" not in text]
        if len(row) != 3 or not files or not tests or unknown:
            missing.append((row[0], unknown))
    assert missing == []


def test_the_ten_of_owasp_are_there() -> None:
    """OWASP API Security Top 10, 2023: each has a line."""
    found = {name for row in rows() for name in re.findall(r"\bAPI\d+\b", row[0])}
    assert found == OWASP
