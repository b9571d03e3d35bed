"""A checkout of Odoo in place of Debian's package."""

import ast
from pathlib import Path

import pytest

from deploy.local.real_odoo.places import OdooUnavailableError, Places
from deploy.local.real_odoo.source import SOURCE_VARIABLE, checkout, laid_out


def _module(folder: Path, depends: list[str], **more: object) -> None:
    folder.mkdir(parents=True)
    (folder / "__init__.py").touch()
    (folder / "code.py").write_text("CODE = 1")
    manifest = {"name": folder.name, "depends": depends, **more}
    (folder / "__manifest__.py").write_text(repr(manifest))


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A checkout as Odoo's is: its base among the package's addons, the others beside."""
    folder = tmp_path / "source"
    (folder / "odoo/addons").mkdir(parents=True)
    (folder / "odoo/__init__.py").touch()
    (folder / "odoo/addons/__init__.py").touch()
    (folder / "odoo/release.py").write_text("version_info = (18, 0, 0, FINAL, 0, '')\n")
    (folder / "odoo-bin").write_text("import odoo")
    _module(folder / "odoo/addons/base", [])
    _module(folder / "addons/web", ["base"])
    _module(folder / "addons/portal", ["web"], auto_install=True)
    _module(folder / "addons/fleet", ["web"], auto_install=True, category="Fleet")
    return folder


def test_a_checkout_is_laid_out_as_the_package(tmp_path: Path, source: Path) -> None:
    """What is needed is linked whole; other modules are there and do not install themselves."""
    places = Places(tmp_path / "home")
    assert laid_out(places, source, ("portal", "rpc"))
    assert not laid_out(places, source, ("portal", "rpc"))
    assert (places.series, places.what_is_named_alone) == ("18.0", ("--without-demo=all",))
    linked = {each.name for each in places.addons.iterdir() if each.is_symlink()}
    assert linked == {"base", "web", "portal", "__init__.py"}
    assert (places.debian / "usr/bin/odoo").read_text() == "import odoo"
    assert not (places.debian / "usr/bin/odoo").is_symlink()
    passive = places.addons / "fleet"
    manifest = ast.literal_eval((passive / "__manifest__.py").read_text())
    assert (manifest["auto_install"], manifest["category"]) == (False, "Fleet")
    assert (passive / "code.py").read_text() == "CODE = 1"
    assert "True" in (source / "addons/fleet/__manifest__.py").read_text()


def test_from_19_on_an_option_keeps_modules_out(tmp_path: Path, source: Path) -> None:
    """Odoo has it since then."""
    (source / "odoo/release.py").write_text("version_info = (19, 0, 0, FINAL, 0, '')\n")
    places = Places(tmp_path / "home")
    laid_out(places, source, ("web",))
    assert places.what_is_named_alone == ("--skip-auto-install",)


def test_a_module_that_is_missing_is_named(tmp_path: Path, source: Path) -> None:
    """One that another depends on."""
    _module(source / "addons/shop", ["payment"])
    with pytest.raises(OdooUnavailableError, match="payment"):
        laid_out(Places(tmp_path / "home"), source, ("shop",))


def test_what_is_no_checkout_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the variable there is none."""
    monkeypatch.delenv(SOURCE_VARIABLE, raising=False)
    assert checkout() is None
    monkeypatch.setenv(SOURCE_VARIABLE, str(tmp_path))
    with pytest.raises(OdooUnavailableError, match=f"{SOURCE_VARIABLE}: .* is no checkout"):
        checkout()
