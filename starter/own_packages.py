"""Duragen's top-level packages are common words: what is found under them must be ours."""

import importlib.util
from pathlib import Path

NAMES = ("contracts", "workflows", "activities", "peers", "workers", "starter", "otel", "deploy")

_OURS = Path(__file__).resolve().parents[1]


class ForeignPackageError(Exception):
    """Another package has the name of one of ours; the text says where, and what to do."""


def check() -> None:
    """Raise ForeignPackageError when an import would find somebody else's package."""
    for name in NAMES:
        found = importlib.util.find_spec(name)
        folders = list(found.submodule_search_locations or ()) if found else []
        where = folders[0] if folders else found and found.origin
        if where and Path(where).resolve() != _OURS / name:
            raise ForeignPackageError(
                f"`{name}` would be imported from {where}, which is not Duragen's. Install Duragen"
                " in an environment of its own (uv tool, pipx, an image), and keep that folder out"
                " of PYTHONPATH."
            )
