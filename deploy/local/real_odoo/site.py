"""One run's databases: a PostgreSQL server and Odoo's files, copied from the seed.

Each run has its own, on a port of its own, so that tests, a demo and `duragen up` can go on at the
same time and leave nothing in each other's way.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from deploy.local.real_odoo.places import (
    OUR_ADDONS,
    OdooFailedError,
    OdooUnavailableError,
    Places,
    digest,
    made_once,
    recipe_of,
    room_below,
    unmark,
)
from deploy.local.real_odoo.postgres import ROLE, Postgres, enters, major_version
from deploy.local.sandbox.serving import HOST
from deploy.local.stack import processes, tether
from deploy.local.stack.layout import environment_of_part
from deploy.local.stack.ports import PortRegistry
from deploy.local.stack.private import write_private
from deploy.local.stack.running import Running

TEMPLATE = "template_odoo"
"""A database with `MODULES` and nothing of ours."""
MODULES = ("web", "bus", "rpc", "portal")
"""Those of them that this version has: RPC is a module from 19 on."""

_COPIED = ("postgres", "data", "password")
_TAIL_LINES = 25
Say = Callable[[str], None]


class OdooSite(Running):
    """The databases of one folder, served from `start()` (or `with`) until `stop()`."""

    def __init__(self, places: Places, folder: Path, home: Path, say: Say) -> None:
        self.places = places
        self.home = home
        self.port_registry = PortRegistry(folder / "ports.json")
        self._folder = folder
        self._postgres_file = home / "run" / "postgres.json"
        self.postgres = Postgres(
            folder / "postgres",
            (folder / "password").read_text(),
            self.port_registry.pick("postgres"),
            home,
            say,
        )

    @classmethod
    def of(cls, places: Places, home: Path, say: Say, *, disposable: bool = False) -> Self:
        """The site in `home`, copied from the seed if there is none yet.

        Databases of another series of Odoo or PostgreSQL raise OdooUnavailableError, or are made
        anew where they are `disposable`.
        """
        named = home / "real-odoo"
        new = not named.exists()
        folder = room_below(named, enters)
        if new:
            # A room elsewhere outlives its home: what is in it then belongs to nobody.
            unmark(folder)
        # What a database depends on: an update within a series reads it as it is.
        recipe = digest(places.series, major_version(), "2")
        if (folder / ".made").exists() and recipe_of(folder) != recipe and not disposable:
            raise OdooUnavailableError(
                f"The databases in {folder} were made with another version of Odoo or PostgreSQL"
                " than there is now. Remove that folder to begin again; what is in it is lost then."
            )

        def copy(into: Path) -> None:
            for name in _COPIED:
                # `-a` keeps the owner, who is another user when root copies.
                subprocess.run(["cp", "-a", places.seed / name, into], check=True)

        made_once(folder, recipe, copy)
        return cls(places, folder, home, say)

    def start(self) -> None:
        """Returns when the database server is ready."""
        if left := processes.read(self._postgres_file):
            processes.end(left)  # its supervisor was killed
        self.postgres.start()

    def stop(self) -> None:
        """Returns when the database server is gone. Servers of Odoo are to be ended before."""
        self.postgres.stop()
        self.port_registry.release()

    def remove(self) -> None:
        """Removes the databases and the files, wherever they are."""
        shutil.rmtree(self._folder)

    def clone(self, template: str, database: str) -> None:
        """A new database like `template`, with its files and with an identity of its own."""
        self.postgres.clone(template, database)
        files = self._folder / "data" / "filestore"
        if (files / template).exists():
            shutil.copytree(files / template, files / database, dirs_exist_ok=True)
        self.postgres.sql(
            database,
            "UPDATE ir_config_parameter SET value = gen_random_uuid()"
            " WHERE key IN ('database.uuid', 'database.secret')",
        )

    def options(
        self, addons: Sequence[Path], more: Mapping[str, str | int | bool]
    ) -> dict[str, str | int | bool]:
        """Settings of Odoo for any process on this site."""
        folders = (self.places.addons, *addons)
        return {
            "addons_path": ",".join(str(folder) for folder in folders),
            "data_dir": str(self._folder / "data"),
            "db_host": HOST,
            "db_port": self.postgres.port,
            "db_user": ROLE,
            "db_password": self.postgres.password,
            "db_maxconn": 48,
            "list_db": False,
            "http_interface": HOST,
            **more,
        }

    def command(self, name: str, options: Mapping[str, str | int | bool]) -> list[str]:
        """How to start Odoo with `options`, which go through a file that only we can read."""
        file = self._folder / f"{name}.conf"
        lines = [f"{key} = {value}\n" for key, value in options.items()]
        write_private(file, "".join(["[options]\n", *lines]))
        quiet = ("-W", "ignore::DeprecationWarning")
        program = self.places.debian / "usr/bin/odoo"
        return [str(self.places.python), *quiet, str(program), "-c", str(file)]

    def environment(self, more: Mapping[str, str] | None = None) -> dict[str, str]:
        """Of a process of Odoo: nothing that a developer has set for other servers."""
        part = environment_of_part()
        clean = {k: v for k, v in part.items() if not re.match(r"PG|ODOO|OTEL_|DURAGEN_|PYTHON", k)}
        ours = {"PYTHONPATH": str(self.places.packages), "PYTHONUNBUFFERED": "1"}
        return clean | ours | dict(more or {})

    def run(
        self, database: str, *arguments: str, addons: Sequence[Path] = (OUR_ADDONS,)
    ) -> tuple[int, str]:
        """Runs Odoo on a database until it ends; returns its exit code and what it said."""
        # Tests of Odoo listen too, so each run has ports of its own.
        ports = {
            "http_port": self.port_registry.pick("run"),
            "gevent_port": self.port_registry.pick("run-evented"),
        }
        options = self.options(addons, {"max_cron_threads": 0, **ports})
        command = self.command(f"run-{database}", options)
        tethered = [sys.executable, "-I", "-S", tether.__file__, str(os.getpid())]
        done = subprocess.run(
            [*tethered, *command, "-d", database, "--stop-after-init", *arguments],
            env=self.environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            check=False,
        )
        return done.returncode, done.stdout

    def install(self, database: str, *modules: str, addons: Sequence[Path] = (OUR_ADDONS,)) -> str:
        """Installs modules, or updates them, without those that install themselves beside.

        Returns what Odoo said. Raises OdooFailedError.
        """
        names = ",".join(modules)
        what = ("-i", names, "-u", names, *self.places.what_is_named_alone, "--no-http")
        code, said = self.run(database, *what, addons=addons)
        wrong = re.search(r"^\S+ \S+ \d+ (ERROR|CRITICAL) ", said, re.MULTILINE)
        if code or wrong:
            tail = "\n".join(said.splitlines()[-_TAIL_LINES:])
            raise OdooFailedError(
                f"Odoo did not install {', '.join(modules)} (exit {code}):\n{tail}"
            )
        return said


@contextmanager
def scratch_site(places: Places, say: Say) -> Iterator[OdooSite]:
    """A running site in a new folder of which nothing is left."""
    # Other users may enter it, unlike the folders of `tempfile` and pytest as they are.
    home = Path(tempfile.mkdtemp(prefix="duragen-"))
    home.chmod(0o755)
    try:
        with OdooSite.of(places, home, say) as site:
            yield site
        site.remove()
    finally:
        shutil.rmtree(home, ignore_errors=True)
