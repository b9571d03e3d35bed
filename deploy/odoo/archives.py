"""The addon's README.rst from its fragments, and its archives, one for each version of Odoo.

    python deploy/odoo/archives.py readme
    python deploy/odoo/archives.py build FOLDER

One source serves both versions, so its manifest has the version without Odoo's; each archive has
it in the form of the Odoo Community Association, such as 19.0.1.1.0. The standard library alone.
"""

import ast
import os
import re
import shutil
import sys
import zipfile
from pathlib import Path

ADDON = Path(__file__).parent / "duragen"
ODOO_VERSIONS = ("18.0", "19.0")
SECTIONS = {
    "DESCRIPTION": "",
    "INSTALL": "Installation",
    "CONFIGURE": "Configuration",
    "USAGE": "Usage",
    "CONTRIBUTORS": "Contributors",
}
"""Fragments in the order of OCA's generator, and their headings."""


def manifest(addon: Path = ADDON) -> dict[str, object]:
    """The manifest as Odoo reads it."""
    found: dict[str, object] = ast.literal_eval((addon / "__manifest__.py").read_text())
    return found


def readme(addon: Path = ADDON) -> str:
    """README.rst as it must be, from the fragments and the manifest."""
    about = manifest(addon)
    name, status = str(about["name"]), str(about["development_status"])
    line = "=" * len(name)
    parts = [
        f"{line}\n{name}\n{line}",
        f"**{status}.** Version {about['version']}, {about['license']}.",
    ]
    for fragment, heading in SECTIONS.items():
        file = addon / "readme" / f"{fragment}.md"
        parts += [_heading(heading, "=")] if heading else []
        parts.append(_rst(file.read_text().strip()))
    parts += [_heading("Authors", "="), f"* {about['author']}"]
    parts += [_heading("Maintainers", "="), f"`{about['website']} <{about['website']}>`_"]
    return "\n\n".join(parts) + "\n"


def build(out: Path) -> list[Path]:
    """Write the archives, with real files in place of symlinks; their paths."""
    out.mkdir(parents=True, exist_ok=True)
    version = str(manifest()["version"])
    return [_archive(out, f"{odoo}.{version}", version) for odoo in ODOO_VERSIONS]


def _archive(out: Path, version: str, plain: str) -> Path:
    folder, path = out / version / "duragen", out / f"duragen-{version}.zip"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(ADDON, folder, ignore=shutil.ignore_patterns("__pycache__"))
    file = folder / "__manifest__.py"
    text = file.read_text()
    line = f'"version": "{plain}"'
    if text.count(line) != 1:
        raise ValueError(f"{file} has not exactly one {line}")
    file.write_text(text.replace(line, f'"version": "{version}"'))
    path.unlink(missing_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for parent, _, names in sorted(os.walk(folder)):
            for name in sorted(names):
                archive.write(Path(parent) / name, (Path(parent) / name).relative_to(out / version))
    shutil.rmtree(out / version)
    return path


def _heading(text: str, line: str) -> str:
    return f"{text}\n{line * len(text)}"


def _rst(markdown: str) -> str:
    """What the fragments use of Markdown: emphasis is the same, code and links are not."""
    text = re.sub(r"`([^`]+)`", r"``\1``", markdown)
    return re.sub(r"\[([^\]]+)\]\((https?://[^)]+)\)", r"`\1 <\2>`_", text)


def main(arguments: list[str]) -> int:
    """As the module says; 2 for anything else."""
    if arguments == ["readme"]:
        (ADDON / "README.rst").write_text(readme())
        return 0
    if arguments[:1] == ["build"] and len(arguments) == 2:
        for path in build(Path(arguments[1])):
            sys.stdout.write(f"{path}\n")
        return 0
    sys.stderr.write("Usage: archives.py readme | archives.py build FOLDER\n")
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
