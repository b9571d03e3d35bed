"""One server of the real Odoo: threaded or prefork, on loopback, on one database."""

import os
import signal
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from http.client import HTTPConnection
from pathlib import Path

from deploy.local.real_odoo.places import OUR_ADDONS, OdooFailedError
from deploy.local.real_odoo.site import OdooSite, Say
from deploy.local.sandbox.serving import HOST
from deploy.local.stack import processes
from deploy.local.stack.running import Running
from deploy.local.stack.supervisor import Part, Supervisor


@dataclass(frozen=True)
class Serving:
    """How Odoo serves. With workers it is prefork: websockets then have a port of their own."""

    workers: int = 0
    cron_threads: int = 1
    port: int = 0
    """0 takes a free one, the same at the next start on the same site."""
    environment: Mapping[str, str] = field(default_factory=dict)
    addons: Sequence[Path] = (OUR_ADDONS,)


class RealOdoo(Running):
    """Odoo on `database` of a running site, from `start()` (or `with`) until `stop()`."""

    def __init__(self, site: OdooSite, database: str, say: Say, how: Serving | None = None) -> None:
        self.site = site
        self.database = database
        self.how = how or Serving()
        name = f"odoo19-{database}"
        self.port = self.how.port or site.port_registry.pick(name)
        self._evented = site.port_registry.pick(f"{name}-evented")
        self._pid_file = site.home / "run" / f"{name}.json"
        self.supervisor = Supervisor(self._part(name), site.home, say)

    @property
    def url(self) -> str:
        """Odoo's origin."""
        return f"http://{HOST}:{self.port}"

    @property
    def websocket_url(self) -> str:
        """Where browsers' websockets belong; in production a proxy leads `/websocket` there."""
        return f"ws://{HOST}:{self._evented if self.how.workers else self.port}/websocket"

    @property
    def log(self) -> Path:
        """What the server says."""
        return self.supervisor.log

    def start(self) -> None:
        """Returns when it answers. Raises PartFailedError."""
        if left := processes.read(self._pid_file):
            processes.end(left)  # its supervisor was killed
        self.supervisor.start()
        self.supervisor.wait()

    def stop(self) -> None:
        """Returns when it is gone, with its workers."""
        pid = self.supervisor.pid
        self.supervisor.stop()
        if pid:
            # A killed master leaves its workers; they are in the session that it was started in.
            with suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)

    def kill(self) -> None:
        """SIGKILL, as an accident would, its workers too; it comes back by itself."""
        pid = self.supervisor.pid
        self.supervisor.kill()
        if pid:
            with suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)

    def restart(self) -> None:
        """Ends it and starts it again."""
        self.stop()
        self.start()

    def _part(self, name: str) -> Part:
        how, site = self.how, self.site
        ports = {"http_port": self.port, "gevent_port": self._evented}
        forks = {"workers": how.workers, "max_cron_threads": how.cron_threads}
        # No `dbfilter`: with one, Odoo connects to the server's list of databases for each request
        # without a session, which every callback is.
        only = {"db_name": self.database}
        command = site.command(name, site.options(how.addons, {**ports, **forks, **only}))
        return Part(
            name,
            command,
            self._probe(),
            environment=site.environment(how.environment),
            stop_seconds=10,
            killable=True,
        )

    def _probe(self) -> Callable[[], None]:
        ports = [self.port, self._evented] if self.how.workers else [self.port]

        def probe() -> None:
            for port in ports:
                connection = HTTPConnection(HOST, port, timeout=5)
                with closing(connection):
                    connection.request("GET", "/web/health")
                    if (status := connection.getresponse().status) != 200:
                        raise OdooFailedError(f"port {port} answers {status}")

        return probe
