"""Building wheels of this checkout, and installing them into fresh environments."""

import re
import shutil
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).parents[2]

MINUTES_10 = 600
"""For what takes half a minute, on a slow machine with a cold cache."""


def run(*command: str | Path, cwd: Path | None = None, env: dict[str, str] | None = None) -> str:
    """What the command prints; it must end with 0."""
    done = subprocess.run(
        [*map(str, command)],
        cwd=cwd,
        env=env,
        capture_output=True,
        text=True,
        timeout=MINUTES_10,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4_000:] + done.stderr[-4_000:]
    return done.stdout


def built(source: Path, folder: Path) -> Path:
    """The wheel of the project in `source`, built from a copy, so that no old build is in it."""
    copy = folder / "source"
    # The addon's links to the clients become files.
    left_out = (".git", ".venv", ".duragen", ".*_cache", "build", "*.egg-info")
    shutil.copytree(source, copy, ignore=shutil.ignore_patterns(*left_out))
    pip = (sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation")
    run(*pip, "--wheel-dir", folder, copy)
    [wheel] = folder.glob("*.whl")
    return wheel


def environment_with(what: str | Path, folder: Path, *, offline: bool = False) -> Path:
    """The `bin` of a fresh environment with `what` in it; versions are those of the lock."""
    home = folder / "environment"
    venv.create(home, symlinks=True)
    pins = folder / "constraints.txt"
    lock = (ROOT / "requirements.lock").read_text()
    pins.write_text("\n".join(re.findall(r"^[\w.-]+==[^ ;]+", lock, re.MULTILINE)))
    uv = (Path(sys.executable).with_name("uv"), "pip", "install", "--quiet")
    options = ("--python", home / "bin/python", "--constraint", pins)
    run(*uv, *options, *(["--offline"] if offline else []), what)
    return home / "bin"
