"""What is handed on of the addon: README.rst, and an archive for each version of Odoo."""

import ast
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from deploy.odoo import archives


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """All of them."""
    return archives.build(tmp_path_factory.mktemp("archives"))


def test_the_readme_is_current() -> None:
    """`make readme` writes it from the fragments and the manifest."""
    assert (archives.ADDON / "README.rst").read_text() == archives.readme()


def test_each_version_of_odoo_has_its_archive(built: list[Path]) -> None:
    """Its manifest has the version in OCA's form; in the source Odoo itself puts it before."""
    assert archives.manifest()["version"] == "1.1.0"
    assert [path.name for path in built] == ["duragen-18.0.1.1.0.zip", "duragen-19.0.1.1.0.zip"]
    for path in built:
        with zipfile.ZipFile(path) as archive:
            manifest = ast.literal_eval(archive.read("duragen/__manifest__.py").decode())
        assert path.name == f"duragen-{manifest['version']}.zip"
        assert {**manifest, "version": "1.1.0"} == archives.manifest()


def test_nothing_is_missing(built: list[Path], tmp_path: Path) -> None:
    """Real files in place of links, and no more than the source has."""
    source = {
        str(file.relative_to(archives.ADDON))
        for file in archives.ADDON.rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }
    for path in built:
        with zipfile.ZipFile(path) as archive:
            names = {name.removeprefix("duragen/") for name in archive.namelist()}
            assert names == source
            archive.extractall(tmp_path)
        assert not any(file.is_symlink() for file in tmp_path.rglob("*"))
        client = (tmp_path / "duragen/starter/client.py").read_text()
        assert client == (archives.ADDON / "starter/client.py").read_text()


def test_the_images_of_the_manifest_are_there() -> None:
    """Odoo's app store shows them."""
    images = archives.manifest()["images"]
    assert isinstance(images, list)
    for image in images:
        assert (archives.ADDON / str(image)).stat().st_size > 1_000


def test_pylint_odoo_takes_the_version(built: list[Path], tmp_path: Path) -> None:
    """By its own rule, without our exception for the source."""
    for path in built:
        with zipfile.ZipFile(path) as archive:
            archive.extractall(tmp_path, ["duragen/__init__.py", "duragen/__manifest__.py"])
        rule = ("--disable=all", "--enable=manifest-version-format")
        done = subprocess.run(
            [sys.executable, "-m", "pylint", "--load-plugins=pylint_odoo", *rule, "duragen"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=200,
            check=False,
        )
        assert done.returncode == 0, done.stdout


def test_what_it_does_not_know_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """With a line that says what it takes."""
    assert archives.main([]) == 2
    assert "archives.py build FOLDER" in capsys.readouterr().err
