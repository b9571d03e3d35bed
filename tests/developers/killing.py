"""Gateway and Odoo killed at a named step of a request, and what must be true of all in the end."""

import asyncio
import os
import signal
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import NamedTuple
from uuid import uuid4

import httpx
from temporalio.client import Client

from contracts.names import CORRELATION_HEADER, GENERATION_WORKFLOW, generation_id
from deploy.local.stack.local_stack import LocalStack
from tests.chaos.evidence import read_sandboxes
from tests.developers.world import CREDITS, PATIENCE_SECONDS, Developer, break_images, hold

INDEX_SECONDS = 30


class Asked(NamedTuple):
    """One request that its caller repeated until it was answered."""

    job_id: str
    correlation_id: str
    tries: int


class Counts(NamedTuple):
    """What became of all requests; right is a 0 in all but the first three."""

    keys: int
    sent: int
    completed: int
    charged_and_not_made: int = 0
    made_and_not_charged: int = 0
    keys_without_their_one_job: int = 0
    not_paid_once: int = 0
    wrong_balances: int = 0


async def insist(developer: Developer, key: str, **headers: str) -> Asked:
    """Send the request again until there is an answer, as a good client does."""
    tries = 0
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            tries += 1
            with suppress(httpx.TransportError):
                answer = await developer.asks(idempotency_key=key, **headers)
                if answer.is_success:
                    job_id = answer.json()["jobId"]
                    return Asked(job_id, answer.headers[CORRELATION_HEADER], tries)
                assert answer.status_code == httpx.codes.SERVICE_UNAVAILABLE, answer.text
                assert answer.headers["retry-after"]
            await asyncio.sleep(min(0.05 * 2**tries, 0.8))


async def down(stack: LocalStack, names: Sequence[str]) -> None:
    """SIGKILL for these parts at once; they stay away."""
    parts = [stack.supervisor(name) for name in names]
    for part in parts:
        part.kill()
    for part in parts:
        await asyncio.to_thread(part.stop)


async def up(stack: LocalStack, names: Sequence[str]) -> None:
    """Start them again; returns when they are ready."""
    for name in names:
        stack.supervisor(name).start()
    for name in names:
        await asyncio.to_thread(stack.supervisor(name).wait)


@asynccontextmanager
async def held(
    stack: LocalStack, http: httpx.AsyncClient, at: str, developer: Developer
) -> AsyncIterator["asyncio.Task[Asked]"]:
    """A request of which Odoo has just reached the step; it goes on after the block."""
    await hold(stack, http, at)
    async with asyncio.TaskGroup() as group:
        asking = group.create_task(insist(developer, uuid4().hex))
        async with asyncio.timeout(PATIENCE_SECONDS):
            url = f"{stack.odoo_url}/_sandbox/hold"
            while not (await http.get(url)).json()["reached"]:
                await asyncio.sleep(0.01)
        yield asking
        await hold(stack, http, None)


async def at_step(
    stack: LocalStack, http: httpx.AsyncClient, developer: Developer, at: str, names: Sequence[str]
) -> Asked:
    """One request; when it is at the step of Odoo, these parts are killed."""
    async with held(stack, http, at, developer) as asking:
        await down(stack, names)
        await up(stack, names)
    return asking.result()


async def during_the_hook(
    stack: LocalStack, http: httpx.AsyncClient, developer: Developer, names: Sequence[str]
) -> Asked:
    """One request; these parts are killed while the gateway starts it for Odoo's hook."""
    temporal = stack.supervisor("temporal").pid
    assert temporal
    async with held(stack, http, "committed", developer) as asking:
        os.kill(temporal, signal.SIGSTOP)  # so that the hook's call gets no answer
        try:
            await hold(stack, http, None)
            # Odoo goes on to the hook's call before it takes this one.
            await http.get(f"{stack.odoo_url}/_sandbox/hold")
            await down(stack, names)
        finally:
            os.kill(temporal, signal.SIGCONT)
        await up(stack, names)
    return asking.result()


async def while_it_is_made(
    stack: LocalStack, http: httpx.AsyncClient, developer: Developer, names: Sequence[str]
) -> Asked:
    """One request whose caller waits for the image; these parts are killed while it is made."""
    await break_images(stack, http, latency_seconds=1)
    async with asyncio.TaskGroup() as group:
        asking = group.create_task(insist(developer, uuid4().hex, prefer="wait=60"))
        async with asyncio.timeout(PATIENCE_SECONDS):
            while await _waits_for_its_start(developer):
                await asyncio.sleep(0.02)
        await down(stack, names)
        await up(stack, names)
    await break_images(stack, http)
    return asking.result()


async def in_a_burst(
    stack: LocalStack, developers: Sequence[Developer], killed: Sequence[tuple[int, Sequence[str]]]
) -> list[tuple[Developer, Asked]]:
    """All credits of all these users at once; each kill comes after so many answers."""
    answered: list[tuple[Developer, Asked]] = []

    async def ask(developer: Developer) -> None:
        answered.append((developer, await insist(developer, uuid4().hex)))

    async with asyncio.TaskGroup() as group:
        for developer in developers:
            for _ in range(CREDITS):
                group.create_task(ask(developer))
        for after, names in sorted(killed):
            async with asyncio.timeout(PATIENCE_SECONDS):
                while len(answered) < after:
                    await asyncio.sleep(0.01)
            await down(stack, names)
            await up(stack, names)
    return answered


async def judged(stack: LocalStack, asked: Sequence[tuple[Developer, Asked]]) -> Counts:
    """Wait until all have ended; the counts, from the records of Odoo, Temporal and the images."""
    for developer, each in asked:
        await developer.becomes(each.job_id, "completed", "failed", "canceled")
    there = {developer: await developer.job_ids() for developer, _ in asked}
    theirs = {job for jobs in there.values() for job in jobs}
    made = await _generations(stack, theirs)
    found = await asyncio.to_thread(read_sandboxes, stack.home)
    charged = {job for job, record in found.records.items() if "reserve" in record.entries}
    completed = {job for job in theirs if found.records[job].entries == ("reserve", "capture")}
    without, balances = 0, 0
    for developer, jobs in there.items():
        answered = [each.job_id for one, each in asked if one is developer]
        without += len({*jobs} ^ {*answered}) + len(answered) - len({*answered})
        balances += await developer.balance() != CREDITS - len({*jobs} & completed)
    return Counts(
        keys=len(asked),
        sent=sum(each.tries for _, each in asked),
        completed=len(completed),
        charged_and_not_made=len(theirs & charged - made.keys()),
        made_and_not_charged=len(made.keys() - charged) + sum(n - 1 for n in made.values()),
        keys_without_their_one_job=without,
        not_paid_once=sum(found.paid[each.correlation_id] != 1 for _, each in asked),
        wrong_balances=balances,
    )


async def _generations(stack: LocalStack, wanted: set[str]) -> Counter[str]:
    """How many generations Temporal has of each request; waits a while for those wanted.

    The index that is asked is written after the generation itself.
    """
    client = await Client.connect(stack.temporal_address)
    query = f"WorkflowType = '{GENERATION_WORKFLOW}'"
    found: Counter[str] = Counter()
    with suppress(TimeoutError):
        async with asyncio.timeout(INDEX_SECONDS):
            while wanted - found.keys():
                listed = [generation_id(run.id) async for run in client.list_workflows(query)]
                found = Counter(str(each.request_id) for each in listed)
    return found


async def _waits_for_its_start(developer: Developer) -> bool:
    jobs = (await developer.call("GET", "")).json()["jobs"]
    return not jobs or jobs[0]["status"] == "pending"
