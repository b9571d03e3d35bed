"""Links between the pages lead somewhere: to a file that is there, and to a heading in it."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
_FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


def _tracked() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--", "*.md"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    return [ROOT / name for name in listed.split("\0") if name]


def _without_code(page: Path) -> str:
    return _FENCE.sub("", page.read_text(encoding="utf-8"))


def anchors(page: Path) -> set[str]:
    """The headings as GitHub names them in links."""
    found: set[str] = set()
    for heading in _HEADING.findall(_without_code(page)):
        text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).strip().lower()
        name = re.sub(r"[^\w\- ]", "", text).replace(" ", "-")
        same = sum(1 for each in found if re.fullmatch(rf"{re.escape(name)}(-\d+)?", each))
        found.add(f"{name}-{same}" if same else name)
    return found


def dead_links(page: Path) -> list[str]:
    """Those that lead to no file, or to no heading of a page."""
    dead = []
    for link in _LINK.findall(_without_code(page)):
        path, _, anchor = link.partition("#")
        if "://" in link or link.startswith("mailto:"):
            continue
        there = (page.parent / path).resolve() if path else page
        if not there.exists() or (
            anchor and there.suffix == ".md" and anchor not in anchors(there)
        ):
            dead.append(link)
    return dead


@pytest.mark.parametrize("page", _tracked(), ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    """A section that is renamed or lost takes its links along."""
    assert dead_links(page) == []


def test_what_is_dead_is_found(tmp_path: Path) -> None:
    """A file and a heading that are not there, and headings that are alike."""
    page = tmp_path / "page.md"
    page.write_text(
        "# A `code` & more\n## Twice\n## Twice\n```\n# no heading [x](no.md)\n```\n"
        "[1](#a-code--more) [2](#twice) [3](#twice-1) [4](page.md#twice) [5](https://x.example/#y)\n"
        "[6](#no-heading) [7](no.md) [8](page.md#twice-2)\n"
    )
    assert dead_links(page) == ["#no-heading", "no.md", "page.md#twice-2"]
