"""Delivery to Odoo over HTTP: what it gets, and what its answers mean."""

import base64
import json
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import jsonschema_rs
import pytest
from standardwebhooks import Webhook

from activities.bucket import ImageId
from activities.odoo.callback import CallbackDelivery
from activities.odoo.deliver import OdooActivities
from activities.odoo.gate import OdooGates
from contracts.errors import DeliveryError, ErrorCode
from contracts.generation import Attempted, Failure, Outcome, Route
from contracts.tasks import Delivered, DeliverTask
from deploy.local.sandbox.images.painter import Picture, paint
from deploy.local.stack.local_stack import LocalStack
from otel.correlation import Correlation, bound
from tests.activities import odoo_events
from tests.activities.activity_runs import Attempt
from tests.activities.http_peer import (
    Peer,
    Received,
    Reply,
    answer,
    chunked,
    drip,
    hang,
    html,
    raw,
    refusing_url,
    reset,
)
from tests.activities.stored_images import stored
from workers.clients import Clients
from workers.settings import Settings

TOKEN = "a-token-of-odoo-0123456789"
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
SCHEMAS = Path(__file__).parents[2] / "docs" / "schemas"
OK = answer(200, {"status": "applied"})


def delivering(
    clients: Clients, url: str, token: str | None = TOKEN, **more: float
) -> OdooActivities:
    """The activity under test, with one Odoo at `url`."""
    tokens = [token] if token else []
    delivery = CallbackDelivery(clients.http, url, tokens, [SECRET], **more)
    return OdooActivities({url: delivery}, clients.store, OdooGates([url]))


async def delivered(clients: Clients, peer: Peer, task: DeliverTask) -> Delivered:
    """One delivery, as the worker's interceptor runs it."""
    with bound(Correlation(task.correlation_id, task.request_id)):
        return await Attempt().run(delivering(clients, peer.url).deliver, task)


def schema(name: str) -> jsonschema_rs.Draft202012Validator:
    """The checked-in schema of an event."""
    text = (SCHEMAS / f"{name}.json").read_text()
    return jsonschema_rs.Draft202012Validator(json.loads(text), validate_formats=True)


async def test_completed(clients: Clients, peer: Peer) -> None:
    """An image is delivered as EVT-AIG-002, valid by its schema, with a link and no null."""
    peer.says(OK)
    task = odoo_events.completed(peer.url)
    assert (await delivered(clients, peer, task)).answer == '200 {"status": "applied"}'
    event = peer.received[0].json
    schema("AIImageGenerationCompleted").validate(event)
    image = task.outcome.image
    assert image is not None
    assert event.pop("imageUrl").startswith(f"{clients_url(clients)}/duragen/{image.key}?")
    assert event == {
        "requestId": str(task.request_id),
        "correlationId": str(task.correlation_id),
        "status": "completed",
        "imageMetadata": {"format": "png", "size": 9, "width": 128, "height": 96},
        "hashValue": image.sha256,
    }


def clients_url(clients: Clients) -> str:
    """The store's origin."""
    return str(clients.store._bucket._s3._client.meta.endpoint_url)  # what the link must show


@pytest.mark.parametrize("code", list(ErrorCode))
async def test_failed(clients: Clients, peer: Peer, code: ErrorCode) -> None:
    """Every failure is delivered as EVT-AIG-003, valid by its schema, with whose fault it was."""
    peer.says(OK)
    paid = code == ErrorCode.OUTCOME_UNKNOWN
    failure = Failure(code=code, detail="the operator's detail", perhaps_paid=int(paid))
    task = odoo_events.failed(peer.url, failure)
    await delivered(clients, peer, task)
    event = peer.received[0].json
    schema("AIImageGenerationFailed").validate(event)
    rule = failure.rule
    assert event == {
        "requestId": str(task.request_id),
        "correlationId": str(task.correlation_id),
        "status": "failed",
        "errorCode": code,
        "errorMessage": "the operator's detail",
        "errorDetails": "the operator's detail",
        "mayHaveBeenPaid": paid,
        "errorType": rule.kind,
        "isSystemError": rule.kind in {"system", "configuration"},
        "isUserError": rule.kind == "user",
        "retrySuggestion": rule.retry_suggestion,
        "userMessage": rule.user_message,
    }


async def test_a_tenant_gets_no_operators_detail(clients: Clients, peer: Peer) -> None:
    """Where a generation has an owner, its Odoo reads the code and the user's message alone.

    The detail names addresses, providers and what they answered; it stays in Temporal.
    """
    peer.says(OK)
    detail = "http://inner.example:8188 (10.0.0.7) answered 400"
    failure = odoo_events.REFUSED.model_copy(update={"detail": detail})
    left = Attempted(route=Route(provider="flux", model="x"), failure=failure)
    task = odoo_events.failed(peer.url, failure)
    canceled = failure.model_copy(update={"code": ErrorCode.CANCELED, "hint": None})
    for outcome in (task.outcome, Outcome(failure=canceled, tried=[left])):
        await delivered(
            clients, peer, task.model_copy(update={"owner": "acme", "outcome": outcome})
        )
        event = peer.received[-1].json
        schema("AIImageGenerationFailed").validate(event)
        said = f"{event['errorCode']}: {event['userMessage']}"
        assert (event["errorMessage"], event["errorDetails"]) == (said, said)
        assert not any(word in json.dumps(event) for word in ("inner", "10.0.0.7", "flux"))


async def test_headers(clients: Clients, peer: Peer) -> None:
    """Bearer token, ids of the trace, and a signature that the library verifies."""
    peer.says(OK)
    task = odoo_events.failed(peer.url)
    await delivered(clients, peer, task)
    received = peer.received[0]
    assert (received.method, received.path) == ("POST", odoo_events.CALLBACK_PATH)
    assert received.headers["authorization"] == f"Bearer {TOKEN}"
    assert received.headers["content-type"] == "application/json"
    assert received.headers["x-correlation-id"] == str(task.correlation_id)
    assert received.headers["traceparent"].split("-")[1] == task.correlation_id.hex
    Webhook(SECRET).verify(received.body, received.headers)


async def test_webhook_id(clients: Clients, peer: Peer) -> None:
    """A repeat has the same webhook-id and body; `completed` after `failed` has another id."""
    peer.says(OK)
    task = odoo_events.failed(peer.url)
    await delivered(clients, peer, task)
    await delivered(clients, peer, DeliverTask.model_validate_json(task.model_dump_json()))
    later = task.model_copy(update={"outcome": odoo_events.completed(peer.url).outcome})
    await delivered(clients, peer, later)
    first, repeat, news = peer.received
    assert first.headers["webhook-id"] == repeat.headers["webhook-id"]
    assert first.body == repeat.body
    assert first.headers["webhook-id"] != news.headers["webhook-id"]


async def test_without_secrets(clients: Clients, peer: Peer) -> None:
    """An Odoo without token and secret in the settings gets neither header."""
    peer.says(OK)
    odoos = {peer.url: CallbackDelivery(clients.http, peer.url, [], [])}
    activity = OdooActivities(odoos, clients.store, OdooGates(odoos))
    await Attempt().run(activity.deliver, odoo_events.failed(peer.url))
    assert not {"authorization", "webhook-id", "webhook-signature"} & set(peer.received[0].headers)


JSON_RPC_ERROR = {"jsonrpc": "2.0", "id": 1, "error": {"code": 200, "message": "Odoo Server Error"}}
WAIT = {"retry-after": "9"}

ANSWERS: dict[str, tuple[Reply, str | None, int | None]] = {
    "200 alone": (answer(200), None, None),
    "200 ok": (answer(200, "OK"), None, None),
    "204": (answer(204), None, None),
    "JSON without error": (answer(200, {"jsonrpc": "2.0", "result": {"ok": True}}), None, None),
    "JSON with no error": (answer(200, {"error": None}), None, None),
    "page under 200": (html(200), "ODOO_REFUSED", None),
    "JSON-RPC error under 200": (answer(200, JSON_RPC_ERROR), "ODOO_REFUSED", None),
    "error in result": (
        answer(200, {"jsonrpc": "2.0", "id": None, "result": {"error": "no such request"}}),
        "ODOO_REFUSED",
        None,
    ),
    "404 in result": (
        answer(200, {"jsonrpc": "2.0", "result": {"error": "no such request", "code": 404}}),
        "ODOO_REFUSED",
        None,
    ),
    "503 in result": (
        answer(200, {"jsonrpc": "2.0", "result": {"error": "later", "code": 503}}),
        "ODOO_UNAVAILABLE",
        None,
    ),
    "no success in result": (
        answer(200, {"jsonrpc": "2.0", "result": {"success": False}}),
        "ODOO_REFUSED",
        None,
    ),
    "no success alone": (answer(200, {"success": False}), "ODOO_REFUSED", None),
    "false": (answer(200, {"jsonrpc": "2.0", "result": False}), "ODOO_REFUSED", None),
    "Response 400": (
        answer(200, {"jsonrpc": "2.0", "result": "<Response 90 bytes [400 BAD REQUEST]>"}),
        "ODOO_REFUSED",
        None,
    ),
    "Response 503": (
        answer(200, {"jsonrpc": "2.0", "result": "<Response 9 bytes [503 SERVICE UNAVAILABLE]>"}),
        "ODOO_UNAVAILABLE",
        None,
    ),
    "Response 200": (
        answer(200, {"jsonrpc": "2.0", "result": "<Response 2 bytes [200 OK]>"}),
        None,
        None,
    ),
    "nothing in result": (answer(200, {"jsonrpc": "2.0", "result": None}), None, None),
    "301": (answer(301, "", {"location": "http://example.com/"}), "ODOO_REFUSED", None),
    "303 to a login": (answer(303, "", {"location": "/web/login"}), "ODOO_REFUSED", None),
    "400": (answer(400), "ODOO_REFUSED", None),
    "401": (answer(401), "ODOO_REFUSED", None),
    "404": (html(404), "ODOO_REFUSED", None),
    "409": (answer(409), "ODOO_REFUSED", None),
    "422": (answer(422), "ODOO_REFUSED", None),
    "408": (answer(408), "ODOO_UNAVAILABLE", None),
    "425": (answer(425), "ODOO_UNAVAILABLE", None),
    "429": (answer(429, "", WAIT), "ODOO_UNAVAILABLE", 9),
    "500": (html(500), "ODOO_UNAVAILABLE", None),
    "503": (answer(503, "", WAIT), "ODOO_UNAVAILABLE", 9),
    "422 with Retry-After": (answer(422, "", WAIT), "ODOO_REFUSED", None),
    "closed": (raw(), "ODOO_UNAVAILABLE", None),
    "reset": (reset, "ODOO_UNAVAILABLE", None),
    "cut off": (raw(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{"), "ODOO_UNAVAILABLE", None),
    "not HTTP": (raw(b"220 ESMTP\r\n"), "ODOO_UNAVAILABLE", None),
    "without end": (chunked(b" " * 100_000), "ODOO_REFUSED", None),
}


@pytest.mark.parametrize(("reply", "code", "wait"), ANSWERS.values(), ids=ANSWERS)
async def test_answer(
    clients: Clients, peer: Peer, reply: Reply, code: str | None, wait: int | None
) -> None:
    """Taken, refused (somebody must fix something) or away (tried again): one of the three."""
    peer.says(reply)
    activity, task = delivering(clients, peer.url), odoo_events.failed(peer.url)
    if code is None:
        assert isinstance(await Attempt().run(activity.deliver, task), Delivered)
        return
    error = await Attempt().failure(activity.deliver, task)
    assert (error.type, error.non_retryable) == (code, code == DeliveryError.ODOO_REFUSED)
    assert error.next_retry_delay == (wait and timedelta(seconds=wait))
    assert f"{peer.url}{odoo_events.CALLBACK_PATH}" in error.message
    assert len(peer.received) == 1


@pytest.mark.parametrize("reply", [hang, drip])
async def test_no_answer_in_time(clients: Clients, peer: Peer, reply: Reply) -> None:
    """An Odoo that does not answer in time is away."""
    peer.says(reply)
    activity = delivering(clients, peer.url, timeout_seconds=0.3)
    error = await Attempt().failure(activity.deliver, odoo_events.failed(peer.url))
    assert error.type == DeliveryError.ODOO_UNAVAILABLE


async def test_nobody_listens(clients: Clients) -> None:
    """An Odoo that is being restarted is away."""
    url = refusing_url()
    error = await Attempt().failure(delivering(clients, url).deliver, odoo_events.failed(url))
    assert error.type == DeliveryError.ODOO_UNAVAILABLE


async def test_another_origin(clients: Clients, peer: Peer, foreign: Peer) -> None:
    """A callbackUrl at another origin than the settings' Odoo is not called."""
    foreign.says(OK)
    task = odoo_events.failed(peer.url)
    task = task.model_copy(update={"callback_url": f"{foreign.url}/callback"})
    error = await Attempt().failure(delivering(clients, peer.url).deliver, task)
    assert error.type == DeliveryError.ODOO_REFUSED
    assert foreign.received == []


async def test_odoo_left_the_settings(clients: Clients, peer: Peer) -> None:
    """An Odoo that was taken out of the settings is refused with what to do."""
    error = await Attempt().failure(
        OdooActivities({}, clients.store, OdooGates([])).deliver, odoo_events.failed(peer.url)
    )
    assert error.type == DeliveryError.ODOO_REFUSED
    assert "[[odoo]]" in error.message


@pytest.mark.parametrize("status", [200, 400, 500])
async def test_link_never_enters_history(clients: Clients, peer: Peer, status: int) -> None:
    """An Odoo that quotes the event does not bring the presigned link into history."""
    task = odoo_events.completed(peer.url)

    async def quote(received: Received, *connection: Any) -> None:
        quoted = json.dumps({"got": received.json["imageUrl"]}).replace("&", "\\u0026")
        await answer(status, quoted)(received, *connection)

    peer.says(quote)
    activity = delivering(clients, peer.url)
    if status == 200:
        said = (await Attempt().run(activity.deliver, task)).answer
    else:
        said = (await Attempt().failure(activity.deliver, task)).message
    assert f"{clients_url(clients)}/duragen/generations/" in said
    assert "Signature" not in said
    assert "AccessKey" not in said


@pytest.mark.parametrize("token", [TOKEN, f"{TOKEN}\n", f"{TOKEN}ü"])
async def test_token_never_enters_history(clients: Clients, peer: Peer, token: str) -> None:
    """No token enters history: not when Odoo quotes it, nor when it has a line break."""
    peer.says(answer(401, f"wrong token: Bearer {TOKEN}"))
    activity = delivering(clients, peer.url, token)
    error = await Attempt().failure(activity.deliver, odoo_events.failed(peer.url))
    assert error.type == DeliveryError.ODOO_REFUSED
    assert TOKEN not in f"{error.message} {error.details}"


async def test_outcome_of_nothing(clients: Clients, peer: Peer) -> None:
    """An outcome without image and failure is a mistake of ours, and nothing is sent."""
    activity = delivering(clients, peer.url)
    with pytest.raises(ValueError, match="an image or a failure"):
        await Attempt().run(activity.deliver, odoo_events.of(Outcome(), peer.url))
    assert peer.received == []


async def test_sandbox(
    parts: LocalStack, worker_settings: Settings, clients: Clients, http: httpx.AsyncClient
) -> None:
    """The sandbox Odoo verifies token and signature, books once, and knows a repeat."""
    odoo = worker_settings.odoo[0]
    assert len(odoo.tokens) == len(odoo.signing_secrets) == 1
    delivery = CallbackDelivery(clients.http, odoo.origin, odoo.tokens, odoo.signing_secrets)
    activity = OdooActivities({odoo.origin: delivery}, clients.store, OdooGates([odoo.origin]))
    task = odoo_events.completed(parts.odoo_url)
    answers = [(await Attempt().run(activity.deliver, task)).answer for _ in range(2)]
    assert ["applied" in answers[0], "repeated" in answers[1]] == [True, True]
    record = (await http.get(f"{parts.odoo_url}/_sandbox/requests/{task.request_id}")).json()
    assert record["state"] == "completed"
    assert [entry["kind"] for entry in record["ledger"]] == ["capture"]


async def test_the_image_itself(clients: Clients, parts: LocalStack) -> None:
    """An Odoo with `images = "data"` gets the bytes in place of a link; the sandbox takes them."""
    settings = parts.secrets
    data = paint(Picture("A lighthouse at dusk", 7, 128, 96))
    request_id = uuid4()
    image = await stored(clients, ImageId(request_id, "0" * 64, "png"), data)
    task = odoo_events.of(Outcome(image=image), parts.odoo_url)
    task = task.model_copy(update={"request_id": request_id})
    delivery = CallbackDelivery(
        clients.http, parts.odoo_url, [settings.odoo_token], [settings.odoo_signing_secret]
    )
    gates = OdooGates([parts.odoo_url])
    activity = OdooActivities({parts.odoo_url: delivery}, clients.store, gates, [parts.odoo_url])
    await Attempt().run(activity.deliver, task)
    url = f"{parts.odoo_url}/_sandbox/deliveries"
    [taken] = (await clients.http.get(url, params={"request_id": str(request_id)})).json()
    assert taken["effect"] == "applied"
    event = json.loads(taken["body"])
    assert "imageUrl" not in event
    assert base64.b64decode(event["imageData"]) == data
    assert event["hashValue"] == image.sha256


async def test_an_image_that_is_gone(clients: Clients, peer: Peer) -> None:
    """Nothing is sent: the outcome is parked, and Odoo's health has nothing to do with it."""
    peer.says(OK)
    delivery = CallbackDelivery(clients.http, peer.url, [TOKEN], [SECRET])
    activity = OdooActivities(
        {peer.url: delivery}, clients.store, OdooGates([peer.url]), [peer.url]
    )
    error = await Attempt().failure(activity.deliver, odoo_events.completed(peer.url))
    assert error.type == DeliveryError.STORE_UNAVAILABLE
    assert "the store has no generations/" in error.message
    assert peer.received == []
