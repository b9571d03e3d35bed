"""The Odoo addon where no Odoo is: what it repeats of our contracts, and what 18 and 19 share."""

import ast
import csv
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from contracts.errors import TAXONOMY, Charge
from tests.deploy.addon import ADDON, ROOT, module

PYTHON = sorted(path for path in ADDON.rglob("*.py") if "__pycache__" not in path.parts)
XML = sorted(ADDON.rglob("*.xml"))

NOT_IN_BOTH = {
    r"_sql_constraints": "creates nothing on 19: a unique index in init()",
    r"models\.(Constraint|Index|UniqueIndex)\b": "absent on 18: an index in init()",
    r"[\"']groups?_ids?[\"']": "groups_id on 18, group_ids on 19: look it up in _fields",
    r"type=[\"']json(rpc)?[\"']": "json on 18, jsonrpc on 19: type='http'",
    r"_(notify|commit)_progress": "another name on each",
    r"api\.private": "absent on 18: a leading underscore",
    r"StrEnum|tomllib|datetime\.UTC|import UTC|TaskGroup|ExceptionGroup": "not in Python 3.10",
    r"import Self|typing\.Self|assert_never|LiteralString": "not in Python 3.10",
    r"odoo\.orm|odoo\.fields\.domain|odoo\.fields import Domain": "absent on 18",
}
NOT_IN_BOTH_XML = {
    r"<tree\b": "<list>",
    r"\battrs=": "invisible=, readonly=, required=",
    r"\bstates=": "invisible=",
    r"numbercall": "gone",
    r"<group[^>]+expand=": "an error on 19 within <search>",
    r"view_mode[^>]*>[^<]*\btree\b": "list",
    r"name=\"(category_id|privilege_id|user_ids|groups_id|group_ids)\"": "one version's alone",
    r"t-esc=": "t-out",
}


HELPERS = {"__init__", "common", "portal_case", "portal_form"} | {
    f"portal_{name}" for name in ("answers", "cards", "words")
}
"""What others import, and what makes nothing by itself."""


def _manifest() -> dict[str, Any]:
    found: dict[str, Any] = ast.literal_eval((ADDON / "__manifest__.py").read_text())
    return found


def test_the_addon_is_found() -> None:
    """The tests below look at something."""
    assert len(PYTHON) > 30
    assert len(XML) > 5


@pytest.mark.parametrize("path", PYTHON, ids=lambda path: str(path.relative_to(ADDON)))
def test_python_of_3_10_reads_it(path: Path) -> None:
    """Odoo 18 runs on Python 3.10; the two starters as well, for Odoo carries them."""
    ast.parse(path.read_text(), feature_version=(3, 10))


@pytest.mark.parametrize("pattern", NOT_IN_BOTH)
def test_python_keeps_to_what_both_versions_have(pattern: str) -> None:
    """No name that one version of Odoo or of Python lacks."""
    assert [str(path) for path in PYTHON if re.search(pattern, path.read_text())] == []


@pytest.mark.parametrize("pattern", NOT_IN_BOTH_XML)
def test_views_keep_to_what_both_versions_have(pattern: str) -> None:
    """No element or attribute that one version refuses."""
    assert [str(path) for path in XML if re.search(pattern, path.read_text())] == []


def test_the_starters_are_the_very_files() -> None:
    """A single source: whoever fixes the client fixes the addon."""
    origins = {"client.py": "starter", "gateway_client.py": "starter", "encryption.py": "peers"}
    for name, origin in origins.items():
        assert (ADDON / "starter" / name).resolve() == ROOT / origin / name
        assert (ADDON / "starter" / name).is_file()


def test_what_the_manifest_names_is_there() -> None:
    """Data files in the order of their loading, demonstration data, assets."""
    manifest = _manifest()
    named = [*manifest["data"], *manifest.get("demo", [])]
    assert len(named) == len(set(named))
    for name in named:
        assert (ADDON / name).is_file(), name
    for bundle in manifest["assets"].values():
        for pattern in bundle:
            below = pattern.removeprefix("duragen/")
            assert [found for found in ADDON.glob(below) if found.is_file()], pattern


def test_what_is_there_is_named_in_the_manifest() -> None:
    """A view that is forgotten there is never loaded, without a word."""
    manifest = _manifest()
    named = {*manifest["data"], *manifest.get("demo", [])}
    data = [*XML, *ADDON.glob("security/*.csv")]
    there = {str(path.relative_to(ADDON)) for path in data if "static" not in path.parts}
    assert there == named


def test_xml_and_rights_can_be_read() -> None:
    """Well-formed, and every line of rights has its eight columns."""
    for path in XML:
        ET.parse(path)
    with (ADDON / "security/ir.model.access.csv").open() as file:
        rows = list(csv.reader(file))
    assert {len(row) for row in rows} == {8}


def test_models_that_are_made_are_imported() -> None:
    """A module that is not imported defines no model."""
    for folder in ("models", "controllers", "wizard", "tests"):
        said = (ADDON / folder / "__init__.py").read_text()
        for path in (ADDON / folder).glob("*.py"):
            helps = path.stem in HELPERS
            assert helps or re.search(rf"\b{path.stem}\b", said), path


def test_messages_are_those_of_the_events() -> None:
    """Otherwise users would read them in English alone."""
    messages = module("messages")
    assert messages.texts(str) == {code.value: rule.user_message for code, rule in TAXONOMY.items()}


def test_an_unknown_code_has_a_message() -> None:
    """A newer worker may send one."""
    messages = module("messages")
    assert messages.english("NEW") == messages.english("INTERNAL")


def test_a_hint_survives_the_translation() -> None:
    """The standard part is translated, what the event says beyond it stays."""
    messages = module("messages")

    def shout(text: str) -> str:
        return text.upper()

    standard = messages.english("POLICY_INPUT")
    said = messages.in_language(f"{standard} Leave out 'x'.", "POLICY_INPUT", shout)
    assert said == f"{standard.upper()} Leave out 'x'."
    assert messages.in_language("Something else.", "POLICY_INPUT", shout) == "Something else."
    assert messages.in_language("", "", shout) == ""


def test_the_policy_decides_on_what_the_taxonomy_says() -> None:
    """Our faults are not charged, and nothing else is given away."""
    by_policy = {code.value for code, rule in TAXONOMY.items() if rule.charge is Charge.POLICY}
    kinds = {rule.kind.value for rule in TAXONOMY.values() if rule.charge is Charge.POLICY}
    wire = module("wire")
    assert by_policy == wire.POLICY_CODES
    assert kinds == wire.POLICY_TYPES
