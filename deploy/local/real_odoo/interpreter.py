"""The Python environment that Odoo runs in: exact versions with hashes, apart from ours."""

import subprocess
import sys
from pathlib import Path

from deploy.local.real_odoo.places import OdooUnavailableError, Places, digest, made_once

LOCK = Path(__file__).with_name("requirements.lock")


def installed(places: Places) -> bool:
    """Odoo's and the addon's dependencies go into `places.venv`; whether they had to be fetched."""
    return made_once(places.venv, digest(LOCK.read_bytes(), sys.version, "1"), _make)


def _make(folder: Path) -> None:
    _run(sys.executable, "-m", "venv", str(folder))
    python = str(folder / "bin/python")
    locked = ("--quiet", "--require-hashes", "-r", str(LOCK))
    uv = Path(sys.executable).with_name("uv")
    try:
        # Ten times faster than pip; but it does not read pip's settings, where a machine may have
        # its index from.
        _run(str(uv), "pip", "install", "--python", python, *locked)
    except (OSError, OdooUnavailableError):
        _run(python, "-m", "pip", "install", *locked)


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise OdooUnavailableError(
            f"Odoo's Python dependencies ({LOCK}) cannot be installed:\n{done.stderr.strip()}"
        )
