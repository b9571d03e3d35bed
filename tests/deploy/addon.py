"""The addon's modules that need no Odoo, loaded by their path."""

import importlib.util
from functools import cache
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).parents[2]
ADDON = ROOT / "deploy/odoo/duragen"


@cache
def module(name: str) -> ModuleType:
    """One of wire, signatures, messages, fetching."""
    spec = importlib.util.spec_from_file_location(f"duragen_addon_{name}", ADDON / f"{name}.py")
    assert spec
    assert spec.loader
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found
