"""The developer API over a real Odoo: key, quota, rate, price, charge, status, webhook."""

import asyncio
import hashlib
import json
import uuid
from datetime import UTC, datetime

import httpx
from standardwebhooks import Webhook

from deploy.local.real_odoo.beside import Beside
from tests.developers.contract import OPERATIONS, kept_for
from tests.developers.hooks import deliveries, hearing, until
from tests.developers.world import PARAMETERS
from tests.odoo.api_user import ApiUser
from tests.odoo.desk import CAPTURED

RELEASED = [["reserve", "-1"], ["release", "1"]]


async def test_from_a_key_to_a_verified_webhook(user: ApiUser, http: httpx.AsyncClient) -> None:
    """202 with the price, both events with a signature that holds, the image, one capture."""
    events = ["generation.started", "generation.completed"]
    async with hearing(user, events=events) as (receiver, webhook):
        answer = await user.asks()
        assert answer.status_code == 202, answer.text
        job_id = answer.json()["jobId"]
        assert answer.json()["price"] == 1
        heard = [await receiver.next() for _ in events]
        bodies = [Webhook(webhook["secret"]).verify(each.body, each.headers) for each in heard]
        data = {body["type"]: body["data"] for body in bodies}
        assert {each["jobId"] for each in data.values()} == {job_id}
        assert data["generation.completed"]["status"] == "completed"
        for event in events:
            await until(user, webhook, event=event, status="delivered")
    job = await user.status(job_id)
    assert (job["status"], job["charged"]) == ("completed", True)
    image = (await http.get(job["imageUrl"])).raise_for_status().content
    [[sha256]] = user.desk.sql(
        "SELECT sha256 FROM duragen_generated_image image"
        " JOIN duragen_generation_request asked ON asked.id = image.request_id"
        f" WHERE asked.request_uuid = '{job_id}'"
    )
    assert hashlib.sha256(image).hexdigest() == sha256
    assert (user.ledger(job_id), await user.balance()) == (CAPTURED, 4)


async def test_waiting_for_the_image(user: ApiUser) -> None:
    """200 with the job; a refused prompt is free."""
    answer = await user.asks(prefer="wait=60")
    assert (answer.status_code, answer.json()["status"]) == (200, "completed")
    refused = (await user.asks({"prompt": "something forbidden"}, prefer="wait=60")).json()
    assert (refused["status"], refused["charged"]) == ("failed", False)
    assert await user.balance() == 4


async def test_what_was_not_begun_is_free(user: ApiUser) -> None:
    """Its deadline passes while no worker is there: the credit is back, no service was called."""
    worker = user.desk.stack.supervisor("worker")
    await asyncio.to_thread(worker.stop)
    try:
        answer = await user.asks(cancel_after="5s")
        assert answer.json()["cancelAt"]
        await asyncio.sleep(6)  # the deadline itself
    finally:
        worker.start()
    job = await user.becomes(answer.json()["jobId"], "canceled")
    assert (job["charged"], user.ledger(job["jobId"])) == (False, RELEASED)
    assert user.desk.paid({"correlation_uuid": job["correlationId"]}) == 0
    assert await user.balance() == 5


async def test_credits_quota_and_rate(user: ApiUser) -> None:
    """402, and 429 that says when to come back; nothing is made."""
    desk = user.desk
    quota = desk.admin(
        "duragen.quota", "create", {"user_id": int(user.user_id), "period": "day", "limit": 1}
    )
    try:
        first = await user.asks()
        assert first.status_code == 202
        assert first.headers["RateLimit-Remaining"] == "0"
        over = await user.asks()
        assert over.status_code == 429
        assert over.headers["RateLimit-Limit"] == "1"
        assert 0 < int(over.headers["Retry-After"]) <= 86_400
    finally:
        desk.admin("duragen.quota", "unlink", [quota])
    with desk.set_up(api_rate_per_minute="1"):
        answers = [await user.asks() for _ in range(2)]  # a minute may have passed before
        over = answers[-1]
        assert (over.status_code, over.headers["RateLimit-Limit"]) == (429, "1")
        assert 0 < int(over.headers["Retry-After"]) <= 61  # rounded up
    made = 1 + [each.status_code for each in answers].count(202)
    wizard = {"user_id": int(user.user_id), "credits": made - 5}
    grant = desk.admin("duragen.grant.credits", "create", wizard)
    desk.admin("duragen.grant.credits", "action_grant", [grant])
    assert (await user.asks()).status_code == 402
    assert len(await user.job_ids()) == made


async def test_the_price_is_odoos(user: ApiUser) -> None:
    """The estimate says it, and so much is charged."""
    where = "WHERE model_uuid = '" + PARAMETERS["modelId"] + "'"
    [[model]] = user.desk.sql(f"SELECT id FROM duragen_ai_model {where}")
    user.desk.admin("duragen.ai.model", "write", [int(model)], {"price": 3})
    try:
        estimate = (await user.call("POST", "/estimate", json=PARAMETERS)).json()
        assert (estimate["price"], estimate["balanceAfter"]) == (3, 2)
        job = (await user.asks(prefer="wait=60")).json()
        assert (job["price"], job["status"]) == (3, "completed")
        assert await user.balance() == 2
    finally:
        user.desk.admin("duragen.ai.model", "write", [int(model)], {"price": 1})


async def test_copies_at_once_are_one_job(user: ApiUser) -> None:
    """Twenty with the same key: one is charged, and each answer is that job or 503."""
    key = str(uuid.uuid4())
    answers = await asyncio.gather(*(user.asks(idempotency_key=key) for _ in range(20)))
    taken = [answer for answer in answers if answer.status_code == 202]
    assert {answer.status_code for answer in answers} <= {202, 503}
    again = await user.asks(idempotency_key=key)
    assert (again.status_code, again.headers["Idempotent-Replayed"]) == (202, "true")
    ids = {answer.json()["jobId"] for answer in (*taken, again)}
    assert await user.job_ids() == [*ids]
    assert (await user.asks({"prompt": "another"}, idempotency_key=key)).status_code == 409
    await user.becomes(again.json()["jobId"], "completed")
    assert await user.balance() == 4


async def test_a_key_and_whose_it_is(
    user: ApiUser, threaded: Beside, http: httpx.AsyncClient
) -> None:
    """Another's job is not there; a revoked key is refused at once; so is what is none."""
    job_id = (await user.asks()).json()["jobId"]
    other = await ApiUser.of(threaded, http)
    for method, path in (("GET", f"/{job_id}/status"), ("DELETE", f"/{job_id}")):
        assert (await other.call(method, path)).status_code == 404
    user.desk.sql(f"DELETE FROM res_users_apikeys WHERE user_id = {user.user_id}")
    for key in (user.key, user.key[::-1], "f" * 40, "x"):
        user.key = key
        assert (await user.call("GET", f"/{job_id}/status")).status_code == 401


async def test_the_failure_path(user: ApiUser, threaded: Beside, http: httpx.AsyncClient) -> None:
    """`POST /ai/generation/failure` of the specification: applied once, and the credit is back."""
    url = f"{threaded.odoo.url}/ai/generation/failure"
    secrets = threaded.stack.secrets
    worker = user.desk.stack.supervisor("worker")
    await asyncio.to_thread(worker.stop)  # so that it stays under way
    try:
        job_id = (await user.asks()).json()["jobId"]
        said = {
            "generationRequestId": job_id,
            "errorType": "ServiceUnavailable",
            "errorDetails": "the service is away",
            "isSystemError": True,
        }
        assert (await http.post(url, json=said)).status_code == 401
        body, now = json.dumps(said), datetime.now(UTC)
        headers = {
            "Authorization": f"Bearer {secrets.odoo_token}",
            "webhook-id": "msg_1",
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": Webhook(secrets.odoo_signing_secret).sign("msg_1", now, body),
        }
        for effect in ("applied", "repeated"):
            answer = await http.post(url, content=body.encode(), headers=headers)
            assert (answer.status_code, answer.json()["status"]) == (200, effect)
        job = await user.status(job_id)
        assert (job["status"], job["charged"]) == ("failed", False)
        assert await user.balance() == 5
    finally:
        worker.start()


async def test_a_receiver_that_wants_no_more(user: ApiUser) -> None:
    """410: Odoo switches it off, and says why; deliveries are repeated once it is on again."""
    async with hearing(user) as (receiver, webhook):
        receiver.answers = [410]
        await user.asks()
        await receiver.next()
        await until(user, webhook, status="failed", lastStatus=410)
        path = f"/{webhook['id']}"
        shown = (await user.hooks("GET", path)).json()
        assert (shown["enabled"], shown["disabledWhy"]) == (False, "gone")
        await user.hooks("PATCH", path, json={"enabled": True})
        [lost] = await deliveries(user, webhook)
        answer = await user.hooks("POST", f"{path}/redeliver", json={"delivery": lost["id"]})
        assert answer.status_code == 202
        await receiver.next()
        await until(user, webhook, status="delivered")


async def test_the_document_is_kept(threaded: Beside, http: httpx.AsyncClient) -> None:
    """Whatever is sent with a good key: no 5xx, no answer that the gateway's document lacks."""
    user = await ApiUser.of(threaded, http, 900)
    with user.desk.set_up(api_rate_per_minute="100000"):
        answers = await kept_for(user, examples=2)
    assert len({label for label, _ in answers}) == OPERATIONS
