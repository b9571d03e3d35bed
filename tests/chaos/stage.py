"""A stack of its own for one row, and the hands that break it."""

import asyncio
import os
import random
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, Self

import httpx
from temporalio.client import Client
from temporalio.runtime import Runtime, TelemetryConfig
from temporalio.service import RPCError

from contracts.names import generation_id
from deploy.local.sandbox.serving import HOST
from deploy.local.stack.layout import SandboxOptions, environment_of_part
from deploy.local.stack.local_stack import LocalStack
from deploy.local.stack.ports import PortRegistry
from deploy.local.stack.supervisor import Part, Supervisor
from tests.chaos.evidence import Evidence, images_in, read_sandboxes
from tests.chaos.load import Load
from tests.chaos.scene import Scene
from tests.chaos.second_odoo import SecondOdoo
from tests.workflows.relay import Relay

LEAVING_SECONDS = 200.0
"""What a worker may need to leave that finishes its calls first."""

LOOK_SECONDS = 0.5
ENDS = {"completed", "failed"}
AWAY_SECONDS = 90.0
"""Longer than any row keeps a sandbox away."""

OPERATOR_SECONDS, OPERATOR_PAUSE_SECONDS = 120.0, 10.0
_GENERATIONS = "WorkflowType = 'Generation'"


@cache
def _quiet() -> Runtime:
    """That Temporal cannot be reached is what some rows are about: no warnings."""
    return Runtime(telemetry=TelemetryConfig(logging=None))


class Stage:
    """One row while it runs.

    `met` counts what was broken by hand, `complaints` are commands that did not do what they say.
    """

    def __init__(  # what a row asks for, each by its name
        self,
        stack: LocalStack,
        load: Load,
        client: Client,
        seed: int,
        scene: Scene,
        second_odoo: SecondOdoo,
        store_line: Relay,
    ) -> None:
        self.stack = stack
        # Handed out: a port beside the stack's own may be another stack's.
        self._registry = PortRegistry(stack.home / "more-ports.json")
        self._worker_ports = [self._registry.pick(f"worker-{number}") for number in (1, 2)]
        self.store_line = store_line
        self.second_odoo = second_odoo
        self.scene = scene
        self.load = load
        self.dice = random.Random(seed)
        self.parked: set[str] = set()
        self.fault_ended_at: float | None = None
        self.met = 0
        self.complaints: list[str] = []
        self.http = httpx.AsyncClient(trust_env=False, timeout=30)
        self._client = client
        self._deployed: Supervisor | None = None

    @classmethod
    @asynccontextmanager
    async def set_up(
        cls, home: Path, total: int, rate: float, copies: int, seed: int, scene: Scene
    ) -> AsyncIterator[Self]:
        """A fresh stack, ready, with all requests reserved; it ends with the block."""
        async with SecondOdoo.listening() as second, Relay("127.0.0.1:1") as store_line:
            options = SandboxOptions(
                scene.latency_seconds,
                credits=max(1_000, total),
                more_odoos=(second.url,) if scene.relayed else (),
            )
            # What dies is meant to: nothing is said about it.
            overrides = scene.overrides
            if scene.store_line:
                overrides["storage"] = {"endpoint_url": store_line.url}
            stack = LocalStack(home, options=options, overrides=overrides, say=lambda _: None)
            await asyncio.to_thread(stack.start)
            try:
                second.aim(stack.odoo_url)
                store_line.aim(stack.s3_url)
                client = await Client.connect(stack.temporal_address, runtime=_quiet())
                relayed = scene.relayed and (second.url, scene.relayed)
                load = Load(stack, total, rate, copies, seed, scene.models, relayed or None)
                stage = cls(stack, load, client, seed, scene, second, store_line)
                async with stage.http:
                    await stage.load.reserve(stage.http)
                    try:
                        yield stage
                    finally:
                        if stage._deployed:
                            await asyncio.to_thread(stage._deployed.stop)
                        stage._registry.release()
            finally:
                await asyncio.to_thread(stack.stop)

    # What faults are made of.

    async def sent(self, share: float) -> None:
        """Wait until this share of the load has been sent."""
        while self.load.share < share:
            await asyncio.sleep(0.05)

    def fixed(self) -> None:
        """The fault is over: recovery is measured from now on."""
        self.fault_ended_at = time.time()

    async def images(self, kind: str | None = None, **more: Any) -> None:
        """The image service from now on; without a kind it is well."""
        always = {"kind": kind, **more} if kind else None
        faults = {"latency_seconds": self.scene.latency_seconds, "always": always}
        await self._put(self.stack.images_url, faults)

    async def odoo(self, **faults: Any) -> None:
        """Odoo's deliveries from now on; without a fault they are taken."""
        await self._put(self.stack.odoo_url, faults)

    async def late(self, seconds: float) -> None:
        """Odoo and the notification service record at once, and answer so long afterwards."""
        await self.odoo(late_seconds=seconds)
        await self._put(self.stack.notifications_url, {"late_seconds": seconds})

    async def kill(self, part: str) -> None:
        """SIGKILL; returns when the part is back."""
        supervisor = self.stack.supervisor(part)
        self.met += 1
        supervisor.kill()
        # Started by hand: its supervisor would wait longer from one death to the next.
        await asyncio.to_thread(supervisor.stop)
        supervisor.start()
        await asyncio.to_thread(supervisor.wait)

    async def away(self, part: str, seconds: float) -> None:
        """The part is ended, and begins again after so long."""
        supervisor = self.stack.supervisor(part)
        self.met += 1
        await asyncio.to_thread(supervisor.stop)
        await asyncio.sleep(seconds)
        supervisor.start()
        await asyncio.to_thread(supervisor.wait)

    async def freeze(self, part: str, seconds: float) -> None:
        """SIGSTOP, and SIGCONT after so long: the process has noticed nothing."""
        pid = self.stack.supervisor(part).pid
        if pid is None:
            raise RuntimeError(f"{part} does not run")
        self.met += 1
        os.kill(pid, signal.SIGSTOP)
        try:
            await asyncio.sleep(seconds)
        finally:
            os.kill(pid, signal.SIGCONT)

    @asynccontextmanager
    async def second_worker(self) -> AsyncIterator[None]:
        """One more worker on all queues, as there are where more than one machine works."""
        supervisor = await self._another_worker(self._worker_ports[0], 15)
        try:
            yield
        finally:
            await asyncio.to_thread(supervisor.stop)

    async def deploy(self) -> None:
        """A new worker begins, and the one before gets SIGTERM; returns when that has left."""
        before = self._deployed or self.stack.supervisor("worker")
        # Two ports in turn: the worker before the last one has left.
        self.met += 1
        port = self._worker_ports[self.met % 2]
        self._deployed = await self._another_worker(port, LEAVING_SECONDS)
        before.part = replace(before.part, stop_seconds=LEAVING_SECONDS)
        await asyncio.to_thread(before.stop)

    async def _another_worker(self, port: int, stop_seconds: float) -> Supervisor:
        own = self.stack.environment | {"DURAGEN_WORKER__HEALTH_PORT": str(port)}

        def probe() -> None:
            url = f"http://{HOST}:{port}/health/ready"
            httpx.get(url, timeout=5, trust_env=False).raise_for_status()

        command = [sys.executable, "-m", "workers"]
        part = Part(
            f"worker-{port}", command, probe, environment_of_part(own), stop_seconds=stop_seconds
        )
        supervisor = Supervisor(part, self.stack.home, lambda _: None)
        supervisor.start()
        await asyncio.to_thread(supervisor.wait)
        return supervisor

    async def redeliver(self, *which: str) -> None:
        """The operator's way: `duragen redeliver` of these requests, or of `--all`.

        Exit code 1 says that Odoo has not got them all: one may be on its way by itself just then,
        perhaps in the hands of a worker that died. Operators come again, and so do we.
        """
        give_up = time.monotonic() + OPERATOR_SECONDS
        code, said = await self._redelivered(which)
        while code == 1 and time.monotonic() < give_up:
            await asyncio.sleep(OPERATOR_PAUSE_SECONDS)
            code, said = await self._redelivered(which)
        if code:
            last = " / ".join(said.splitlines()[-3:])
            self.complaints.append(f"duragen redeliver: exit code {code}: {last}")

    async def _redelivered(self, which: tuple[str, ...]) -> tuple[int | None, str]:
        command = [*(sys.executable, "-m", "starter.cli", "redeliver"), *which]
        process = await asyncio.create_subprocess_exec(
            *(*command, "--by", "chaos", "--reason", "Odoo is back"),
            env=environment_of_part(self.stack.environment),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        said, _ = await process.communicate()
        return process.returncode, said.decode()

    # What is looked at meanwhile and at the end.

    async def watch(self) -> None:
        """Note who is parked, until it is canceled."""
        while True:
            with suppress(RPCError):  # Temporal may be what is killed
                self.parked |= await self.parked_now()
            await asyncio.sleep(LOOK_SECONDS)

    async def parked_now(self) -> set[str]:
        """Request ids of the parked ones."""
        return set(await self._statuses(f"{_GENERATIONS} AND GenerationStatus = 'parked'"))

    async def recorded(self, patience: float) -> int:
        """Wait until Odoo knows the end of all that do not go through the second; what is left."""
        give_up = time.monotonic() + patience
        while True:
            found = await asyncio.to_thread(read_sandboxes, self.stack.home)
            known = {key for key, each in found.records.items() if each.state in ENDS}
            left = len(self.load.direct - known)
            if not left or time.monotonic() > give_up:
                return left
            await asyncio.sleep(LOOK_SECONDS)

    async def closed(self, patience: float) -> bool:
        """Wait until no generation runs any more; False when patience ends first."""
        give_up = time.monotonic() + patience
        query = f"{_GENERATIONS} AND ExecutionStatus = 'Running'"
        while time.monotonic() < give_up:
            with suppress(RPCError):
                if (await self._client.count_workflows(query)).count == 0:
                    return True
            await asyncio.sleep(LOOK_SECONDS)
        return False

    async def evidence(self) -> Evidence:
        """All that can be known of this row now."""
        found = await asyncio.to_thread(read_sandboxes, self.stack.home)
        found.images = await asyncio.to_thread(images_in, self.stack)
        found.asked = list(self.load.accepted.values())
        found.closed = await self._statuses(_GENERATIONS)
        found.parked, found.fault_ended = self.parked, self.fault_ended_at
        for user in self.load.users:
            answer = await self.http.get(f"{self.stack.odoo_url}/_sandbox/users/{user}")
            account = answer.raise_for_status().json()
            found.spent[user] = account["granted"] - account["balance"]
        return found

    async def _statuses(self, query: str) -> dict[str, str]:
        return {
            str(generation_id(found.id).request_id): found.status.name
            if found.status
            else "UNSPECIFIED"
            async for found in self._client.list_workflows(query)
        }

    async def _put(self, url: str, faults: dict[str, Any]) -> None:
        """Set a sandbox's faults; one that is away just then gets them when it is back."""
        give_up = time.monotonic() + AWAY_SECONDS
        while True:
            try:
                answer = await self.http.put(f"{url}/_sandbox/faults", json=faults)
                break
            except httpx.TransportError:
                if time.monotonic() > give_up:
                    raise
                await asyncio.sleep(0.2)
        answer.raise_for_status()
