"""The developer API under load: API users through nginx, at a fixed rate.

Each submission has an `Idempotency-Key` of its own. What is answered but 202 is counted, and sent
again with the same key. The time counts from when a submission was due: a caller that must wait
for a connection, or ask again, waits, too. Afterwards the books must agree: one job for each
submission, one credit for each job, one image for each credit.
"""

import asyncio
import json
import sqlite3
import ssl
import time
import uuid
from collections import Counter
from contextlib import closing
from typing import NamedTuple

import httpx
import psutil

from benchmarks.load import PARTS, cpu_seconds, fresh_stack
from benchmarks.measures import Figure, percentile
from deploy.local.nginx import Nginx
from deploy.local.sandbox.images.protocols import OPENAI_MODEL_ID
from deploy.local.sandbox.serving import HOST
from deploy.local.stack.local_stack import LocalStack

USERS = 50
WARM_UP_SECONDS = 2
PATIENCE_SECONDS = 900.0
CONNECTIONS = 100
"""As many as nginx' file lets one address have."""

LIMITS_RAISED = {"rate=20r/s": "rate=10000r/s", "rate=50r/s": "rate=10000r/s"}
"""All callers have one address here, and a slow second is followed by many at once."""

BODY = json.dumps(
    {
        "prompt": "a red fox in the snow",
        "modelId": str(OPENAI_MODEL_ID),
        "resolution": "1024x1024",
    }
).encode()


SERVERS = ("temporal", "odoo", "gateway")
"""What a submission goes through."""


class User(NamedTuple):
    """An API user of the sandbox Odoo."""

    user_id: str
    key: str


class Books(NamedTuple):
    """What the sandboxes have written down: jobs, and the credits that were taken."""

    charged: int
    started: int
    completed: int
    credits: int
    images: int
    """That somebody must pay for."""


async def submitted(*, working: bool, rate: int, seconds: int = 60) -> list[Figure]:
    """So many a second for so long, and then the end of all of them.

    `working`: a worker is on the same two cores from the beginning. Otherwise it starts when all
    have been submitted, as if the workers were on other machines.
    """
    with fresh_stack(0, (*PARTS, "gateway")) as stack, _nginx(stack) as nginx:
        worker = stack.supervisor("worker")
        if not working:
            await asyncio.to_thread(worker.stop)
        users = await _users(stack)
        callers = Callers(nginx, users)
        warm_up = rate * WARM_UP_SECONDS
        await callers.submit(rate, warm_up)
        servers = {part: stack.supervisor(part) for part in SERVERS} | {"nginx": nginx.supervisor}
        processes = {part: psutil.Process(each.pid) for part, each in servers.items()}
        before = {part: cpu_seconds(each) for part, each in processes.items()}
        began, number = time.perf_counter(), rate * seconds
        taken = await callers.submit(rate, number)
        lasted = time.perf_counter() - began
        used = {part: cpu_seconds(each) - before[part] for part, each in processes.items()}
        if not working:
            worker.start()
        wanted = number + warm_up
        books = await _closed(stack, users, wanted)
        ended = time.perf_counter() - began
    if set(books) != {wanted}:
        raise RuntimeError(f"{wanted} were submitted, and the books say {books}")
    name = f"developer API, {rate}/s for {seconds} s, worker {'busy' if working else 'later'}"
    return [
        Figure(f"{name}: accepted", number / lasted, "1/s", f"{rate}"),
        *(
            Figure(f"{name}: 202, p{percent}", percentile(taken, percent) * 1e3, "ms")
            for percent in (50, 95, 99)
        ),
        Figure(f"{name}: refused at first", callers.refused.total(), "", "0"),
        Figure(f"{name}: submitted, with {WARM_UP_SECONDS} s before", wanted, ""),
        *(Figure(f"{name}: {field}", value, "") for field, value in books._asdict().items()),
        Figure(f"{name}: all completed after", ended, "s"),
        *(
            Figure(f"{name}: CPU a submission, {part}", cpu / number * 1e3, "ms")
            for part, cpu in used.items()
        ),
    ]


class Callers:
    """All API users in turn, over kept connections with TLS; plain, as `load.Lane` is."""

    def __init__(self, nginx: Nginx, users: list[User]) -> None:
        self.refused = Counter[str]()
        """Answers other than 202, by their first line."""
        self._port = nginx.port
        self._trust = ssl.create_default_context(cafile=nginx.certificate)
        self._users = users
        self._free: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
        self._room = asyncio.Semaphore(CONNECTIONS)

    async def submit(self, rate: int, number: int) -> list[float]:
        """So many, at that rate; the seconds from when each was due to its answer."""
        taken: list[float] = []
        began = time.perf_counter()

        async def one(due: float, user: User) -> None:
            key = str(uuid.uuid4())
            while (said := await self._said(user, key)) != "HTTP/1.1 202 Accepted":
                self.refused[said] += 1
                await asyncio.sleep(1)  # Retry-After
            taken.append(time.perf_counter() - due)

        async with asyncio.TaskGroup() as group:
            for each in range(number):
                due = began + each / rate
                await asyncio.sleep(max(due - time.perf_counter(), 0))
                group.create_task(one(due, self._users[each % len(self._users)]))
        return taken

    async def _said(self, user: User, key: str) -> str:
        async with self._room:
            return await self._said_on_one(user, key)

    async def _said_on_one(self, user: User, key: str) -> str:
        connection = self._free.pop() if self._free else await self._connected()
        reader, writer = connection
        writer.write(
            b"POST /v1/generate HTTP/1.1\r\nHost: api\r\nContent-Type: application/json\r\n"
            + f"Authorization: Bearer {user.key}\r\nIdempotency-Key: {key}\r\n".encode()
            + f"Content-Length: {len(BODY)}\r\n\r\n".encode()
            + BODY
        )
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        length = head.lower().partition("content-length: ")[2].partition("\r\n")[0]
        await reader.readexactly(int(length))
        if "connection: close" in head.lower():  # after a thousand requests
            writer.close()
        else:
            self._free.append(connection)
        return head.partition("\r\n")[0]

    async def _connected(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection(HOST, self._port, ssl=self._trust)


def _nginx(stack: LocalStack) -> Nginx:
    return Nginx(
        stack.home / "nginx",
        gateway=f"{HOST}:{stack.ports.gateway}",
        odoo=f"{HOST}:{stack.ports.odoo}",
        changes=LIMITS_RAISED,
    )


async def _users(stack: LocalStack) -> list[User]:
    async with httpx.AsyncClient(base_url=stack.odoo_url, trust_env=False) as http:
        made = [(await http.post("/_sandbox/keys")).json() for _ in range(USERS)]
    return [User(each["userId"], each["key"]) for each in made]


async def _closed(stack: LocalStack, users: list[User], number: int) -> Books:
    """The books when all have ended."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            books = await _books(stack, users)
            if books.completed >= number:
                return books
            await asyncio.sleep(0.5)


async def _books(stack: LocalStack, users: list[User]) -> Books:
    with closing(sqlite3.connect(stack.home / "odoo/odoo.sqlite")) as db:
        charged, started, completed = db.execute(
            # Whose start was not answered in time may have an outcome, and no time of its start.
            "SELECT count(*), sum(j.started_at IS NOT NULL OR r.state = 'completed'),"
            " sum(r.state = 'completed')"
            " FROM jobs j JOIN requests r ON r.request_id = j.job_id"
        ).fetchone()
    async with httpx.AsyncClient(base_url=stack.odoo_url, trust_env=False, timeout=60) as http:
        accounts = [(await http.get(f"/_sandbox/users/{user.user_id}")).json() for user in users]
    spent = sum(account["granted"] - account["balance"] for account in accounts)
    return Books(charged, started, completed, spent, _images(stack))


def _images(stack: LocalStack) -> int:
    with closing(sqlite3.connect(stack.home / "images/images.sqlite")) as db:
        [count] = db.execute("SELECT coalesce(sum(paid), 0) FROM calls").fetchone()
        return int(count)
