"""Odoo from a checkout in place of Debian's package: `ODOO_SOURCE=…`, for another version of it.

The checkout is laid out as the package is, by links: a change in it counts at once. Manifests of
modules that are not needed are changed, so that these do not install themselves.
"""

import ast
import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from deploy.local.real_odoo.places import OdooUnavailableError, Places, digest, made_once

SOURCE_VARIABLE = "ODOO_SOURCE"


def checkout() -> Path | None:
    """The checkout that the environment names. Raises OdooUnavailableError when it is none."""
    if not (named := os.environ.get(SOURCE_VARIABLE)):
        return None
    folder = Path(named).expanduser().resolve()
    if not (folder / "odoo-bin").is_file() or not (folder / "odoo/release.py").is_file():
        raise OdooUnavailableError(
            f"{SOURCE_VARIABLE}: {folder} is no checkout of Odoo (odoo-bin and odoo/release.py are"
            " looked for)."
        )
    return folder


def laid_out(places: Places, folder: Path, modules: Iterable[str]) -> bool:
    """The checkout's files are in `places.debian`; whether they had to be put there.

    Modules that this version does not have are left out, and those that the others depend on come
    along. Raises OdooUnavailableError.
    """
    known = _modules(folder)
    wanted = _with_dependencies(known, modules)
    recipe = digest(str(folder), *sorted(wanted), "4")

    def make(into: Path) -> None:
        _link_package(folder / "odoo", places)
        for name, module in known.items():
            if name in wanted:
                (places.addons / name).symlink_to(module)
            else:
                _link_passive(module, places.addons / name)
        program = into / "usr/bin/odoo"
        program.parent.mkdir(parents=True)
        # Not a link: Python would look for modules where it leads to.
        shutil.copy(folder / "odoo-bin", program)
        (into / "version").write_text(f"{places.series} from {folder}")

    return made_once(places.debian, recipe, make)


def _link_package(package: Path, places: Places) -> None:
    places.addons.mkdir(parents=True)
    for each in package.iterdir():
        if each.name != "addons":
            (places.packages / "odoo" / each.name).symlink_to(each)
    if (init := package / "addons/__init__.py").exists():
        (places.addons / init.name).symlink_to(init)


def _link_passive(module: Path, into: Path) -> None:
    """Its code is imported by others, and the base data refers to its category."""
    into.mkdir()
    for each in module.iterdir():
        if each.name not in {"__manifest__.py", "__pycache__"}:
            (into / each.name).symlink_to(each)
    manifest = {**_manifest(module), "auto_install": False}
    (into / "__manifest__.py").write_text(repr(manifest))


def _with_dependencies(known: dict[str, Path], modules: Iterable[str]) -> set[str]:
    found: set[str] = set()
    waiting = [name for name in modules if name in known]
    while waiting:
        if (name := waiting.pop()) not in found:
            found.add(name)
            if name not in known:
                raise OdooUnavailableError(f"{SOURCE_VARIABLE} lacks the module {name}")
            waiting += _manifest(known[name]).get("depends") or ["base"] * (name != "base")
    return found


def _manifest(module: Path) -> dict[str, Any]:
    found: dict[str, Any] = ast.literal_eval((module / "__manifest__.py").read_text())
    return found


def _modules(folder: Path) -> dict[str, Path]:
    manifests = [
        *(folder / "addons").glob("*/__manifest__.py"),
        *(folder / "odoo/addons").glob("*/__manifest__.py"),
    ]
    return {manifest.parent.name: manifest.parent for manifest in manifests}
