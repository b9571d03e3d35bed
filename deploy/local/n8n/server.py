"""A real N8N: on loopback, with a database of its own in one folder, ended by its process id."""

import json
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from deploy.local.n8n.install import N8n
from deploy.local.sandbox.serving import HOST
from deploy.local.stack.layout import environment_of_part
from deploy.local.stack.ports import PortRegistry
from deploy.local.stack.private import private_folder, write_private
from deploy.local.stack.program import Program
from deploy.local.stack.supervisor import Part, Supervisor

_QUIET = {
    "NODE_ENV": "production",
    "N8N_LOG_LEVEL": "warn",
    # No calls home.
    "N8N_DIAGNOSTICS_ENABLED": "false",
    "N8N_VERSION_NOTIFICATIONS_ENABLED": "false",
    "N8N_TEMPLATES_ENABLED": "false",
    "N8N_PERSONALIZATION_ENABLED": "false",
    "N8N_PYTHON_ENABLED": "false",
    "N8N_DISABLED_MODULES": "insights,mcp-registry",
}


class N8nServer(Program):
    """One process with SQLite, running from `start()` (or `with`) until `stop()`.

    `probe(url)` raises as long as it is not ready. N8N says that it is before its workflows'
    webhooks are; first of all it answers everything with 200 and a page.
    """

    def __init__(
        self,
        n8n: N8n,
        home: Path,
        probe: Callable[[str], None],
        *,
        settings: Mapping[str, str] | None = None,
        say: Callable[[str], None] = print,
    ) -> None:
        self.home = private_folder(home)
        self.ports = PortRegistry(home / "ports.json")
        port, broker = self.ports.pick("n8n"), self.ports.pick("n8n_broker")
        self.url = f"http://{HOST}:{port}"
        self._command = (str(n8n.node), str(n8n.program))
        self._environment = environment_of_part(
            {
                **_QUIET,
                "N8N_USER_FOLDER": str(home),
                "TMPDIR": str(home),  # it leaves things there
                "N8N_LISTEN_ADDRESS": HOST,
                "N8N_PORT": str(port),
                "N8N_RUNNERS_BROKER_PORT": str(broker),
                **(settings or {}),
            }
        )
        part = Part(
            "n8n",
            (*self._command, "start"),
            lambda: probe(self.url),
            self._environment,
            ready_seconds=120,
            stop_seconds=40,
        )
        self.supervisor = Supervisor(part, home, say)

    def load(
        self, credentials: Sequence[Mapping[str, Any]], workflows: Sequence[Mapping[str, Any]]
    ) -> None:
        """Imports both and publishes the workflows, while it does not run. Raises RuntimeError."""
        for kind, rows in {"credentials": credentials, "workflow": workflows}.items():
            file = self.home / f"{kind}.json"
            write_private(file, json.dumps(rows))
            self._run(f"import:{kind}", f"--input={file}")
        for each in workflows:
            self._run("publish:workflow", f"--id={each['id']}")

    def _run(self, *arguments: str) -> None:
        command = (*self._command, *arguments)
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, env=self._environment
        )
        if done.returncode:
            said = done.stdout + done.stderr
            raise RuntimeError(f"{' '.join(command)} failed:\n{said[-2_000:]}")
