"""Where an outcome and its secrets go, and two secrets at a time while they are being changed."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from httpx import Headers
from standardwebhooks import Webhook, WebhookVerificationError

from activities.odoo.callback import CallbackDelivery
from activities.odoo.deliver import OdooActivities
from activities.odoo.gate import OdooGates
from contracts.errors import DeliveryError
from tests.activities import odoo_events
from tests.activities.activity_runs import Attempt
from tests.activities.http_peer import Peer, Received, answer
from tests.deploy.addon import module
from workers.clients import Clients

NEW, OLD = "a-new-token-0123456789", "an-old-token-0123456789"
NEW_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OLD_SECRET = "whsec_" + "c2VjcmV0" * 4
signatures = module("signatures")
OK = answer(200, {"status": "applied"})


def delivering(clients: Clients, url: str, *, both: bool = True, **more: Any) -> OdooActivities:
    """The activity under test; `both`: while the secrets are being changed."""
    tokens = [NEW, OLD] if both else [NEW]
    secrets = [NEW_SECRET, OLD_SECRET] if both else [NEW_SECRET]
    delivery = CallbackDelivery(clients.http, url, tokens, secrets, **more)
    return OdooActivities({url: delivery}, clients.store, OdooGates([url]))


def taking(peer: Peer, token: str) -> None:
    """The peer answers 401 to every other token."""

    async def reply(received: Received, *connection: Any) -> None:
        right = received.headers.get("authorization") == f"Bearer {token}"
        said = OK if right else answer(401, f"not {received.headers.get('authorization')}")
        await said(received, *connection)

    peer.says(reply)


def tokens_of(peer: Peer) -> list[str]:
    """The tokens of all that came, in order."""
    return [each.headers["authorization"].removeprefix("Bearer ") for each in peer.received]


@pytest.mark.parametrize(
    "path",
    [
        "/web/binary/upload",
        "/duragen/v1/callbacks",
        "/duragen/v1/callback/../../../web",
        "/duragen/v1/callback/%2e%2e/%2e%2e/%2e%2e/web",
        "//evil.example.com/duragen/v1/callback",
        "/duragen/v1/callback?next=/web",
        "/duragen/v1/callback;/../web",
    ],
)
async def test_another_path_gets_nothing(clients: Clients, peer: Peer, path: str) -> None:
    """Neither token nor signature nor link: the outcome is parked, and the text says why."""
    peer.says(OK)
    task = odoo_events.completed(peer.url, path)
    error = await Attempt().failure(delivering(clients, peer.url).deliver, task)
    assert error.type == DeliveryError.ODOO_REFUSED
    assert "callback" in error.message
    assert peer.received == []


async def test_the_settings_allow_another_path(clients: Clients, peer: Peer) -> None:
    """`callback_paths` in the place of the addon's routes."""
    peer.says(OK)
    activity = delivering(clients, peer.url, paths=["/hooks"])
    await Attempt().run(activity.deliver, odoo_events.completed(peer.url, "/hooks/images"))
    assert [each.path for each in peer.received] == ["/hooks/images"]
    error = await Attempt().failure(activity.deliver, odoo_events.completed(peer.url))
    assert "add it to callback_paths" in error.message


@pytest.mark.parametrize(("known", "sent"), [(NEW, [NEW]), (OLD, [NEW, OLD])])
async def test_either_token(clients: Clients, peer: Peer, known: str, sent: list[str]) -> None:
    """An Odoo that knows the new token gets it alone; one that still has the old one gets both."""
    taking(peer, known)
    await Attempt().run(delivering(clients, peer.url).deliver, odoo_events.failed(peer.url))
    assert tokens_of(peer) == sent


async def test_odoo_changes_between_two_tokens(clients: Clients, peer: Peer) -> None:
    """The old one alone is known to the first call, and the new one alone to the second."""
    peer.says(answer(401), answer(401), OK)
    await Attempt().run(delivering(clients, peer.url).deliver, odoo_events.failed(peer.url))
    assert tokens_of(peer) == [NEW, OLD, NEW]


@pytest.mark.parametrize("both", [True, False])
async def test_neither_token(clients: Clients, peer: Peer, *, both: bool) -> None:
    """A single one is sent once; of two the new one once more. The refusal names neither."""
    taking(peer, "another")
    activity = delivering(clients, peer.url, both=both)
    error = await Attempt().failure(activity.deliver, odoo_events.failed(peer.url))
    assert error.type == DeliveryError.ODOO_REFUSED
    assert tokens_of(peer) == ([NEW, OLD, NEW] if both else [NEW])
    assert "answered 401" in error.message
    assert NEW not in error.message
    assert OLD not in error.message


@pytest.mark.parametrize("status", [403, 404, 422, 503])
async def test_another_answer_is_the_answer(clients: Clients, peer: Peer, status: int) -> None:
    """Only 401 says that the token is wrong."""
    peer.says(answer(status))
    await Attempt().failure(delivering(clients, peer.url).deliver, odoo_events.failed(peer.url))
    assert tokens_of(peer) == [NEW]


async def test_both_secrets_sign(clients: Clients, peer: Peer) -> None:
    """A receiver that has either secret believes it; without the previous one, the new alone."""
    peer.says(OK)
    await Attempt().run(delivering(clients, peer.url).deliver, odoo_events.failed(peer.url))
    [received] = peer.received
    for secret in (NEW_SECRET, OLD_SECRET):
        Webhook(secret).verify(received.body, dict(received.headers))
    await Attempt().run(
        delivering(clients, peer.url, both=False).deliver, odoo_events.failed(peer.url)
    )
    alone = peer.received[-1]
    Webhook(NEW_SECRET).verify(alone.body, dict(alone.headers))
    with pytest.raises(WebhookVerificationError):
        Webhook(OLD_SECRET).verify(alone.body, dict(alone.headers))


async def test_the_signature_binds_id_time_and_body(clients: Clients, peer: Peer) -> None:
    """Odoo believes what was signed, for five minutes; no part of it, and not without it."""
    peer.says(OK)
    await Attempt().run(delivering(clients, peer.url).deliver, odoo_events.failed(peer.url))
    [sent] = peer.received
    stamp = int(sent.headers["webhook-timestamp"])

    def believed(body: bytes = sent.body, late: float = 0, **changes: str) -> bool:
        headers = sent.headers | {n.replace("_", "-"): value for n, value in changes.items()}
        given = Headers({name: value for name, value in headers.items() if value})
        try:
            signatures.check(given, body, [NEW], [NEW_SECRET], stamp + late)
        except signatures.UnauthorizedError:
            return False
        return True

    assert believed()
    assert believed(late=signatures.TOLERANCE_SECONDS)
    assert not believed(late=signatures.TOLERANCE_SECONDS + 1)
    assert not believed(sent.body.replace(b"failed", b"failes"))
    assert not believed(webhook_id=f"{sent.headers['webhook-id']}2")
    assert not believed(webhook_timestamp=str(stamp + 1))
    for name in ("webhook_id", "webhook_timestamp", "webhook_signature", "authorization"):
        assert not believed(**{name: ""}), name


async def test_a_repeat_has_the_same_id_and_a_time_of_its_own(clients: Clients, peer: Peer) -> None:
    """So a repeat is known as one, and is no replay of an old message."""
    peer.says(OK)
    task = odoo_events.failed(peer.url)
    at = datetime(2026, 11, 26, tzinfo=UTC)
    for minutes in (0, 90):
        later = at + timedelta(minutes=minutes)
        activity = delivering(clients, peer.url, now=lambda later=later: later)
        await Attempt().run(activity.deliver, task)
    first, second = (each.headers for each in peer.received)
    assert first["webhook-id"] == second["webhook-id"]
    assert int(second["webhook-timestamp"]) - int(first["webhook-timestamp"]) == 90 * 60
    assert first["webhook-signature"] != second["webhook-signature"]
