"""docs/architecture.md answers where things are, and each path that the docs name exists."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
LINK = re.compile(r"\]\(([^)#\s]+)(#[^)]*)?\)")

QUESTIONS = {
    "tried again": ["PROVIDER_RETRY", "ODOO_RETRY"],
    "error code": ["TAXONOMY"],
    "HTTP paths": ["/v1/generations"],
    "key in the store": ["def image_key"],
    "setting's default": ["link_seconds", "max_body_bytes"],
    "alert worded": ["def provider_down", "def deliveries_parked"],
    "process ready": ["/health/ready"],
    "search attributes": ["SEARCH_ATTRIBUTES", "upsert_search_attributes"],
    "callback to Odoo": ["webhook-signature"],
    "provider added": ["REGISTRY"],
    "entry point added": ["class EntryPoint"],
    "metric be added": ["set_tracer_provider"],
}
"""A question's words, and what must be found in the files that answer it."""


def _answers() -> dict[str, list[Path]]:
    """The table's questions, and the files of each answer."""
    page = (DOCS / "architecture.md").read_text()
    table = page.partition("## Where is it?")[2].partition("\n## ")[0]
    rows = [line.split(" | ") for line in table.splitlines() if line.startswith("| ")]
    return {
        row[0]: [(DOCS / target).resolve() for target, _ in LINK.findall(row[1])]
        for row in rows
        if LINK.search(row[1])
    }


def _text(path: Path) -> str:
    files = path.rglob("*.py") if path.is_dir() else [path]
    return "\n".join(file.read_text() for file in files)


@pytest.mark.parametrize("words", QUESTIONS)
def test_a_question_leads_to_the_place(words: str) -> None:
    """One row has the question, and its files hold what was asked for."""
    [paths] = [paths for question, paths in _answers().items() if words in question]
    text = "\n".join(map(_text, paths))
    assert [wanted for wanted in QUESTIONS[words] if wanted not in text] == []


def test_there_are_twelve_questions() -> None:
    """No row is untested."""
    assert len(_answers()) == len(QUESTIONS) == 12


PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md", *DOCS.rglob("*.md")]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_links_of_a_page_lead_somewhere(page: Path) -> None:
    """Links to files of the repository; other sites are not asked."""
    targets = [target for target, _ in LINK.findall(page.read_text()) if "://" not in target]
    assert [target for target in targets if not (page.parent / target).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_modules_that_a_page_names_exist(page: Path) -> None:
    """A path in backticks that begins with one of our folders, such as `workflows/options.py`."""
    ours = "activities|benchmarks|contracts|deploy|otel|peers|starter|tests|workers|workflows"
    named = re.findall(rf"`((?:{ours})/[\w/.-]+\.\w+)", page.read_text())
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_the_words_that_are_gone_are_gone() -> None:
    """They are in the glossary, which replaces them, in recorded data, and in names of others."""
    recorded = ("tests/histories", "benchmarks/results", "*/package-lock.json")
    left_out = ("docs/glossary.md", "CHANGELOG.md", *recorded)
    found = subprocess.run(
        ["git", "grep", "-niE", r"\bmend|\btold\b", "--", ".", *(f":!{path}" for path in left_out)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (found.returncode, found.stdout) == (1, "")
