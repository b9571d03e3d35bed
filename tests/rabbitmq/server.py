"""A real RabbitMQ of a test's own: on loopback, in a folder, ended by its process id."""

import asyncio
import os
import secrets
import socket
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple, Self

import pytest

from deploy.local.sandbox.serving import HOST
from deploy.local.stack.ports import PortRegistry
from deploy.local.stack.private import private_folder, write_private
from deploy.local.stack.supervisor import Part, Supervisor

ROOT = Path(__file__).parents[2] / "build/rabbitmq"
ERLANG = ROOT / "usr/lib/erlang"
USER = "duragen"
CONFIG = """\
listeners.tcp.1 = 127.0.0.1:{port}
default_user = {user}
default_pass = {password}
loopback_users = none
log.console = true
log.console.level = info
log.file = false
"""


TLS_CONFIG = """\
listeners.ssl.1 = 127.0.0.1:{port}
ssl_options.certfile = {signed}
ssl_options.keyfile = {key}
ssl_options.cacertfile = {known}
ssl_options.verify = verify_peer
ssl_options.fail_if_no_peer_cert = true
"""


class Certificates(NamedTuple):
    """For a listener with mutual TLS: its own certificate and key, and that of its clients."""

    signed: Path
    key: Path
    known: Path


class RabbitServer:
    """A node and Erlang's name server, which it would leave behind if it started that itself."""

    def __init__(self, home: Path, certificates: Certificates | None = None) -> None:
        if not (ROOT / "made").exists():
            pytest.fail("RabbitMQ is missing: `make test-rabbitmq` unpacks it", pytrace=False)
        self.home = private_folder(home)
        registry = PortRegistry(home / "ports.json")
        self.port = registry.pick("amqp")
        self._password = secrets.token_hex(8)
        self._names, self._node = registry.pick("names"), registry.pick("node")
        self._registry = registry
        config = CONFIG.format(port=self.port, user=USER, password=self._password)
        if certificates:
            self.tls_port = registry.pick("amqps")
            config += TLS_CONFIG.format(port=self.tls_port, **certificates._asdict())
        write_private(home / "rabbitmq.conf", config)
        write_private(home / "plugins", "[].")
        [self._scripts] = ROOT.glob("usr/lib/rabbitmq/lib/rabbitmq_server-*/sbin")
        names = str(ERLANG / "bin/epmd")
        self._name_server = Supervisor(
            Part(
                "epmd",
                [names, "-port", str(self._names), "-address", HOST],
                lambda: _answers(self._names),
                self._environment,
            ),
            home,
            lambda _: None,
        )
        self.supervisor = Supervisor(
            Part(
                "rabbitmq",
                [str(self._scripts / "rabbitmq-server")],
                lambda: _speaks(self.port),
                self._environment,
                ready_seconds=120,
                stop_seconds=60,
            ),
            home,
            lambda _: None,
        )

    @property
    def url(self) -> str:
        """Where clients connect, as an administrator."""
        return self.url_of(USER, self._password)

    def url_of(self, user: str, password: str, vhost: str = "%2F") -> str:
        """The same for another user."""
        return f"amqp://{user}:{password}@{HOST}:{self.port}/{vhost}"

    def start(self) -> Self:
        """Returns when clients are let in."""
        self._name_server.start()
        self._name_server.wait()
        self.supervisor.start()
        self.supervisor.wait()
        return self

    def stop(self) -> None:
        """Returns when both are gone."""
        self.supervisor.stop()
        self._name_server.stop()
        self._registry.release()

    async def kill(self) -> None:
        """SIGKILL; returns when it is back."""
        self.supervisor.kill()
        await self.restart()

    async def restart(self) -> None:
        """SIGTERM; returns when it is back.

        RabbitMQ 3.10 writes down some seconds late that there is a new quorum queue; one that it
        was killed before has no leader any more. A test that kills it restarts it first.
        """
        await asyncio.to_thread(self.supervisor.stop)
        self.supervisor.start()
        await asyncio.to_thread(self.supervisor.wait)

    async def ctl(self, *arguments: str) -> str:
        """`rabbitmqctl`; what it says."""
        process = await asyncio.create_subprocess_exec(
            self._scripts / "rabbitmqctl",
            "--quiet",
            *arguments,
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        said, _ = await process.communicate()
        assert process.returncode == 0, said.decode()
        return said.decode()

    @property
    def _environment(self) -> dict[str, str]:
        return {
            "PATH": f"{ERLANG / 'bin'}:{os.environ['PATH']}",
            "HOME": str(self.home),
            "LANG": "C.UTF-8",
            "ERL_EPMD_PORT": str(self._names),
            "ERL_EPMD_ADDRESS": HOST,
            "RABBITMQ_NODENAME": "duragen@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": HOST,
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(self._node),
            "RABBITMQ_MNESIA_BASE": str(self.home / "mnesia"),
            "RABBITMQ_LOG_BASE": str(self.home / "log"),
            "RABBITMQ_CONFIG_FILE": str(self.home / "rabbitmq.conf"),
            "RABBITMQ_CONF_ENV_FILE": os.devnull,
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.home / "plugins"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
            # The script becomes Erlang itself: the process id that we know is the node's.
            "RUNNING_UNDER_SYSTEMD": "true",
        }


def _answers(port: int) -> None:
    socket.create_connection((HOST, port), timeout=5).close()


def _speaks(port: int) -> None:
    """The first frame of AMQP comes back: its listener is the last thing that a node starts."""
    with socket.create_connection((HOST, port), timeout=5) as connection:
        connection.sendall(b"AMQP\x00\x00\x09\x01")
        if not connection.recv(1):
            raise ConnectionError("it closed the connection")


if __name__ == "__main__":  # by hand: python -m tests.rabbitmq.server FOLDER
    server = RabbitServer(Path(sys.argv[1])).start()
    print(server.url)
    input()
    server.stop()
