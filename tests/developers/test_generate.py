"""The developer API as its users see it: from a key to an image, and every refusal."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from deploy.local.stack.local_stack import LocalStack
from tests.developers.world import (
    CREDITS,
    PARAMETERS,
    Developer,
    break_images,
    break_odoo,
    limit,
)

NOBODYS = "0" * 40


async def test_from_a_key_to_an_image(developer: Developer, http: httpx.AsyncClient) -> None:
    """202 with the job and its price; then the image, by a link that needs no key."""
    answer = await developer.asks(x_unknown="ignored")
    assert answer.status_code == 202
    accepted = answer.json()
    assert (accepted["status"], accepted["price"]) == ("pending", 1)
    assert answer.headers["location"] == accepted["statusUrl"]
    assert answer.headers["x-correlation-id"]
    job = await developer.becomes(accepted["jobId"], "completed")
    wanted = {"price": 1, "charged": True, "error": None, "prompt": PARAMETERS["prompt"]}
    assert {name: job[name] for name in wanted} == wanted
    image = await http.get(job["imageUrl"])
    assert image.content.startswith(b"\x89PNG")
    assert await developer.balance() == CREDITS - 1


async def test_waiting_for_the_image(developer: Developer) -> None:
    """`Prefer: wait` answers with the job that has ended."""
    answer = await developer.asks(prefer="wait=60")
    assert answer.status_code == 200
    assert answer.headers["preference-applied"] == "wait=60"
    assert answer.json()["status"] == "completed"
    assert answer.json()["imageUrl"]


async def test_waiting_for_what_takes_longer(
    developer: Developer, whole: LocalStack, http: httpx.AsyncClient
) -> None:
    """202 as without it, and the job goes on."""
    await break_images(whole, http, latency_seconds=4)
    answer = await developer.asks(prefer="respond-async, wait=1")
    assert (answer.status_code, answer.json()["status"]) == (202, "pending")
    await developer.becomes(answer.json()["jobId"], "completed")


async def test_what_fails_is_not_charged(developer: Developer) -> None:
    """The reason in words for people, and the credits are back."""
    job = (await developer.asks({"prompt": "forbidden"}, prefer="wait=60")).json()
    assert (job["status"], job["charged"]) == ("failed", False)
    assert job["error"]["message"]
    assert await developer.balance() == CREDITS


# The same request again ------------------------------------------------------------------------


async def test_the_same_key_is_the_same_job(developer: Developer) -> None:
    """And the same answer, when the job has long ended."""
    first = await developer.asks(idempotency_key="order 7".replace(" ", "-"))
    assert "idempotent-replayed" not in first.headers
    await developer.becomes(first.json()["jobId"], "completed")
    again = await developer.asks(idempotency_key='"order-7"')
    assert (again.status_code, again.json()) == (202, first.json())
    assert again.headers["idempotent-replayed"] == "true"
    assert await developer.balance() == CREDITS - 1


async def test_the_same_key_for_another_image(developer: Developer) -> None:
    """409, and nothing is made."""
    await developer.asks(idempotency_key="one")
    for changes in ({"prompt": "a fox"}, {"seed": 7}, {"resolution": "512x512"}):
        answer = await developer.asks(changes, idempotency_key="one")
        assert answer.status_code == 409
        assert answer.json()["type"] == "urn:duragen:problem:conflict"
    assert len(await developer.job_ids()) == 1


async def test_without_a_key_each_is_a_job(developer: Developer) -> None:
    """Nobody but the caller knows whether it is a repeat."""
    for _ in range(2):
        assert (await developer.asks()).status_code == 202
    assert len(await developer.job_ids()) == 2


async def test_fifty_copies_at_once_are_one_job(developer: Developer) -> None:
    """One charge, and one answer for all."""
    answers = await asyncio.gather(*(developer.asks(idempotency_key="k") for _ in range(50)))
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.text for answer in answers}) == 1
    assert len(await developer.job_ids()) == 1
    assert await developer.balance() == CREDITS - 1


async def test_the_answer_of_odoo_is_lost(
    developer: Developer, whole: LocalStack, http: httpx.AsyncClient
) -> None:
    """Charged, and the answer never came: the gateway asks once more, and it is the same job.

    With a key of the caller's, and without.
    """
    other = await Developer.new(whole, http)
    await break_odoo(whole, http, commit_then_hang=True, times=2)
    answers = await asyncio.gather(developer.asks(idempotency_key="mine"), other.asks())
    for who, answer in zip((developer, other), answers, strict=True):
        assert answer.status_code == 202
        assert await who.job_ids() == [answer.json()["jobId"]]


# Refusals ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["", "x", NOBODYS, NOBODYS + "0", "ü" * 20])
async def test_what_is_no_key(developer: Developer, key: str) -> None:
    """401, whatever is asked for."""
    developer.key = key
    for method, path in (
        *(("POST", ""), ("GET", ""), ("POST", "/estimate")),
        *(("GET", f"/{uuid4()}/status"), ("DELETE", f"/{uuid4()}")),
    ):
        answer = await developer.call(method, path, json=PARAMETERS if method == "POST" else None)
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"] == "Bearer"


async def test_a_refused_key_is_not_asked_about_again(
    developer: Developer, whole: LocalStack, http: httpx.AsyncClient
) -> None:
    """A flood of it costs Odoo nothing: it is refused while Odoo is away, too."""
    stranger = Developer(whole, http, "", uuid4().hex + "0" * 8)
    assert (await stranger.call("GET", "")).status_code == 401
    await break_odoo(whole, http, status=503, times=None)
    assert (await stranger.call("GET", "")).status_code == 401
    assert (await developer.call("GET", "")).status_code == 503


async def test_a_revoked_key(
    developer: Developer, whole: LocalStack, http: httpx.AsyncClient
) -> None:
    """Not for a second longer: what is let in is never remembered."""
    assert (await developer.call("GET", "")).status_code == 200
    await http.delete(f"{whole.odoo_url}/_sandbox/keys/{developer.key}")
    assert (await developer.call("GET", "")).status_code == 401


async def test_no_credits(developer: Developer) -> None:
    """402, and nothing is made."""
    for _ in range(CREDITS):
        assert (await developer.asks()).status_code == 202
    answer = await developer.asks()
    assert answer.status_code == 402
    assert answer.json()["type"] == "urn:duragen:problem:insufficient_credits"
    assert len(await developer.job_ids()) == CREDITS


async def test_too_fast(developer: Developer, whole: LocalStack, http: httpx.AsyncClient) -> None:
    """429, with the seconds to wait; each answer before says what is left."""
    await limit(whole, http, minute=2)
    left = [(await developer.asks()).headers["ratelimit-remaining"] for _ in range(2)]
    assert left == ["1", "0"]
    answer = await developer.asks()
    assert answer.status_code == 429
    assert answer.json()["type"] == "urn:duragen:problem:limit_reached"
    assert 1 <= int(answer.headers["retry-after"]) <= 61
    assert (answer.headers["ratelimit-limit"], answer.headers["ratelimit-remaining"]) == ("2", "0")


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"prompt": ""}, "prompt"),
        ({"prompt": 7}, "prompt"),
        ({"modelId": "x"}, "modelId"),
        ({"resolution": "huge"}, "resolution"),
        ({"seed": "7"}, "seed"),
        ({"sede": 7}, "sede"),
        ({"callbackUrl": "https://evil.example"}, "callbackUrl"),
    ],
)
async def test_what_is_wrong_is_named(
    developer: Developer, changes: dict[str, Any], field: str
) -> None:
    """422 with the field; one that is not there is not ignored, for it may be a typing error."""
    answer = await developer.asks(changes)
    assert answer.status_code == 422
    assert [fault["field"] for fault in answer.json()["errors"]] == [field]
    assert await developer.balance() == CREDITS


@pytest.mark.parametrize(
    ("header", "value"),
    [
        ("Cancel-After", "now"),
        ("Cancel-After", "4s"),
        ("Cancel-After", "25h"),
        ("Cancel-After", ""),
        ("Idempotency-Key", "a b"),
        ("Idempotency-Key", ""),
        ("Idempotency-Key", "x" * 201),
    ],
)
async def test_headers_that_are_wrong(developer: Developer, header: str, value: str) -> None:
    """422, named: a deadline or a key that was misread would cost money."""
    answer = await developer.call("POST", "", json=PARAMETERS, headers={header: value})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == header


async def test_odoo_is_away(
    developer: Developer, whole: LocalStack, http: httpx.AsyncClient
) -> None:
    """503, and nothing is lost: the same request is taken when it is back."""
    for faults in ({"status": 502}, {"html": True}):
        await break_odoo(whole, http, times=None, **faults)
        answer = await developer.asks(idempotency_key="k")
        assert answer.status_code == 503
        assert answer.headers["retry-after"]
    await break_odoo(whole, http)
    assert (await developer.asks(idempotency_key="k")).status_code == 202
    assert len(await developer.job_ids()) == 1


async def test_anothers_job_is_not_there(
    developer: Developer, whole: LocalStack, http: httpx.AsyncClient
) -> None:
    """404, as for one that never was."""
    job_id = (await developer.asks()).json()["jobId"]
    other = await Developer.new(whole, http)
    for wrong in (job_id, str(uuid4())):
        assert (await other.call("GET", f"/{wrong}/status")).status_code == 404
        assert (await other.call("DELETE", f"/{wrong}")).status_code == 404
    assert (await other.call("GET", "", params={"cursor": job_id})).status_code in {404, 422}


# Cancel, list, estimate -------------------------------------------------------------------------


async def test_what_was_not_begun_is_free(developer: Developer, whole: LocalStack) -> None:
    """Canceled by its user, or by its deadline, before a worker had it."""
    worker = whole.supervisor("worker")
    await asyncio.to_thread(worker.stop)
    try:
        late = (await developer.asks(cancel_after="5s")).json()
        assert late["cancelAt"] > late["createdAt"]
        job_id = (await developer.asks()).json()["jobId"]
        answer = await developer.call("DELETE", f"/{job_id}")
        assert (answer.status_code, answer.json()["cancelRequested"]) == (202, True)
        assert await developer.balance() == CREDITS - 2
        due = datetime.fromisoformat(late["cancelAt"]) + timedelta(seconds=1)
        while datetime.now(UTC) < due:
            await asyncio.sleep(0.1)
    finally:
        worker.start()
        await asyncio.to_thread(worker.wait)
    for each in (job_id, late["jobId"]):
        job = await developer.becomes(each, "canceled", "completed", "failed")
        assert (job["status"], job["charged"]) == ("canceled", False)
        assert job["endedAt"]
    assert await developer.balance() == CREDITS
    assert (await developer.call("DELETE", f"/{job_id}")).status_code == 200


async def test_the_list(developer: Developer) -> None:
    """Page by page, the newest first; each filter narrows it down."""
    made = [(await developer.asks()).json() for _ in range(3)]
    newest_first = [job["jobId"] for job in reversed(made)]
    pages, cursor = [], None
    while True:
        params = {"limit": 2, **({"cursor": cursor} if cursor else {})}
        page = (await developer.call("GET", "", params=params)).json()
        pages.append([job["jobId"] for job in page["jobs"]])
        cursor = page["next"]
        if not cursor:
            break
    assert pages == [newest_first[:2], newest_first[2:]]
    for job_id in newest_first:
        await developer.becomes(job_id, "completed")
    for params, count in (
        ({"state": "completed"}, 3),
        ({"state": "failed"}, 0),
        ({"model": PARAMETERS["modelId"]}, 3),
        ({"model": str(uuid4())}, 0),
        ({"since": made[0]["createdAt"]}, 3),
        ({"since": "2999-01-01T00:00:00+02:00"}, 0),
    ):
        found = (await developer.call("GET", "", params=params)).json()
        assert len(found["jobs"]) == count, params
    for wrong in ({"limit": 0}, {"limit": 101}, {"state": "x"}, {"since": "x"}, {"cursor": "x"}):
        assert (await developer.call("GET", "", params=wrong)).status_code == 422


async def test_the_estimate(developer: Developer) -> None:
    """Price and balance, with nothing made."""
    answer = await developer.call("POST", "/estimate", json=PARAMETERS)
    assert answer.status_code == 200
    found = answer.json()
    assert (found["price"], found["balance"], found["balanceAfter"]) == (1, CREDITS, CREDITS - 1)
    assert {each["name"] for each in found["limits"]} == {"minute", "day"}
    assert await developer.job_ids() == []
    assert (await developer.call("POST", "/estimate", json={})).status_code == 422


async def test_the_callers_own_correlation_id(developer: Developer) -> None:
    """A UUID is taken, from the request to the image; anything else is passed over."""
    mine = str(uuid4())
    answer = await developer.asks(x_correlation_id=mine)
    assert answer.headers["x-correlation-id"] == mine
    assert (await developer.status(answer.json()["jobId"]))["correlationId"] == mine
    other = await developer.asks(x_correlation_id="mine")
    assert UUID(other.headers["x-correlation-id"])
