"""The notification service: both paths, and friendly words alone."""

from typing import Any

import pytest

from activities.notify import NotifyActivities
from contracts.errors import ErrorCode
from contracts.generation import Failure
from contracts.tasks import Delivered
from tests.activities import odoo_events
from tests.activities.activity_runs import Attempt
from tests.activities.http_peer import Peer, Reply, answer, html, raw, refusing_url
from workers.clients import Clients

OK = answer(202)


def notifying(clients: Clients, url: str, token: str | None = "t-0123456789") -> NotifyActivities:
    """The activity under test."""
    return NotifyActivities(clients.http, f"{url}/", token)


async def notified(clients: Clients, peer: Peer, failure: Failure) -> dict[str, Any]:
    """What the notification service gets of a failure."""
    peer.says(OK)
    task = odoo_events.failed(peer.url, failure)
    await Attempt().run(notifying(clients, peer.url).notify, task)
    (received,) = peer.received
    assert (received.method, received.path) == ("POST", "/notify/generation-error")
    message: dict[str, Any] = received.json
    assert message.pop("generationRequestId") == str(task.request_id)
    assert message.pop("userId") == str(task.user_id)
    return message


async def test_success(clients: Clients, peer: Peer) -> None:
    """Of an image, the request and the user are sent, and nothing else."""
    peer.says(OK)
    task = odoo_events.completed(peer.url)
    sent = await Attempt().run(notifying(clients, peer.url).notify, task)
    assert sent == Delivered(answer="202")
    (received,) = peer.received
    assert (received.method, received.path) == ("POST", "/notify/generation-success")
    assert received.headers["authorization"] == "Bearer t-0123456789"
    ids = {"generationRequestId": str(task.request_id), "userId": str(task.user_id)}
    assert received.json == ids


@pytest.mark.parametrize("code", list(ErrorCode))
async def test_friendly_words_alone(clients: Clients, peer: Peer, code: ErrorCode) -> None:
    """The user reads the taxonomy's text; the operator's detail and the code stay here."""
    failure = Failure(code=code, detail="psycopg2: secret detail", hint="Check: size.")
    message = await notified(clients, peer, failure)
    assert message.pop("userMsg") == f"{failure.rule.user_message} Check: size."
    user = failure.rule.kind == "user"
    expected = {"specificGuidance": True} if user else {"retrySuggestion": code != "CANCELED"}
    assert message == expected
    assert b"psycopg2" not in peer.received[0].body
    assert code.encode() not in peer.received[0].body


async def test_without_token(clients: Clients, peer: Peer) -> None:
    """A notification service without a token in the settings gets none."""
    peer.says(OK)
    await Attempt().run(notifying(clients, peer.url, None).notify, odoo_events.failed(peer.url))
    assert "authorization" not in peer.received[0].headers


@pytest.mark.parametrize("reply", [answer(400), html(503), answer(301), raw()])
async def test_trouble(clients: Clients, peer: Peer, reply: Reply) -> None:
    """Whatever goes wrong is tried again by Temporal."""
    peer.says(reply)
    activity = notifying(clients, peer.url)
    error = await Attempt().failure(activity.notify, odoo_events.failed(peer.url))
    assert error.non_retryable is False


async def test_token_never_enters_history(clients: Clients) -> None:
    """A token with a line break is not quoted."""
    activity = notifying(clients, refusing_url(), "t-0123456789\n")
    error = await Attempt().failure(activity.notify, odoo_events.failed("http://127.0.0.1:1"))
    assert "t-0123456789" not in error.message
