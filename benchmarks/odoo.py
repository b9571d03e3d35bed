"""What one real Odoo with our addon takes, with the stack on the same machine."""

import hashlib
import json
import re
import statistics
import tempfile
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import odoorpc
import psutil
from standardwebhooks import Webhook

from benchmarks.measures import Figure
from deploy.local.real_odoo.beside import Beside, stack_with_odoo
from deploy.local.real_odoo.configure import ADMIN, MANAGER, USER, api_key, browse, connect
from deploy.local.real_odoo.server import RealOdoo, Serving
from deploy.local.sandbox.images.protocols import FLUX_MODEL_ID
from deploy.local.stack.config import CALLBACK_PATH, Secrets
from deploy.local.stack.layout import SandboxOptions

REQUESTS = "duragen.generation.request"
SUBMISSIONS, DELIVERIES, OPEN = 200, 300, 1_000
SENDERS = 4
"""As many deliveries at once as keep one Odoo process busy."""

CALLERS = (ADMIN, MANAGER, USER)
"""API users: each has an account of his own."""

NO_SERVER = "127.0.0.1:9"
LONG_SECONDS = 600.0
"""What an image takes while reconciliation is measured: none may be finished meanwhile."""

ALONE, ALL = ("temporal",), ("temporal", "store", "images", "worker")
_PERFORMED = re.compile(r'"POST (\S+) HTTP/1\.1" 200 - (\d+) ')
"""Odoo's own line about a request: its path, and how many SQL queries it made."""


def inside_odoo() -> list[Figure]:
    """Submission, deliveries and reconciliation, one after the other."""
    with _beside(0, ALONE) as beside:
        figures = [*_submissions(beside, "no worker"), *_deliveries(beside)]
    with _beside(0) as beside:
        figures += _submissions(beside, "worker busy")
    with _beside(0, (*ALONE, "gateway")) as beside:
        figures += _by_api(beside)
    with _beside(LONG_SECONDS) as beside:
        return [*figures, *_reconciliation(beside)]


@contextmanager
def _beside(latency_seconds: float, parts: tuple[str, ...] = ALL) -> Iterator[Beside]:
    options = SandboxOptions(latency_seconds=latency_seconds)
    seldom = {"providers": {"flux": {"poll_seconds": 60}}} if latency_seconds else {}
    with (
        tempfile.TemporaryDirectory() as home,
        stack_with_odoo(Path(home), parts, say=print, options=options, overrides=seldom) as beside,
    ):
        session = connect(beside.odoo, ADMIN)
        _grant(session)
        _set(session, api_rate_per_minute="100000")  # as much as the machine carries
        yield beside


def _grant(session: odoorpc.ODOO) -> None:
    wizard = session.env["duragen.grant.credits"]
    made = wizard.create({"user_id": session.env.uid, "credits": 100_000})
    wizard.action_grant([made])


def _set(session: odoorpc.ODOO, **settings: str) -> None:
    for name, value in settings.items():
        session.env["ir.config_parameter"].set_param(f"duragen.{name}", value)


def _asked(session: odoorpc.ODOO) -> dict[str, Any]:
    models = session.env["duragen.ai.model"]
    [model] = models.search([("model_uuid", "=", str(FLUX_MODEL_ID))])
    return {"prompt": "a red fox in the snow", "model_id": model}


def _submissions(beside: Beside, beside_it: str) -> list[Figure]:
    """From the request to Odoo to its answer: reserved, committed, and started in Temporal.

    A worker on the same cores works on what was submitted before, and calls back to the same Odoo.
    Without one the generations wait in Temporal, as if workers were on other machines.
    """
    session = connect(beside.odoo, ADMIN)
    values, taken = _asked(session), []
    with httpx.Client(base_url=beside.odoo.url, timeout=60, trust_env=False) as http:
        _log_in(http, beside.odoo)
        _call(http, "submit_generation", [values])  # it connects, and fills Odoo's caches
        before = _cpu(beside.odoo)
        for _ in range(SUBMISSIONS):
            began = time.perf_counter()
            _call(http, "submit_generation", [values])
            taken.append((time.perf_counter() - began) * 1_000)
        cpu = (_cpu(beside.odoo) - before) / SUBMISSIONS * 1_000
    name = f"submission inside Odoo, {beside_it}"
    p95 = statistics.quantiles(taken, n=20)[-1]
    queries = _queries(beside.odoo, "/web/dataset/call_kw/", SUBMISSIONS)
    return [
        Figure(f"{name}: p50", statistics.median(taken), "ms", "at most 40"),
        Figure(f"{name}: p95", p95, "ms"),
        Figure(f"{name}: CPU of Odoo for each", cpu, "ms"),
        Figure(f"{name}: SQL queries for each", queries, ""),
    ]


def _by_api(beside: Beside) -> list[Figure]:
    """Submissions to the gateway, which asks the real Odoo; no worker beside it.

    By several API users, each one after the other; and by one of them, several at once: these
    take turns at his credits.
    """
    keys = []
    for who in CALLERS:
        with closing(browse(beside.odoo, who)) as session:
            keys.append(api_key(session, who))
    name = "developer API over a real Odoo"
    return [
        *_asked_by(beside, keys, f"{name}, {len(keys)} users"),
        *_asked_by(beside, keys[:1] * SENDERS, f"{name}, one user {SENDERS} times"),
    ]


def _asked_by(beside: Beside, keys: list[str], name: str) -> list[Figure]:
    body = {"prompt": "a red fox in the snow", "modelId": str(FLUX_MODEL_ID)}
    taken: list[float] = []

    def submits(key: str, times: int) -> None:
        headers = {"Authorization": f"Bearer {key}"}
        url = beside.stack.gateway_url
        with httpx.Client(base_url=url, headers=headers, timeout=60, trust_env=False) as http:
            for _ in range(times):
                began = time.perf_counter()
                own = {"Idempotency-Key": str(uuid.uuid4())}
                http.post("/v1/generate", json=body, headers=own).raise_for_status()
                taken.append((time.perf_counter() - began) * 1_000)

    for key in keys:
        submits(key, 1)  # it connects, and fills Odoo's caches
    taken.clear()
    before, began = _cpu(beside.odoo), time.perf_counter()
    with ThreadPoolExecutor(len(keys)) as senders:
        list(senders.map(submits, keys, [SUBMISSIONS // len(keys)] * len(keys)))
    lasted, cpu = time.perf_counter() - began, _cpu(beside.odoo) - before
    return [
        Figure(f"{name}: in a second", len(taken) / lasted, "/s"),
        Figure(f"{name}: p50", statistics.median(taken), "ms"),
        Figure(f"{name}: p95", statistics.quantiles(taken, n=20)[-1], "ms"),
        Figure(f"{name}: CPU of Odoo for each", cpu / len(taken) * 1_000, "ms"),
    ]


def _deliveries(beside: Beside) -> list[Figure]:
    """Signed callbacks to one Odoo worker process; each image stays in S3."""
    session = connect(beside.odoo, ADMIN)
    _set(session, image_storage="s3", temporal_address=NO_SERVER)
    made = [session.env[REQUESTS].submit_generation(_asked(session))[0] for _ in range(DELIVERIES)]
    fields = ["request_uuid", "correlation_uuid"]
    events = [_completed(row) for row in session.env[REQUESTS].read(made, fields)]
    beside.odoo.stop()
    how = Serving(workers=1, cron_threads=0, port=beside.odoo.port)
    with (
        RealOdoo(beside.odoo.site, beside.odoo.database, print, how) as odoo,
        httpx.Client(base_url=odoo.url, timeout=60, trust_env=False) as http,
        ThreadPoolExecutor(SENDERS) as senders,
    ):

        def deliver(event: dict[str, Any]) -> str:
            answer = http.post(CALLBACK_PATH, **_signed(event, beside.stack.secrets))
            answer.raise_for_status()
            status: str = answer.json()["status"]
            return status

        figures = []
        for name, wanted in (("deliveries", "applied"), ("repeated deliveries", "repeated")):
            before, began = _cpu(odoo), time.perf_counter()
            statuses = list(senders.map(deliver, events))
            taken, cpu = time.perf_counter() - began, _cpu(odoo) - before
            if set(statuses) != {wanted}:
                raise RuntimeError(f"not all were {wanted}: {set(statuses)}")
            many = len(events)
            aim = "at least 30" if wanted == "applied" else ""
            figures += [
                Figure(f"{name}, one Odoo worker: in a second", many / taken, "/s", aim),
                Figure(f"{name}: CPU of Odoo for each", cpu / many * 1_000, "ms"),
                Figure(f"{name}: SQL queries for each", _queries(odoo, CALLBACK_PATH, many), ""),
            ]
        return [*figures, _news(odoo)]


def _news(odoo: RealOdoo) -> Figure:
    """The user's notifications of these outcomes, by the cron, which a server runs by itself."""
    session = connect(odoo, ADMIN)
    waiting = [("news_waits", "=", True)]
    many = session.env[REQUESTS].search_count(waiting)
    began = time.perf_counter()
    session.env["ir.cron"].method_direct_trigger([session.env.ref("duragen.cron_follow").id])
    taken = time.perf_counter() - began
    if session.env[REQUESTS].search_count(waiting):
        raise RuntimeError("not all news was sent")
    return Figure("notifications of outcomes, by the cron: in a second", many / taken, "/s")


def _reconciliation(beside: Beside) -> list[Figure]:
    """One run of the cron over requests that Duragen is still working on."""
    session = connect(beside.odoo, ADMIN)
    for _ in range(OPEN):
        session.env[REQUESTS].submit_generation(_asked(session))
    started = session.env[REQUESTS].search_count([("state", "=", "started")])
    if started != OPEN:
        raise RuntimeError(f"{started} of {OPEN} were started")
    _make_due(beside)
    [cron] = session.env["ir.cron"].search([("code", "=", "model._cron_reconcile()")])
    began = time.perf_counter()
    session.env["ir.cron"].method_direct_trigger([cron])
    taken = time.perf_counter() - began
    asked = session.env[REQUESTS].search_count([("check_attempts", "=", 1)])
    if asked != OPEN:
        raise RuntimeError(f"{asked} of {OPEN} were asked about")
    return [Figure(f"reconciliation of {OPEN:,} open requests", taken, "s", "under 10")]


def _make_due(beside: Beside) -> None:
    beside.odoo.site.postgres.sql(
        beside.odoo.database,
        "UPDATE duragen_generation_request SET next_check_at = create_date",
    )


def _completed(row: dict[str, Any]) -> dict[str, Any]:
    key = f"generations/{row['request_uuid']}.png"
    return {
        "requestId": row["request_uuid"],
        "correlationId": row["correlation_uuid"],
        "status": "completed",
        "imageMetadata": {"format": "png", "size": 1_300_000, "width": 1024, "height": 1024},
        "hashValue": hashlib.sha256(key.encode()).hexdigest(),
        "imageUrl": f"http://127.0.0.1:9/duragen/{key}?X-Amz-Signature=none",
    }


def _signed(event: dict[str, Any], secrets: Secrets) -> dict[str, Any]:
    body, now, identity = json.dumps(event), datetime.now(UTC), str(uuid.uuid4())
    signature = Webhook(secrets.odoo_signing_secret).sign(identity, now, body)
    headers = {
        "Content-Type": "application/json",
        "Authorization": f"Bearer {secrets.odoo_token}",
        "webhook-id": identity,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": signature,
    }
    return {"content": body.encode(), "headers": headers}


def _log_in(http: httpx.Client, odoo: RealOdoo) -> None:
    who = {"db": odoo.database, "login": ADMIN.login, "password": ADMIN.password}
    answer = http.post("/web/session/authenticate", json={"jsonrpc": "2.0", "params": who})
    if "error" in answer.raise_for_status().json():
        raise RuntimeError("Odoo refuses the login")


def _call(http: httpx.Client, method: str, args: list[Any]) -> None:
    params = {"model": REQUESTS, "method": method, "args": args, "kwargs": {}}
    answer = http.post(f"/web/dataset/call_kw/{REQUESTS}/{method}", json={"params": params})
    if error := answer.raise_for_status().json().get("error"):
        raise RuntimeError(error["data"]["message"])


def _cpu(odoo: RealOdoo) -> float:
    """Seconds that Odoo's processes have used so far, without the database server's."""
    master = psutil.Process(odoo.supervisor.pid)
    times = [each.cpu_times() for each in (master, *master.children(recursive=True))]
    return float(sum(each.user + each.system for each in times))


def _queries(odoo: RealOdoo, path: str, many: int) -> float:
    """What the last so many requests to `path` made, the median of Odoo's own counts."""
    found = _PERFORMED.findall(odoo.log.read_text(errors="replace"))
    return statistics.median(
        [int(count) for where, count in found if where.startswith(path)][-many:]
    )
