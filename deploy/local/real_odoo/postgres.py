"""A PostgreSQL server of our own on loopback: a cluster in a folder, run by Debian's programs.

Root may not run it, so then it runs as the package's user. Its data outlives a killed process, but
not a power cut: nothing is flushed to the disk.
"""

import os
import pwd
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from deploy.local.real_odoo.places import OdooFailedError, OdooUnavailableError
from deploy.local.sandbox.serving import HOST
from deploy.local.stack.layout import environment_of_part
from deploy.local.stack.supervisor import Part, Supervisor

ROLE = "odoo"
_OLDEST = 13
"""What Odoo 19 asks for."""
_NEEDED = ("initdb", "postgres", "psql", "pg_isready")
_QUICK = ("fsync=off", "full_page_writes=off", "jit=off", "max_connections=100")
_HOW = "`tests/odoo/install` installs it; by hand, as root: apt-get install postgresql"


def programs() -> Path:
    """The folder of the newest PostgreSQL's programs."""
    found = {}
    for folder in Path("/usr/lib/postgresql").glob("*/bin"):
        if (major := folder.parent.name).isdigit():
            found[int(major)] = folder
    folders = [found[major] for major in sorted(found, reverse=True) if major >= _OLDEST]
    if on_path := shutil.which("initdb"):
        folders.append(Path(on_path).resolve().parent)
    for folder in folders:
        if all((folder / name).exists() for name in _NEEDED):
            return folder
    raise OdooUnavailableError(
        f"PostgreSQL {_OLDEST} or later is missing, which Odoo keeps its data in. {_HOW}"
    )


def major_version() -> str:
    """What a cluster's files depend on."""
    version = _ran([str(programs() / "postgres"), "--version"])
    found = re.search(r"\d+", version)
    return found[0] if found else version


def enters(folder: Path) -> bool:
    """Whether the user who runs PostgreSQL can use what is in `folder`."""
    look = [*_as_its_user(), "test", "-x", str(folder)]
    return subprocess.run(look, capture_output=True, check=False).returncode == 0


def initialise(data: Path, password: str) -> None:
    """Makes an empty cluster whose only role is `ROLE`."""
    data.mkdir()
    secret = data.with_name("initdb.password")
    secret.touch(0o600)
    secret.write_text(password)
    if os.geteuid() == 0:
        for path in (data, secret):
            shutil.chown(path, _user())
    command = [*_as_its_user(), str(programs() / "initdb"), "-D", str(data), "-U", ROLE]
    options = ["--auth=scram-sha-256", f"--pwfile={secret}", "--encoding=UTF8", "--no-sync"]
    _ran([*command, *options, "--locale=C.UTF-8"])
    secret.unlink()


class Postgres:
    """The server of one cluster, from `start()` to `stop()`."""

    def __init__(
        self, data: Path, password: str, port: int, home: Path, say: Callable[[str], None]
    ) -> None:
        self.port = port
        self.password = password
        self._bin = programs()
        self._supervisor = Supervisor(self._part(data), home, say)

    def start(self) -> None:
        """Returns when it takes connections. Raises PartFailedError."""
        self._supervisor.start()
        self._supervisor.wait()

    def stop(self) -> None:
        """Returns when it is gone; whoever is still connected is cut off."""
        self._supervisor.stop()

    @contextmanager
    def holding(self, database: str, statement: str) -> Iterator[None]:
        """A transaction of its own that has run the statement; it commits when the block ends."""
        command = [str(self._bin / "psql"), "-qAtX", *self._at(), database]
        environment = {**environment_of_part(), "PGPASSWORD": self.password}
        pipe = subprocess.PIPE
        with subprocess.Popen(  # programs of our own choice
            command, text=True, stdin=pipe, stdout=pipe, env=environment
        ) as psql:
            if psql.stdin is None or psql.stdout is None:
                raise RuntimeError("it has no pipes")
            psql.stdin.write(f"BEGIN;\n{statement};\nSELECT 'held';\n")
            psql.stdin.flush()
            for line in psql.stdout:
                if line == "held\n":
                    break
            try:
                yield
            finally:
                psql.stdin.write("COMMIT;\n")
                psql.stdin.close()
                psql.wait(timeout=60)

    def sql(self, database: str, text: str) -> str:
        """Runs statements as psql does; returns bare rows, columns with `|` between."""
        return _ran(
            [str(self._bin / "psql"), "-qAtX", "-v", "ON_ERROR_STOP=1", *self._at(), database],
            text,
            self.password,
        ).strip()

    def exists(self, database: str) -> bool:
        """Whether there is such a database."""
        return _name(database) in self.sql("postgres", "SELECT datname FROM pg_database").split()

    def comment(self, database: str) -> str:
        """What was noted about a database."""
        asked = "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = "
        return self.sql("postgres", f"{asked}'{_name(database)}'")

    def set_comment(self, database: str, text: str) -> None:
        """Notes something about a database; it is not copied with it."""
        self.sql("postgres", f"COMMENT ON DATABASE \"{_name(database)}\" IS '{text}'")

    def clone(self, template: str, database: str) -> None:
        """Makes `database` a copy of `template`, which must not be in use."""
        names = f'"{_name(database)}" TEMPLATE "{_name(template)}"'
        self.sql("postgres", f"CREATE DATABASE {names}")

    def drop(self, database: str) -> None:
        """Removes `database` if it is there, in use or not."""
        self.sql("postgres", f'DROP DATABASE IF EXISTS "{_name(database)}" WITH (FORCE)')

    def _at(self) -> list[str]:
        return ["-h", HOST, "-p", str(self.port), "-U", ROLE]

    def _part(self, data: Path) -> Part:
        # SIGINT ends it at once; at SIGTERM, which a supervisor sends, it waits for its clients.
        command = [*_as_its_user("--pdeathsig=INT"), str(self._bin / "postgres"), "-D", str(data)]
        command += ["-p", str(self.port), "-h", HOST, "-k", ""]
        for setting in _QUICK:
            command += ["-c", setting]

        def probe() -> None:
            _ran([str(self._bin / "pg_isready"), "-q", *self._at()])

        environment = environment_of_part({"LC_ALL": "C.UTF-8"})
        return Part(
            "postgres", command, probe, environment=environment, stop_seconds=3, killable=True
        )


def _user() -> str:
    names = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in names else "nobody"


def _as_its_user(*more: str) -> list[str]:
    setpriv = shutil.which("setpriv")
    if not setpriv:
        raise OdooUnavailableError("setpriv is missing (Debian: the package util-linux)")
    if os.geteuid() != 0:
        return [setpriv, *more] if more else ["/usr/bin/env"]
    entry = pwd.getpwnam(_user())
    ids = [f"--reuid={entry.pw_uid}", f"--regid={entry.pw_gid}", "--init-groups"]
    return [setpriv, *ids, *more]


def _name(database: str) -> str:
    if not re.fullmatch(r"[a-z][a-z0-9_]*", database):
        raise ValueError(f"{database!r} is no name for a database: small letters, digits, _")
    return database


def _ran(command: Sequence[str], data: str = "", password: str = "") -> str:
    # A developer's own PGHOST, PGSERVICE and the like are about another server.
    clean = {k: v for k, v in environment_of_part().items() if not k.startswith("PG")}
    done = subprocess.run(
        command,
        cwd="/",
        input=data,
        capture_output=True,
        text=True,
        check=False,
        env=clean | {"PGPASSWORD": password, "LC_ALL": "C.UTF-8"},
    )
    if done.returncode:
        raise OdooFailedError(f"{Path(command[0]).name} failed: {done.stderr.strip()}")
    return done.stdout
