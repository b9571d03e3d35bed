"""Delivery to Odoo by odoorpc: sessions that are reused, and what Odoo's exceptions mean."""

import asyncio
import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.trace import NonRecordingSpan, SpanContext

from activities.odoo.deliver import TIMEOUT_SECONDS, OdooActivities
from activities.odoo.gate import OdooGates
from activities.odoo.rpc import RpcDelivery
from contracts.errors import DeliveryError
from contracts.tasks import Delivered, DeliverTask
from deploy.local.sandbox.odoo.rpc import METHOD, MODEL, JsonRpc, error_object
from deploy.local.sandbox.odoo.rpc import OdooError as SandboxError
from deploy.local.stack.local_stack import LocalStack
from otel.correlation import Correlation, bound
from peers.odoo_rpc import OdooRpcError, OdooSession, RpcAccount
from tests.activities import odoo_events
from tests.activities.activity_runs import Attempt
from tests.activities.http_peer import (
    Peer,
    Received,
    Reply,
    answer,
    drip,
    hang,
    html,
    listening,
    raw,
    refusing_url,
)
from workers.clients import Clients
from workers.odoo_wiring import rpc_account
from workers.settings import Settings

PASSWORD = "a-password-0123456789"


def account(url: str, **changes: str) -> RpcAccount:
    """Whom the activity logs in as, at a peer."""
    known = RpcAccount(url, "sandbox", "duragen", PASSWORD, MODEL, METHOD)
    return known._replace(**changes)


def delivering(
    clients: Clients, url: str, timeout_seconds: float = TIMEOUT_SECONDS, **changes: str
) -> OdooActivities:
    """The activity under test, with one Odoo at `url`."""
    delivery = RpcDelivery(account(url, **changes), clients.threads, timeout_seconds)
    return OdooActivities({url: delivery}, clients.store, OdooGates([url]))


def _no_api(method: str, _arguments: list[Any]) -> object:
    raise LookupError(method)


class Odoo:
    """The sandbox's JSON-RPC on a peer, which counts what was asked."""

    def __init__(self, raises: SandboxError | None = None, returns: object = None) -> None:
        self.events: list[dict[str, Any]] = []
        self.asked: list[str] = []
        self._raises = raises
        self._returns = {"status": "applied"} if returns is None else returns
        self._rpc = JsonRpc("sandbox", "duragen", PASSWORD, self._apply, _no_api)

    def _apply(self, payload: dict[str, Any]) -> object:
        if self._raises:
            raise self._raises
        self.events.append(payload)
        return self._returns

    async def reply(self, received: Received, *connection: Any) -> None:
        """One call."""
        params = received.json.get("params", {})
        arguments = params.get("args") or []
        self.asked.append(arguments[4] if len(arguments) > 4 else str(params.get("method")))
        said = self._rpc.answer(received.path, received.json)
        await answer(200, said)(received, *connection)


async def test_one_login_for_many_calls(clients: Clients, peer: Peer) -> None:
    """Ten deliveries one after the other log in once."""
    odoo = Odoo()
    peer.says(odoo.reply)
    activity = delivering(clients, peer.url)
    for _ in range(10):
        await Attempt().run(activity.deliver, odoo_events.failed(peer.url))
    assert odoo.asked.count("login") == 1
    assert odoo.asked.count(METHOD) == len(odoo.events) == 10


@pytest.mark.parametrize(
    ("returns", "code"),
    [
        ({"error": "no such request"}, "ODOO_REFUSED"),
        ({"error": "x", "code": 503}, "ODOO_UNAVAILABLE"),
    ],
)
async def test_a_refusal_that_is_returned(
    clients: Clients, peer: Peer, returns: object, code: str
) -> None:
    """A method that returns an error has not taken the outcome, though the call succeeded."""
    peer.says(Odoo(returns=returns).reply)
    error = await Attempt().failure(
        delivering(clients, peer.url).deliver, odoo_events.failed(peer.url)
    )
    assert error.type == code


async def test_threads_at_once(clients: Clients, peer: Peer) -> None:
    """Deliveries at once never share a session, and their sessions are used again later."""
    odoo = Odoo()
    peer.says(odoo.reply)
    activity = delivering(clients, peer.url)
    for _ in range(2):
        tasks = [odoo_events.failed(peer.url) for _ in range(12)]
        await asyncio.gather(*(Attempt().run(activity.deliver, task) for task in tasks))
    assert len({event["requestId"] for event in odoo.events}) == 24
    assert odoo.asked.count("login") <= 12


async def test_event_is_the_callbacks(clients: Clients, peer: Peer) -> None:
    """`apply_event` is given the very event that the callback would post."""
    odoo = Odoo()
    peer.says(odoo.reply)
    task = odoo_events.failed(peer.url)
    delivered = await Attempt().run(delivering(clients, peer.url).deliver, task)
    assert delivered == Delivered(answer="{'status': 'applied'}")
    (event,) = odoo.events
    assert event["status"] == "failed"
    assert event["requestId"] == str(task.request_id)
    assert event["errorCode"] == "INVALID_INPUT"
    assert None not in event.values()


async def test_ids_go_with_every_call(clients: Clients, peer: Peer) -> None:
    """The login and the call itself carry X-Correlation-ID and a traceparent, in any thread."""
    odoo = Odoo()
    peer.says(odoo.reply)
    task = odoo_events.failed(peer.url)
    ids = Correlation(task.correlation_id, task.request_id)
    # As the worker's interceptor leaves it: with tracing on, the call's span needs a parent.
    parent = SpanContext(ids.correlation_id.int, 0xABC, is_remote=False)
    with bound(ids), trace.use_span(NonRecordingSpan(parent)):
        await Attempt().run(delivering(clients, peer.url).deliver, task)
    assert odoo.asked.count("login") == len(odoo.events) == 1
    for received in peer.received:
        assert received.headers["x-correlation-id"] == str(task.correlation_id)
        assert received.headers["traceparent"].split("-")[1] == task.correlation_id.hex


@pytest.mark.parametrize("wrong", [{"password": "wrong"}, {"login": "nobody"}])
async def test_wrong_login(clients: Clients, peer: Peer, wrong: dict[str, str]) -> None:
    """A wrong login or password is refused at once: trying again would lock the account."""
    odoo = Odoo()
    peer.says(odoo.reply)
    activity = delivering(clients, peer.url, **wrong)
    error = await Attempt().failure(activity.deliver, odoo_events.failed(peer.url))
    assert (error.type, error.non_retryable) == (DeliveryError.ODOO_REFUSED, True)
    assert "login" in error.message
    assert odoo.asked.count("login") == 1


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("odoo.exceptions.UserError", "ODOO_REFUSED"),
        ("odoo.exceptions.ValidationError", "ODOO_REFUSED"),
        ("odoo.exceptions.AccessError", "ODOO_REFUSED"),
        ("odoo.exceptions.AccessDenied", "ODOO_REFUSED"),
        ("odoo.exceptions.MissingError", "ODOO_REFUSED"),
        ("odoo.exceptions.LockError", "ODOO_UNAVAILABLE"),
        ("odoo.exceptions.ConcurrencyError", "ODOO_UNAVAILABLE"),
        ("odoo.http.SessionExpiredException", "ODOO_UNAVAILABLE"),
        ("psycopg2.errors.SerializationFailure", "ODOO_UNAVAILABLE"),
        ("builtins.KeyError", "ODOO_UNAVAILABLE"),
        ("", "ODOO_UNAVAILABLE"),
    ],
)
async def test_exception(clients: Clients, peer: Peer, name: str, code: str) -> None:
    """What Odoo raises on purpose is a refusal; where it stumbled, it is tried again."""
    odoo = Odoo(SandboxError(name, f"no, says {PASSWORD}"))
    peer.says(odoo.reply)
    activity = delivering(clients, peer.url)
    error = await Attempt().failure(activity.deliver, odoo_events.failed(peer.url))
    assert (error.type, error.non_retryable) == (code, code == DeliveryError.ODOO_REFUSED)
    assert name in error.message
    assert PASSWORD not in error.message


async def test_failed_session_is_not_used_again(clients: Clients, peer: Peer) -> None:
    """After an exception the next delivery logs in again: the session may have expired."""
    broken = Odoo(SandboxError("odoo.http.SessionExpiredException", "Session expired"))
    well = Odoo()
    activity = delivering(clients, peer.url)
    peer.says(broken.reply)
    await Attempt().failure(activity.deliver, odoo_events.failed(peer.url))
    peer.says(well.reply)
    await Attempt().run(activity.deliver, odoo_events.failed(peer.url))
    assert well.asked.count("login") == 1


ANSWERS: dict[str, tuple[Reply, str]] = {
    "page": (html(200), "ODOO_REFUSED"),
    "nothing": (answer(200), "ODOO_REFUSED"),
    "401": (answer(401), "ODOO_REFUSED"),
    "404": (html(404), "ODOO_REFUSED"),
    "429": (answer(429), "ODOO_UNAVAILABLE"),
    "500": (html(500), "ODOO_UNAVAILABLE"),
    "502": (html(502), "ODOO_UNAVAILABLE"),
    "closed": (raw(), "ODOO_UNAVAILABLE"),
    "cut off": (raw(b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n{"), "ODOO_UNAVAILABLE"),
    "not HTTP": (raw(b"220 ESMTP\r\n"), "ODOO_UNAVAILABLE"),
    "its database is away": (
        answer(200, {"error": error_object("psycopg2.OperationalError", "no connection")}),
        "ODOO_UNAVAILABLE",
    ),
}


@pytest.mark.parametrize(("reply", "code"), ANSWERS.values(), ids=ANSWERS)
async def test_no_json_rpc(clients: Clients, peer: Peer, reply: Reply, code: str) -> None:
    """What is no JSON-RPC is a wrong address, or an Odoo that is away."""
    peer.says(reply)
    activity = delivering(clients, peer.url)
    error = await Attempt().failure(activity.deliver, odoo_events.failed(peer.url))
    assert error.type == code
    assert peer.url in error.message
    assert PASSWORD not in error.message


async def test_no_answer_in_time(clients: Clients, peer: Peer) -> None:
    """An Odoo that hangs is away, and gives its thread back."""
    peer.says(hang)
    activity = delivering(clients, peer.url, timeout_seconds=0.3)
    error = await Attempt().failure(activity.deliver, odoo_events.failed(peer.url))
    assert error.type == DeliveryError.ODOO_UNAVAILABLE


async def test_a_peer_that_drips(clients: Clients, peer: Peer) -> None:
    """A byte now and then keeps each read of a socket going: the whole call has its time.

    And the thread is free again: the pool has one, which the next delivery needs.
    """
    with ThreadPoolExecutor(1) as one:
        delivery = RpcDelivery(account(peer.url), one, timeout_seconds=0.3)
        activity = OdooActivities({peer.url: delivery}, clients.store, OdooGates([peer.url]))
        for replies in ((drip,), (Odoo().reply,) * 2 + (drip,)):  # at the login, at the call
            peer.says(*replies)
            error = await Attempt().failure(activity.deliver, odoo_events.failed(peer.url))
            assert error.type == DeliveryError.ODOO_UNAVAILABLE
            assert "0.3 s" in error.message
        peer.says(Odoo().reply)
        lasting = RpcDelivery(account(peer.url), one)
        activity = OdooActivities({peer.url: lasting}, clients.store, OdooGates([peer.url]))
        await Attempt().run(activity.deliver, odoo_events.failed(peer.url))


async def test_nobody_listens(clients: Clients) -> None:
    """An Odoo that is being restarted is away; an empty password does not garble the text."""
    url = refusing_url()
    activity = delivering(clients, url, password="")
    error = await Attempt().failure(activity.deliver, odoo_events.failed(url))
    assert error.type == DeliveryError.ODOO_UNAVAILABLE
    assert error.message.startswith(f"{url} ({MODEL}.{METHOD} as duragen) did not answer")


async def test_doctor_logs_in(parts: LocalStack, worker_settings: Settings) -> None:
    """A session is what the doctor opens: it logs in, or says what is wrong."""
    known = rpc_account(worker_settings.odoo[0])
    await asyncio.to_thread(OdooSession(known, TIMEOUT_SECONDS).login)
    wrong = OdooSession(known._replace(password="wrong"), TIMEOUT_SECONDS)
    with pytest.raises(OdooRpcError) as caught:
        await asyncio.to_thread(wrong.login)
    assert caught.value.refused
    assert parts.odoo_url in caught.value.detail


async def test_sandbox(parts: LocalStack, worker_settings: Settings, clients: Clients) -> None:
    """The sandbox Odoo books the event once and knows a repeat; the link stays out of history."""
    known = rpc_account(worker_settings.odoo[0])
    odoos = {known.url: RpcDelivery(known, clients.threads)}
    activity = OdooActivities(odoos, clients.store, OdooGates(odoos))
    task: DeliverTask = odoo_events.completed(parts.odoo_url)
    answers = [(await Attempt().run(activity.deliver, task)).answer for _ in range(2)]
    assert ["applied" in answers[0], "repeated" in answers[1]] == [True, True]
    stored = await clients.http.get(f"{parts.odoo_url}/_sandbox/requests/{task.request_id}")
    record = stored.json()
    assert (record["state"], len(record["ledger"])) == ("completed", 1)
    assert "Signature=" in json.dumps(record["deliveries"])
    assert "Signature=" not in "".join(answers)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_not_followed(peer: Peer, status: int) -> None:
    """The login, with its password, goes to the address of the settings and nowhere else."""
    async with listening() as elsewhere:
        elsewhere.says(answer(200, {}))
        peer.says(answer(status, headers={"Location": f"{elsewhere.url}/jsonrpc"}))
        session = OdooSession(account(peer.url), 5)
        with pytest.raises(OdooRpcError, match=str(status)) as raised:
            await asyncio.to_thread(session.login)
        assert raised.value.refused
        assert elsewhere.received == []
