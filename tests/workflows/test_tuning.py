"""Figures and rows of the taxonomy may be tuned while generations run: no replay depends on them.

The code is copied, every figure in the copy is changed, and the recorded histories are replayed
against it. What was decided then stands in the history.
"""

import asyncio
import base64
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from contracts.errors import ErrorCode

ROOT = Path(__file__).parent.parent.parent
HISTORIES = sorted((ROOT / "tests/histories").glob("*.json"))
ROOMS = ("contracts", "workflows", "activities", "workers", "peers", "otel", "starter", "deploy")
RULES = {
    "contracts/generation.py": "FlowRules",
    "contracts/provider_health.py": "HealthRules",
    "contracts/odoo_health.py": "OdooHealthRules",
    "contracts/alerts.py": "BacklogRules",
}


def _figures(text: str, name: str) -> str:
    """The code with each figure of the class changed."""
    head, mark, rest = text.partition(f"class {name}(Model):")
    body, end, tail = rest.partition("\n\n\nclass ")
    body = re.sub(r"(: (?:int|float) = )([\d_.]+)", lambda m: m[1] + _changed(m[2]), body)
    body = re.sub(r"(ErrorCode\.\w+: )\d", r"\g<1>0", body)
    return head + mark + body + end + tail


def _changed(figure: str) -> str:
    number = float(figure.replace("_", ""))
    return str(int(number) * 2 + 1) if number.is_integer() and number < 100 else str(number / 50)


def _rows(text: str) -> str:
    """Every row with another next route, another kind and another alert."""
    swap = {"True": "False", "False": "True"}
    text = re.sub(
        r"ErrorRule\((\n?\s*)_([SCU]), (\w+), (\w+),",
        lambda m: f"ErrorRule({m[1]}_{'U' if m[2] == 'S' else 'S'}, {m[3]}, {swap[m[4]]},",
        text,
    )
    return re.sub(
        r"(_RELEASE|_POLICY), Alert\.(\w+)",
        lambda m: f"{m[1]}, Alert.{'NEVER' if m[2] != 'NEVER' else 'PAGE'}",
        text,
    )


def _copy(folder: Path, change: dict[str, Callable[[str], str]]) -> Path:
    for room in ROOMS:
        ignore = shutil.ignore_patterns("__pycache__", "duragen", "node_modules")
        shutil.copytree(ROOT / room, folder / room, ignore=ignore)
    for file, edit in change.items():
        path = folder / file
        before = path.read_text()
        path.write_text(edit(before))
        assert path.read_text() != before
    return folder


def _tuned(folder: Path) -> Path:
    figures = {file: lambda text, name=name: _figures(text, name) for file, name in RULES.items()}
    return _copy(folder, {**figures, "contracts/errors.py": _rows})


async def _replay(code: Path, *files: Path) -> subprocess.CompletedProcess[str]:
    named = [option for file in files for option in ("--file", str(file))]
    command = [sys.executable, "-c", "from starter.cli import main; main()", "replay", *named]
    return await asyncio.to_thread(
        subprocess.run, command, cwd=code, capture_output=True, text=True, timeout=100, check=False
    )


@pytest.fixture
def tuned(tmp_path: Path) -> Path:
    """A copy of the code in which no figure and no row is as it was."""
    return _tuned(tmp_path / "tuned")


async def test_tuning_breaks_no_replay(tuned: Path) -> None:
    """Every recorded history takes its way with every figure and every row changed."""
    replayed = await _replay(tuned, *HISTORIES)
    assert replayed.returncode == 0, replayed.stdout + replayed.stderr
    text = (tuned / "contracts/errors.py").read_text()
    assert all(code in text for code in ErrorCode)


async def test_without_the_recorded_rules_it_would(tuned: Path, tmp_path: Path) -> None:
    """The same with the rules taken out of the histories: this is what they protect from."""
    bare = []
    for path in HISTORIES:
        history = path.read_text()
        changed = _without_rules(json.loads(history))
        bare.append(tmp_path / path.name)
        bare[-1].write_text(json.dumps(changed))
    replayed = await _replay(tuned, *bare)
    assert replayed.returncode == 1, replayed.stdout + replayed.stderr
    diverged = set(re.findall(r"^diverges (\w+)", replayed.stdout, re.MULTILINE))
    assert diverged >= {"failed_over", "provider_health", "odoo_health"}


def _without_rules(node: Any) -> Any:
    """A history without what its plan and its states say of the rules."""
    if isinstance(node, list):
        return [_without_rules(each) for each in node]
    if not isinstance(node, dict):
        return node
    if set(node) == {"metadata", "data"}:
        value = json.loads(base64.b64decode(node["data"]))
        if isinstance(value, dict) and value.pop("rules", None):
            return {**node, "data": base64.b64encode(json.dumps(value).encode()).decode()}
    return {name: _without_rules(each) for name, each in node.items()}
