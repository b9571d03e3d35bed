"""Another package with the name of one of ours is named, before it is imported."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

COMMANDS = {
    "duragen": ("-c", "from starter.cli import main; main()", "--help"),
    "worker": ("-m", "workers"),
    "gateway": ("-m", "starter.gateway"),
}
ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_a_foreign_package_is_named(tmp_path: Path, command: tuple[str, ...]) -> None:
    """With the folder it is in and what to do; nothing of it has run."""
    foreign = tmp_path / "workflows"
    foreign.mkdir()
    (foreign / "__init__.py").write_text("raise SystemExit('it was imported')")
    # As where somebody's own package comes first on the path.
    path = os.pathsep.join([str(tmp_path), str(ROOT)])
    done = subprocess.run(
        [sys.executable, "-P", *command],
        env={**os.environ, "PYTHONPATH": path},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert f"`workflows` would be imported from {foreign}" in done.stderr
    assert "environment of its own (uv tool, pipx, an image)" in done.stderr


def test_a_folder_without_our_names_does_no_harm(tmp_path: Path) -> None:
    """Only the names of our packages matter."""
    (tmp_path / "stories").mkdir()
    done = subprocess.run(
        [sys.executable, *COMMANDS["duragen"]],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
