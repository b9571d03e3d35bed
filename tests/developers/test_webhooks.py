"""Webhooks of API users: signed, on their own schedule, managed by API; receivers of every kind."""

import json

import httpx
import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from activities.webhooks import AT_ONCE_EACH
from deploy.local.stack.local_stack import LocalStack
from tests.developers.hooks import all_delivered, deliveries, hearing, until
from tests.developers.world import Developer


async def test_every_event_of_a_job(developer: Developer) -> None:
    """Started and completed, verified with the secret; the last one has the image's link."""
    events = ["generation.started", "generation.completed"]
    async with hearing(developer, events=events) as (receiver, webhook):
        job_id = (await developer.asks()).json()["jobId"]
        heard = [await receiver.next(), await receiver.next()]
        bodies = [Webhook(webhook["secret"]).verify(each.body, each.headers) for each in heard]
        assert {body["type"] for body in bodies} == set(events)
        assert {body["data"]["jobId"] for body in bodies} == {job_id}
        [done] = [body for body in bodies if body["type"] == "generation.completed"]
        assert done["data"]["status"] == "completed"
        assert done["data"]["imageUrl"]
        for event in events:
            sent = await until(developer, webhook, event=event, status="delivered")
            assert (sent["attempts"], sent["lastStatus"]) == (1, 200)


async def test_a_thin_one_says_what_and_no_more(developer: Developer) -> None:
    """The receiver asks for the rest."""
    async with hearing(developer, payload="thin") as (receiver, _):
        job_id = (await developer.asks({"prompt": "forbidden"})).json()["jobId"]
        body = json.loads((await receiver.next()).body)
        assert body["type"] == "generation.failed"
        assert body["data"] == {"jobId": job_id, "status": "failed"}


async def test_a_receiver_in_trouble_hears_it_again(developer: Developer) -> None:
    """After 5 s, with the same webhook-id and a fresh signature."""
    async with hearing(developer) as (receiver, webhook):
        receiver.answers = [500]
        await developer.asks()
        first, second = await receiver.next(), await receiver.next()
        assert first.headers["webhook-id"] == second.headers["webhook-id"]
        Webhook(webhook["secret"]).verify(second.body, second.headers)
        sent = await until(developer, webhook, status="delivered")
        assert sent["attempts"] == 2


async def test_410_switches_it_off(developer: Developer) -> None:
    """And nothing more is sent there until it is switched on again."""
    async with hearing(developer) as (receiver, webhook):
        receiver.answers = [410]
        await developer.asks(prefer="wait=60")
        await receiver.next()
        await until(developer, webhook, status="failed", lastStatus=410)
        path = f"/{webhook['id']}"
        shown = (await developer.hooks("GET", path)).json()
        assert (shown["enabled"], shown["disabledWhy"]) == (False, "gone")
        assert (await developer.hooks("POST", f"{path}/test")).status_code == 409
        await developer.asks(prefer="wait=60")
        assert len(await deliveries(developer, webhook)) == 1
        shown = (await developer.hooks("PATCH", path, json={"enabled": True})).json()
        assert (shown["enabled"], shown["disabledWhy"]) == (True, None)


async def test_two_secrets_are_valid_during_a_rotation(developer: Developer) -> None:
    """Whoever verifies with the old one or with the new one believes it."""
    async with hearing(developer) as (receiver, webhook):
        path = f"/{webhook['id']}"
        rotated = (await developer.hooks("POST", f"{path}/rotate")).json()
        assert rotated["secret"] != webhook["secret"]
        assert rotated["previousSecretUntil"]
        await developer.hooks("POST", f"{path}/test")
        heard = await receiver.next()
        for secret in (rotated["secret"], webhook["secret"]):
            Webhook(secret).verify(heard.body, heard.headers)
        with pytest.raises(WebhookVerificationError):
            Webhook("whsec_" + "b3RoZXI=" * 4).verify(heard.body, heard.headers)


async def test_sending_again(developer: Developer) -> None:
    """One delivery, or all since a moment; each has its webhook-id from before."""
    async with hearing(developer) as (receiver, webhook):
        job = (await developer.asks(prefer="wait=60")).json()
        first = await receiver.next()
        sent = await until(developer, webhook, status="delivered")
        path = f"/{webhook['id']}/redeliver"
        for what in ({"delivery": sent["id"]}, {"since": job["createdAt"]}):
            answer = await developer.hooks("POST", path, json=what)
            assert (answer.status_code, answer.json()) == (202, {"count": 1})
            again = await receiver.next()
            assert again.headers["webhook-id"] == first.headers["webhook-id"]
            await all_delivered(developer, webhook)
        for wrong, status in (({}, 422), ({"delivery": job["jobId"]}, 404), ({"x": 1}, 422)):
            assert (await developer.hooks("POST", path, json=wrong)).status_code == status


async def test_a_silent_receiver_holds_up_nobody(
    developer: Developer, whole: LocalStack, http: httpx.AsyncClient
) -> None:
    """One of fifty: its deliveries wait, those of all others are there, and so is an image."""
    others = [await Developer.new(whole, http) for _ in range(5)]
    asker = await Developer.new(whole, http)  # no receiver hears of this one
    async with hearing(developer) as (silent, lost), hearing(others[0]) as (receiver, first):
        silent.silent = True
        for _ in range(20):
            await developer.hooks("POST", f"/{lost['id']}/test")
        await silent.next()
        given = [(others[0], first)]
        for number in range(48):
            other = others[(number + 1) % 5]  # ten at most of each
            answer = await other.hooks("POST", "", json={"url": receiver.url})
            given.append((other, answer.json()))
        for other, webhook in given:
            answer = await other.hooks("POST", f"/{webhook['id']}/test")
            assert answer.status_code == 202, answer.text
        job = await asker.asks(prefer="wait=60")
        assert job.json()["status"] == "completed"
        for other, webhook in given:
            await until(other, webhook, event="webhook.test", status="delivered")
        assert silent.most_at_once <= AT_ONCE_EACH
        assert "delivered" not in {each["status"] for each in await deliveries(developer, lost)}
        for other, webhook in given:
            await other.hooks("DELETE", f"/{webhook['id']}")


@pytest.mark.parametrize(
    "url",
    ["http://169.254.169.254/latest", "http://[::1]:1/", "http://localhost:1/", "http://10.0.0.1/"],
)
async def test_a_private_address_is_not_called(developer: Developer, url: str) -> None:
    """Whatever it is written as: the attempt fails, and says why."""
    webhook = (await developer.hooks("POST", "", json={"url": url})).json()
    await developer.hooks("POST", f"/{webhook['id']}/test")
    sent = await until(developer, webhook, attempts=1)
    assert sent["lastStatus"] is None
    assert "not public" in sent["lastAnswer"]
    await developer.hooks("DELETE", f"/{webhook['id']}")


async def test_managing_them(
    developer: Developer, whole: LocalStack, http: httpx.AsyncClient
) -> None:
    """Ten at most; another's are not there; what is wrong is named."""
    url = "https://receiver.example/hook"
    made = [(await developer.hooks("POST", "", json={"url": url})).json() for _ in range(10)]
    answer = await developer.hooks("POST", "", json={"url": url})
    assert answer.status_code == 409
    listed = (await developer.hooks("GET", "")).json()["webhooks"]
    assert [each["id"] for each in listed] == [each["id"] for each in reversed(made)]
    assert all("secret" not in each for each in listed)
    other, one = await Developer.new(whole, http), f"/{made[0]['id']}"
    for method, path in (
        *(("GET", one), ("DELETE", one), ("POST", f"{one}/rotate"), ("POST", f"{one}/test")),
        ("GET", f"{one}/deliveries"),
    ):
        assert (await other.hooks(method, path)).status_code == 404, path
    for wrong in (
        *({}, {"url": "x"}, {"url": "ftp://a.example"}, {"url": "https://a:b@c.example"}),
        *({"url": url, "events": ["x"]}, {"url": url, "payload": "x"}, {"url": url, "more": 1}),
    ):
        assert (await developer.hooks("POST", "", json=wrong)).status_code == 422, wrong
    changed = {"url": "https://receiver.example/b", "events": ["generation.failed"]}
    shown = (await developer.hooks("PATCH", one, json=changed)).json()
    assert (shown["url"], shown["events"]) == (changed["url"], changed["events"])
    assert (await developer.hooks("DELETE", one)).json() == {"id": made[0]["id"]}
    assert (await developer.hooks("GET", one)).status_code == 404
