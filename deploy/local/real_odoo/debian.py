"""Debian's package of Odoo 19, fetched with apt and unpacked into a folder, not installed.

The package stands in sid alone, and it pulls in half a desktop. So apt works with lists of its own,
and only the modules that are needed are unpacked. The mirror is the one that the system's own apt
is set up with.
"""

import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

from deploy.local.real_odoo.places import OdooUnavailableError, Places, digest, made_once
from deploy.local.stack.layout import environment_of_part

_SUITE = "sid"
_KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
_OS_RELEASE = Path("/etc/os-release")
_ODOO = "./usr/lib/python3/dist-packages/odoo"
_ADDONS = f"{_ODOO}/addons"

_MODULES = (
    *("base", "web", "bus", "rpc", "mail", "portal", "html_editor", "base_setup", "web_tour"),
    *("http_routing", "auth_signup", "iap", "api_doc", "auth_totp"),
    *("uom", "product"),  # for the module in docs/odoo-modules.md
)
_FOLDERS = (
    *("_monkeypatches", "api", "cli", "fields", "models", "modules", "orm", "osv", "service"),
    *("tests", "tools", "upgrade", "upgrade_code"),
)
_WANTED = (
    "./usr/bin/odoo",
    f"{_ODOO}/*.py",
    f"{_ODOO}/import_xml.rng",
    *(f"{_ODOO}/{folder}" for folder in _FOLDERS),
    *(f"{_ADDONS}/{module}" for module in _MODULES),
    # Of all others the manifests: the base data refers to their categories.
    f"{_ADDONS}/*/__manifest__.py",
    f"{_ADDONS}/*/__init__.py",
)
_FROM_SID = ("odoo-19", "libjs-jquery", "fonts-roboto-unhinted", "fonts-montserrat")
_FROM_STABLE = ("fonts-font-awesome",)
"""Odoo is written for version 4 of these icons, which sid has replaced."""

_LEFT_OUT_BY_DEBIAN = f"{_ADDONS}/mail/static/lib/selfie_segmentation/selfie_segmentation.js"
"""A bundle names it all the same, and would not be built without it."""

_APT_OPTIONS = (
    "Acquire::IndexTargets::deb::Contents-deb::DefaultEnabled=false",
    "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false",
    "Acquire::Languages=none",
    "Acquire::Retries=3",
    "APT::Sandbox::User=root",  # no second user who would have to enter our folder
    "APT::Update::Error-Mode=any",
)
_PATIENCE_SECONDS = 600


def unpacked(places: Places) -> bool:
    """Odoo's files are in `places.debian`; whether they had to be fetched."""
    recipe = digest(*_WANTED, *_FROM_SID, *_FROM_STABLE, "1")
    return made_once(places.debian, recipe, _make)


def version(places: Places) -> str:
    """The version of the package that was unpacked."""
    return (places.debian / "version").read_text()


def _make(folder: Path) -> None:
    for needed in ("apt-get", "dpkg-deb", "tar"):
        if not shutil.which(needed):
            raise OdooUnavailableError(
                f"{needed} is missing: the real Odoo is Debian's package, and this is no Debian."
            )
    work = folder / "work"
    packages = _fetch(work)
    odoo = next(file for file in packages if file.name.startswith("odoo-19_"))
    _extract(odoo, folder, _WANTED)
    for package in packages:
        if package != odoo:
            _extract(package, folder)
    stub = folder / _LEFT_OUT_BY_DEBIAN
    stub.parent.mkdir(parents=True, exist_ok=True)
    stub.touch()
    (folder / "version").write_text(odoo.name.split("_")[1])
    shutil.rmtree(work)


def _fetch(work: Path) -> list[Path]:
    mirror, stable = _mirror()
    for inner in ("lists/partial", "cache/archives/partial", "packages"):
        (work / inner).mkdir(parents=True)
    signed = f"[signed-by={_KEYRING}] " if _KEYRING.exists() else ""
    sources = [f"deb {signed}{mirror} {suite} main\n" for suite in {_SUITE, stable}]
    (work / "sources.list").write_text("".join(sources))
    own = (
        f"Dir::Etc::SourceList={work / 'sources.list'}",
        "Dir::Etc::SourceParts=/dev/null",
        f"Dir::State::Lists={work / 'lists'}",
        f"Dir::Cache={work / 'cache'}",
    )
    apt = ["apt-get", "-qq", *(f"-o{option}" for option in (*own, *_APT_OPTIONS))]
    _run([*apt, "update"], work)
    names = [f"{name}/{_SUITE}" for name in _FROM_SID]
    names += [f"{name}/{stable}" for name in _FROM_STABLE]
    _run([*apt, "download", *names], work / "packages")
    return sorted((work / "packages").glob("*.deb"))


def _mirror() -> tuple[str, str]:
    """Where the system's own apt gets Debian from, and the suite that it gets."""
    lines = _OS_RELEASE.read_text().splitlines() if _OS_RELEASE.exists() else []
    about = dict(line.split("=", 1) for line in lines if "=" in line)
    suites = {about.get("VERSION_CODENAME", "").strip('"'), "stable", "testing", "unstable", "sid"}
    for uri, suite, component in _configured():
        if about.get("ID", "").strip('"') == "debian" and suite in suites and component == "main":
            return uri, suite
    raise OdooUnavailableError(
        "apt is not set up with a mirror of Debian (`apt-get indextargets` shows none): the real"
        " Odoo is Debian's package odoo-19. Run this on Debian, or in a container of it."
    )


def _configured() -> Iterator[tuple[str, str, str]]:
    shape = "$(REPO_URI) $(RELEASE) $(COMPONENT)"
    listed = _run(["apt-get", "indextargets", "--format", shape, "Created-By: Packages"], Path("/"))
    for line in listed.splitlines():
        if len(words := line.split()) == 3:
            yield words[0], words[1], words[2]


def _extract(package: Path, folder: Path, wanted: Sequence[str] = ()) -> None:
    """Unpacks a package, without translations; all of it, or what matches `wanted`."""
    chosen = ["--wildcards", "--no-wildcards-match-slash", f"--exclude={_ADDONS}/*/i18n", *wanted]
    with subprocess.Popen(
        ["dpkg-deb", "--fsys-tarfile", package], stdout=subprocess.PIPE
    ) as opened:
        command = ["tar", "--extract", "--no-same-owner", "--directory", str(folder)]
        _run([*command, *(chosen if wanted else ())], folder, opened.stdout)
    if opened.returncode:
        raise OdooUnavailableError(f"{package.name} cannot be unpacked: fetch it again")


def _run(
    command: Sequence[str], folder: Path, data: IO[bytes] | int | None = subprocess.DEVNULL
) -> str:
    done = subprocess.run(
        command,
        cwd=folder,
        stdin=data,
        capture_output=True,
        text=True,
        timeout=_PATIENCE_SECONDS,
        env=environment_of_part({"LC_ALL": "C.UTF-8"}),
        check=False,
    )
    if done.returncode:
        said = (done.stderr or done.stdout).strip()
        raise OdooUnavailableError(
            f"`{' '.join(command[:1])} … {command[-1]}` failed, so that there is no Odoo:\n{said}\n"
            "Fix what it says (a mirror of Debian with the suite sid must be reachable), then"
            " start again."
        )
    return done.stdout
