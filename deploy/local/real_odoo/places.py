"""Where the pieces of the real Odoo are kept, and how they are made once and for all."""

import fcntl
import hashlib
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import deploy

HOME_VARIABLE = "DURAGEN_ODOO19_HOME"
DEFAULT_HOME = Path(".duragen/odoo19")
OUR_ADDONS = Path(deploy.__file__).resolve().parent / "odoo"
"""The folder that holds the addon `duragen`."""

_MADE = ".made"


class OdooUnavailableError(Exception):
    """This machine cannot have a real Odoo; the text names what is missing and how to get it."""


class OdooFailedError(Exception):
    """Odoo or its database server did not do what was wanted; the text has what it said."""


@dataclass(frozen=True)
class Places:
    """The cache folder: Debian's files, the Python that runs them, a database server's seed."""

    home: Path

    @property
    def debian(self) -> Path:
        """What was unpacked of Debian's packages, laid out as below `/`."""
        return self.home / "debian"

    @property
    def packages(self) -> Path:
        """The folder of the Python package `odoo`."""
        return self.debian / "usr/lib/python3/dist-packages"

    @property
    def addons(self) -> Path:
        """The folder of Odoo's own modules."""
        return self.packages / "odoo/addons"

    @property
    def series(self) -> str:
        """The version of Odoo, as "19.0". Raises OdooUnavailableError."""
        text = (self.packages / "odoo/release.py").read_text()
        found = re.search(r"^version_info = \((\d+), (\d+)", text, re.MULTILINE)
        if not found:
            raise OdooUnavailableError(f"{self.packages}/odoo/release.py names no version of Odoo")
        return ".".join(found.groups())

    @property
    def what_is_named_alone(self) -> tuple[str, ...]:
        """The option by which modules install neither others nor demo data.

        Odoo 19 has demo data on request only; 18 cannot keep modules from installing themselves.
        """
        since_19 = int(self.series.split(".")[0]) > 18
        return ("--skip-auto-install",) if since_19 else ("--without-demo=all",)

    @property
    def venv(self) -> Path:
        """The environment that Odoo runs in; the addon's dependencies are in it."""
        return self.home / "venv"

    @property
    def python(self) -> Path:
        """The interpreter of that environment."""
        return self.venv / "bin/python"

    @property
    def seed(self) -> Path:
        """A PostgreSQL cluster and a data folder with the template database; never run, copied."""
        return self.home / "seed"


def made_once(folder: Path, recipe: str, make: Callable[[Path], None]) -> bool:
    """Have `make` fill `folder`, unless it was made by `recipe`; returns whether it had to.

    The mark is written last: what a killed run left behind is made again.
    """
    mark = folder / _MADE
    if mark.exists() and mark.read_text() == recipe:
        return False
    if folder.exists():
        unmark(folder)  # first, in case the removal does not come to its end
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    folder.chmod(0o755)  # whoever runs PostgreSQL must get in
    make(folder)
    mark.write_text(recipe)
    return True


def unmark(folder: Path) -> None:
    """Have `made_once` make `folder` again, whatever is in it."""
    (folder / _MADE).unlink(missing_ok=True)


def recipe_of(folder: Path) -> str:
    """The recipe by which `folder` was made."""
    return (folder / _MADE).read_text()


def digest(*parts: str | bytes) -> str:
    """A short name for what a piece is made of."""
    total = hashlib.sha256()
    for part in parts:
        total.update(part.encode() if isinstance(part, str) else part)
        total.update(b"\0")
    return total.hexdigest()[:16]


@contextmanager
def one_at_a_time(home: Path) -> Iterator[None]:
    """Lock `home` for one installation; the kernel lets go of the lock when a process dies."""
    home.mkdir(parents=True, exist_ok=True)
    with (home / "lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def room_below(home: Path, enters: Callable[[Path], bool]) -> Path:
    """`home`, or a folder of ours in TMPDIR or /var/tmp when PostgreSQL's user cannot enter `home`.

    Root may not run PostgreSQL, and the user who runs it cannot enter everything that is root's.
    """
    home.mkdir(parents=True, exist_ok=True)
    if enters(home):
        return home
    room = Path(os.environ.get("TMPDIR") or "/var/tmp") / f"duragen-{digest(str(home))}"  # noqa: S108  # checked below
    room.mkdir(exist_ok=True)
    ours = room.lstat().st_uid == os.geteuid() and not room.is_symlink()
    if ours:
        room.chmod(0o755)
    if not ours or not enters(room):
        raise OdooUnavailableError(
            f"{home} is closed to the user who must run PostgreSQL for root, and {room} is no"
            " way out. Name a folder that everybody may enter: DURAGEN_ODOO19_HOME, --home."
        )
    return room
