"""The developer API of a whole stack, as API users have it: through nginx."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from uuid import uuid4

import httpx
import pytest

from deploy.local.nginx import Nginx
from deploy.local.sandbox.serving import HOST
from deploy.local.stack.local_stack import LocalStack
from tests.developers.world import PARAMETERS
from tests.ports import free_port
from tests.system.front import NO_LIMITS, PATIENCE_SECONDS, assert_problem, client_of

PARTS = ("temporal", "store", "images", "odoo", "worker", "gateway")


@pytest.fixture(scope="module")
def nginx_port() -> int:
    """Known before the gateway starts: its links lead there."""
    return free_port()


@pytest.fixture(scope="module")
def whole(nginx_port: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    """A stack whose public address is nginx."""
    more = {"gateway": {"public_url": f"https://{HOST}:{nginx_port}"}}
    with LocalStack(tmp_path_factory.mktemp("stack"), PARTS, overrides=more) as stack:
        yield stack


@pytest.fixture(scope="module")
def nginx(
    whole: LocalStack, nginx_port: int, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Nginx]:
    """Before the stack's gateway and Odoo."""
    behind = {"gateway": f"{HOST}:{whole.ports.gateway}", "odoo": f"{HOST}:{whole.ports.odoo}"}
    folder = tmp_path_factory.mktemp("nginx")
    with Nginx(folder, port=nginx_port, changes=NO_LIMITS, **behind) as running:
        yield running


@pytest.fixture
async def api(whole: LocalStack, nginx: Nginx) -> AsyncIterator[httpx.AsyncClient]:
    """An API user."""
    bearer = {"Authorization": f"Bearer {whole.secrets.developer_key}"}
    async with client_of(nginx, headers=bearer) as client:
        yield client


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    """For what the stack's sandboxes know."""
    async with httpx.AsyncClient(timeout=PATIENCE_SECONDS, trust_env=False) as client:
        yield client


async def test_a_whole_job(
    api: httpx.AsyncClient, http: httpx.AsyncClient, whole: LocalStack, nginx: Nginx
) -> None:
    """202; its links lead through nginx; and one correlation id from the answer to Odoo."""
    accepted = await api.post("/v1/generate", json=PARAMETERS)
    assert accepted.status_code == 202
    link = accepted.json()["statusUrl"]
    assert link == accepted.headers["location"]
    assert link.startswith(f"{nginx.url}/v1/generate/")
    async with asyncio.timeout(PATIENCE_SECONDS):
        while (job := (await api.get(link)).json())["status"] != "completed":
            assert job["status"] in {"pending", "processing"}, job
            await asyncio.sleep(0.05)
    assert (await http.get(job["imageUrl"])).content.startswith(b"\x89PNG")
    url = f"{whole.odoo_url}/_sandbox/requests/{job['jobId']}"
    record = (await http.get(url)).json()
    assert record["correlation_id"] == accepted.headers["x-correlation-id"]
    calls = f"{whole.images_url}/_sandbox/calls"
    made = (await http.get(calls, params={"correlation_id": record["correlation_id"]})).json()
    assert made["paid"] == 1


async def test_waiting_for_the_image(api: httpx.AsyncClient) -> None:
    """`Prefer: wait=60` holds, and answers with the job that has ended."""
    answer = await api.post("/v1/generate", json=PARAMETERS, headers={"Prefer": "wait=60"})
    assert (answer.status_code, answer.headers["preference-applied"]) == (200, "wait=60")
    assert answer.json()["status"] == "completed"
    assert answer.json()["imageUrl"]


async def test_webhooks(api: httpx.AsyncClient) -> None:
    """They have the same way."""
    answer = await api.get("/v1/webhooks")
    assert (answer.status_code, answer.json()) == (200, {"webhooks": []})


async def test_the_private_api_is_not_reached(
    nginx: Nginx, whole: LocalStack, http: httpx.AsyncClient
) -> None:
    """Not with its own key either: what the gateway itself answers, nginx does not pass on."""
    own = {"Authorization": f"Bearer {whole.secrets.api_key}"}
    inside = await http.get(f"{whole.gateway_url}/v1/generations/{uuid4()}", headers=own)
    assert inside.json()["type"] == "urn:duragen:problem:not_found"
    async with client_of(nginx, headers=own) as client:
        for path in (f"/v1/generations/{uuid4()}", "/v1/webhook-deliveries", "/health"):
            assert_problem(await client.get(path), 404, "no_such_path")
        for path in ("/v1/generations", "/webhook/generate"):
            assert_problem(await client.post(path, json={}), 404, "no_such_path")


async def test_the_web_app_has_its_way_to_odoo(nginx: Nginx) -> None:
    """The sandbox answers it in its own words, for it has no such page; a real Odoo has."""
    async with client_of(nginx) as browser:
        answer = await browser.post("/api/v1/generations", json=PARAMETERS)
    assert (answer.status_code, answer.text) == (404, "Not Found")


async def test_the_gateway_starts_anew(api: httpx.AsyncClient, whole: LocalStack) -> None:
    """503 meanwhile; then the same request is taken, and is one job."""
    key = {"Idempotency-Key": str(uuid4())}
    gateway = whole.supervisor("gateway")
    await asyncio.to_thread(gateway.stop)
    try:
        answer = await api.post("/v1/generate", json=PARAMETERS, headers=key)
        assert_problem(answer, 503, "unavailable")
    finally:
        gateway.start()
        await asyncio.to_thread(gateway.wait)
    first = await api.post("/v1/generate", json=PARAMETERS, headers=key)
    again = await api.post("/v1/generate", json=PARAMETERS, headers=key)
    assert (first.status_code, again.json()) == (202, first.json())
    assert again.headers["idempotent-replayed"] == "true"
