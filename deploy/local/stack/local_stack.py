"""The embedded stack: Temporal, an S3 store, the sandboxes, worker and gateway on one machine.

`LocalStack` is what `duragen up`, the demo, the tests and the benchmarks share. Everything it
writes is below its home folder, and what was written outlives it.
"""

import fcntl
import logging
import os
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, TextIO

from deploy.local.sandbox.serving import HOST
from deploy.local.stack import processes
from deploy.local.stack.config import Peers, keep_secrets, merge, settings, to_toml
from deploy.local.stack.layout import SandboxOptions, Site
from deploy.local.stack.parts import ALL_PARTS, OURS, SERVERS
from deploy.local.stack.ports import PortRegistry, Ports
from deploy.local.stack.private import open_private, private_folder, write_private
from deploy.local.stack.running import Running
from deploy.local.stack.supervisor import Part, Supervisor

_log = logging.getLogger(__name__)


class HomeInUseError(Exception):
    """Another stack runs in the same home folder."""


class LocalStack(Running):
    """The parts named, running from `start()` (or `with`) until `stop()`.

    Ports that are 0 are free ones, the same at the next start in the same home. `odoo_url` is the
    origin of a real Odoo in place of the sandbox, `alertmanager_url` that of a real Alertmanager.
    Without `rabbitmq_url` there is no part `rabbitmq`.
    Without the part `notifications` the settings name no notification service.
    `overrides` is merged over the settings file's tables. `say` receives what happens to parts
    later: that one died, that it is back.
    """

    def __init__(  # noqa: PLR0913  # each is one thing that a stack may have otherwise
        self,
        home: Path,
        parts: Collection[str] = ALL_PARTS,
        *,
        ports: Ports | None = None,
        options: SandboxOptions | None = None,
        odoo_url: str | None = None,
        alertmanager_url: str | None = None,
        rabbitmq_url: str | None = None,
        overrides: Mapping[str, Any] | None = None,
        say: Callable[[str], None] = _log.warning,
    ) -> None:
        if unknown := set(parts) - set(ALL_PARTS):
            raise ValueError(
                f"no such part: {', '.join(unknown)}; there are {', '.join(ALL_PARTS)}"
            )
        self.home = home.resolve()
        wanted = {*parts} if rabbitmq_url else {*parts} - {"rabbitmq"}
        self.parts = tuple(part for part in ALL_PARTS if part in wanted)
        self.ports = ports or Ports()
        self.options = options or SandboxOptions()
        self._odoo_url = odoo_url
        self._alertmanager_url = alertmanager_url
        self._rabbitmq_url = rabbitmq_url
        self._overrides = overrides or {}
        self._say = say
        self._lock: TextIO | None = None
        self._registry: PortRegistry | None = None
        self._running: dict[str, Supervisor] = {}
        private_folder(self.home)
        self.secrets = keep_secrets(self.home / "secrets.json")

    def start(self) -> None:
        """Starts the parts and returns when all are ready.

        Raises HomeInUseError, PortTakenError, ProgramMissingError, PartFailedError; then nothing
        is left running.
        """
        self._take_home()
        try:
            self._end_leftovers()
            self._registry = registry = PortRegistry(self.home / "ports.json")
            self.ports = registry.settle(self.ports, self.parts)
            self._write_settings()
            site = Site(
                self.home, self.ports, registry, self.secrets, self.options, self.environment
            )
            for group in (SERVERS, OURS):
                self._start(group, site)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Ends worker and gateway first, the servers last; returns when all are gone."""
        for group in (OURS, SERVERS):
            ending = [self._running[name] for name in group if name in self._running]
            for supervisor in ending:
                supervisor.ask_to_stop()
            for supervisor in ending:
                supervisor.stop()
        self._running.clear()
        if self._registry:
            self._registry.release()
        if self._lock:
            self._lock.close()
            self._lock = None

    def supervisor(self, name: str) -> Supervisor:
        """The supervisor of one part, to kill it, stop it, start it or wait for it."""
        return self._running[name]

    def log_path(self, name: str) -> Path:
        """Where a part's output goes."""
        return self.home / "logs" / f"{name}.log"

    @property
    def temporal_address(self) -> str:
        """Host and port of Temporal's frontend."""
        return f"{HOST}:{self.ports.temporal}"

    @property
    def ui_url(self) -> str:
        """Temporal's Web UI."""
        return f"http://{HOST}:{self.ports.ui}"

    @property
    def s3_url(self) -> str:
        """The S3 endpoint; the bucket is `config.BUCKET`."""
        return f"http://{HOST}:{self.ports.s3}"

    @property
    def images_url(self) -> str:
        """The sandbox image service."""
        return f"http://{HOST}:{self.ports.images}"

    @property
    def odoo_url(self) -> str:
        """The sandbox Odoo, or the real one that was named."""
        return self._odoo_url or f"http://{HOST}:{self.ports.odoo}"

    @property
    def notifications_url(self) -> str:
        """The sandbox's notification service."""
        return f"http://{HOST}:{self.ports.notifications}"

    @property
    def alerts_url(self) -> str:
        """The sandbox's Alertmanager, or the real one that was named."""
        return self._alertmanager_url or self.notifications_url

    @property
    def gateway_url(self) -> str:
        """The HTTP API."""
        return f"http://{HOST}:{self.ports.gateway}"

    @property
    def config_path(self) -> Path:
        """The settings file of worker and gateway."""
        return self.home / "duragen.toml"

    @property
    def environment(self) -> dict[str, str]:
        """What worker, gateway and command line need in their environment to use this stack."""
        return {
            "DURAGEN_CONFIG": str(self.config_path),
            "TEMPORAL_ADDRESS": self.temporal_address,
            "TEMPORAL_NAMESPACE": "default",
            # Empty, so that a developer's own profile for some other cluster is not read.
            "TEMPORAL_CONFIG_FILE": str(self.home / "temporal.toml"),
        }

    def _start(self, group: Mapping[str, Callable[[Site], Part]], site: Site) -> None:
        starting = []
        for name in self.parts:
            if name in group:
                supervisor = Supervisor(group[name](site), self.home, self._say)
                self._running[name] = supervisor
                starting.append(supervisor)
                supervisor.start()
        for supervisor in starting:
            supervisor.wait()

    def _write_settings(self) -> None:
        there = "notifications" in self.parts
        peers = Peers(
            odoo=self.odoo_url,
            more_odoos=self.options.more_odoos,
            notify=self.notifications_url if there else None,
            alerts=self.alerts_url if there or self._alertmanager_url else None,
            rabbitmq=self._rabbitmq_url,
        )
        tables = merge(settings(self.ports, self.secrets, peers, self.home), self._overrides)
        write_private(self.config_path, to_toml(tables))
        write_private(self.home / "temporal.toml", "")

    def _take_home(self) -> None:
        lock = open_private(self.home / "lock")
        try:
            # The kernel lets go of it when the process dies, however it dies.
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.seek(0)
            holder = lock.read().strip()
            lock.close()
            raise HomeInUseError(
                f"A local stack already runs in {self.home} (process {holder}). End it, or give"
                " another folder: --home FOLDER or DURAGEN_LOCAL_HOME."
            ) from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        self._lock = lock

    def _end_leftovers(self) -> None:
        """Ends parts whose supervisor was killed: they hold the ports and the files."""
        for name in (*OURS, *SERVERS):
            file = self.home / "run" / f"{name}.json"
            if process := processes.read(file):
                self._say(
                    f"{name} was left over from an earlier run (process {process.pid}): ended"
                )
                processes.end(process)
            file.unlink(missing_ok=True)
