"""The wheel: what is in it, and that it works outside the checkout."""

import os
import zipfile
from pathlib import Path

import pytest

from tests.deploy.packaging import ROOT, built, environment_with, run


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this checkout."""
    return built(ROOT, tmp_path_factory.mktemp("wheel"))


def test_the_wheel_holds_all_of_the_program_and_nothing_else(wheel: Path) -> None:
    """The addon with its views and translations; neither tests nor benchmarks."""
    names = set(zipfile.ZipFile(wheel).namelist())
    tracked = run("git", "ls-files", "deploy", "starter", cwd=ROOT).split()
    elsewhere = ("deploy/client/", "deploy/local/n8n/")  # another project, and part of the tests
    assert {name for name in tracked if not name.startswith(elsewhere)} <= names
    assert not {name for name in names if name.startswith(elsewhere)}
    tops = {name.partition("/")[0] for name in names if ".dist-info" not in name}
    assert tops == {
        *("contracts", "workflows", "activities", "peers", "workers", "starter", "otel", "deploy")
    }


@pytest.mark.timeout(1_200)  # it installs some sixty packages
def test_the_demo_runs_from_a_fresh_environment(wheel: Path, tmp_path: Path) -> None:
    """Installed with the extra `local`, in a folder that knows nothing of the checkout."""
    programs = environment_with(f"{wheel}[local]", tmp_path)
    outside = tmp_path / "outside"
    outside.mkdir()
    env = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    said = run(programs / "duragen", "demo", cwd=outside, env=env)
    assert "state completed, credits reserve → capture" in said
    assert (outside / ".duragen/demo/image.png").is_file()
