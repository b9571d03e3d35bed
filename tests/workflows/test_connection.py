"""The connection test of an Odoo: on Temporal, with a worker, to the sandbox's callback."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from google.protobuf.duration_pb2 import Duration
from temporalio.api.workflowservice.v1 import RegisterNamespaceRequest
from temporalio.client import Client
from temporalio.worker import Worker

from contracts.names import GENERATION_QUEUE, SEARCH_ATTRIBUTES, odoo_queue
from deploy.local.sandbox.images.protocols import FLUX_MODEL_ID, OPENAI_MODEL_ID
from deploy.local.stack.config import CALLBACK_PATH
from deploy.local.stack.local_stack import LocalStack
from starter import client as client_module
from starter.client import AsyncDuragenClient, ConflictError, ValidationError
from starter.gateway.app import create_app
from starter.gateway.settings import GatewaySettings
from tests.lab import Lab, working
from tests.starter.entry_points import KEY, fresh_namespace, gateway_key, gateway_settings
from workers.doctor.temporal import queues, served
from workers.settings import Settings
from workflows.generation import Generation

FINE = {"missingAttributes": [], "createAttributes": "", "unservedQueues": []}


@pytest.fixture
async def theirs(stack: LocalStack) -> Client:
    """A namespace that no worker has polled yet."""
    return await fresh_namespace(stack.temporal_address)


@pytest.fixture
async def asks(stack: LocalStack, theirs: Client) -> AsyncDuragenClient:
    """Duragen's client there, as Odoo has it."""
    return AsyncDuragenClient(stack.temporal_address, theirs.namespace, retry_seconds=())


@asynccontextmanager
async def polling(client: Client, settings: Settings) -> AsyncIterator[None]:
    """A worker, from when Temporal knows that it polls."""
    async with working(client, settings), asyncio.timeout(60):
        for queue, served_as in queues(settings):
            while (await served(client, queue, served_as)).fix:
                await asyncio.sleep(0.02)
        yield


def a_test(stack: LocalStack, *models: UUID, **changes: Any) -> dict[str, Any]:
    """A test such as Odoo makes it."""
    ids = {"testId": str(uuid4()), "correlationId": str(uuid4())}
    chosen = [str(each) for each in models or (OPENAI_MODEL_ID, FLUX_MODEL_ID)]
    return {**ids, "modelIds": chosen, "callbackUrl": stack.odoo_url + CALLBACK_PATH, **changes}


async def test_all_is_well(
    lab: Lab, theirs: Client, asks: AsyncDuragenClient, settings: Settings
) -> None:
    """Workers poll all queues, know the models, and Odoo has taken the test event."""
    test = a_test(lab.stack)
    async with polling(theirs, settings):
        found = await asks.test_connection(test)
        with pytest.raises(ConflictError):  # each test has an id of its own
            await asks.test_connection(test)
    assert found | FINE == found
    assert (found["answered"], found["unknownModels"]) == (True, [])
    assert found["callback"]["ok"] is True
    assert "200" in found["callback"]["detail"]
    assert test["testId"] in found["callback"]["detail"]
    assert (await lab.http.get(f"{lab.stack.odoo_url}/_sandbox/requests/{test['testId']}")).is_error


async def test_no_worker(stack: LocalStack, asks: AsyncDuragenClient) -> None:
    """Nothing is started, and the queue that nobody polls has its name."""
    found = await asks.test_connection(a_test(stack))
    assert found["unservedQueues"] == [GENERATION_QUEUE]
    assert (found["answered"], found["callback"]["ok"]) == (False, None)


async def test_somebody_elses_temporal(stack: LocalStack) -> None:
    """It lacks our search attributes; the command that adds them is there to be copied."""
    name = f"test-{uuid4()}"
    client = await Client.connect(stack.temporal_address, namespace=name)
    retention = Duration(seconds=86_400)
    await client.workflow_service.register_namespace(
        RegisterNamespaceRequest(namespace=name, workflow_execution_retention_period=retention)
    )
    asks = AsyncDuragenClient(stack.temporal_address, name, retry_seconds=())
    found = await asks.test_connection(a_test(stack))
    assert found["missingAttributes"] == list(SEARCH_ATTRIBUTES)
    assert f"create --namespace {name} --name RequestId --type Keyword" in found["createAttributes"]
    assert not found["answered"]


async def test_an_unknown_model(
    lab: Lab, theirs: Client, asks: AsyncDuragenClient, settings: Settings
) -> None:
    """It is named, and the rest is tried all the same."""
    unknown = uuid4()
    async with polling(theirs, settings):
        found = await asks.test_connection(a_test(lab.stack, OPENAI_MODEL_ID, unknown))
    assert (found["unknownModels"], found["callback"]["ok"]) == ([str(unknown)], True)


async def test_a_wrong_secret(
    lab: Lab, theirs: Client, asks: AsyncDuragenClient, settings: Settings
) -> None:
    """Odoo's own words come back: it does not believe the worker."""
    [odoo] = settings.odoo
    other = type(odoo).model_validate(
        {"origin": odoo.origin, "signing_secret": "whsec_" + "b3RoZXJz" * 4}
    )
    async with polling(theirs, settings.model_copy(update={"odoo": (other,)})):
        found = await asks.test_connection(a_test(lab.stack))
    assert found["callback"]["ok"] is False
    assert "401" in found["callback"]["detail"]


async def test_odoo_does_not_answer(
    lab: Lab, theirs: Client, asks: AsyncDuragenClient, settings: Settings
) -> None:
    """An Odoo with one thread waits for itself: the wait ends, and the models are known anyway."""
    await lab.break_odoo(times=1, hang=True)
    async with polling(theirs, settings):
        found = await asks.test_connection(a_test(lab.stack))
    assert (found["answered"], found["callback"]["ok"]) == (True, False)
    assert "no answer within 5 s" in found["callback"]["detail"]


async def test_another_address_is_not_called(
    lab: Lab, theirs: Client, asks: AsyncDuragenClient, settings: Settings
) -> None:
    """The guard of outcomes holds for tests, too; without an address none is looked at."""
    elsewhere = {"callbackUrl": "http://169.254.169.254/latest"}
    async with polling(theirs, settings):
        found = await asks.test_connection(a_test(lab.stack, **elsewhere))
        without = await asks.test_connection(a_test(lab.stack, callbackUrl=None))
    assert found["callback"]["ok"] is False
    assert "allow list" in found["callback"]["detail"]
    assert without["callback"] == {"ok": None, "detail": ""}


async def test_a_queue_without_a_worker(
    lab: Lab, theirs: Client, asks: AsyncDuragenClient, settings: Settings
) -> None:
    """The queues that the models need are looked at, each by its name."""
    async with polling(theirs, settings.with_queues((GENERATION_QUEUE, "provider.openai"))):
        found = await asks.test_connection(a_test(lab.stack))
    assert found["unservedQueues"] == ["provider.flux", "provider.flux.jobs"]


async def test_a_worker_of_an_older_version(
    stack: LocalStack,
    theirs: Client,
    asks: AsyncDuragenClient,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It polls, and does not know the test: the wait ends without an answer."""
    monkeypatch.setattr(client_module, "CONNECTION_SECONDS", 2.0)
    async with (
        asyncio.timeout(60),
        Worker(theirs, task_queue=GENERATION_QUEUE, workflows=[Generation]),
    ):
        while (await served(theirs, GENERATION_QUEUE, GENERATION_QUEUE)).fix:
            await asyncio.sleep(0.02)
        found = await asks.test_connection(a_test(stack))
    assert found | FINE == found
    assert (found["answered"], found["callback"]["ok"]) == (False, None)


@pytest.mark.parametrize(
    "changes",
    [
        {"testId": "7"},
        {"correlationId": None},
        {"modelIds": "x"},
        {"modelIds": [str(uuid4())] * 501},
        {"modelIds": [7]},
        {"callbackUrl": 7},
    ],
)
async def test_what_is_no_test_is_refused(
    stack: LocalStack, asks: AsyncDuragenClient, changes: dict[str, Any]
) -> None:
    """Before anything is asked of Temporal; the field has its name."""
    with pytest.raises(ValidationError) as caught:
        await asks.test_connection(a_test(stack, **changes))
    assert [each["field"] for each in caught.value.errors] == list(changes)


def _gateway(settings: GatewaySettings, asks: AsyncDuragenClient) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        transport=httpx.ASGITransport(create_app(settings, asks)),
        base_url="http://gateway",
        headers={"Authorization": f"Bearer {KEY}"},
    )


async def test_through_the_gateway(
    lab: Lab, theirs: Client, asks: AsyncDuragenClient, settings: Settings
) -> None:
    """The same over HTTP; what a key may not name is not called, and an owner reads no queues."""
    own = lab.stack.odoo_url + CALLBACK_PATH
    bound = gateway_key("odoo", KEY, owner="acme", callbacks=(own,))
    [known] = gateway_settings().odoo
    ours = gateway_settings(keys=(bound,)).model_copy(
        update={"odoo": (known.model_copy(update={"origin": lab.stack.odoo_url}),)}
    )
    other = {"callbackUrl": f"{known.origin}{CALLBACK_PATH}"}
    some = settings.with_queues((GENERATION_QUEUE, "provider.openai"))
    async with polling(theirs, some), _gateway(ours, asks) as http:
        answer = await http.post("/v1/connection-test", json=a_test(lab.stack))
        refused = await http.post("/v1/connection-test", json=a_test(lab.stack, **other))
        wrong = await http.post("/v1/connection-test", json=a_test(lab.stack, modelIds=["x"]))
    found = answer.json()
    assert answer.status_code == 200, found
    assert found["workflowId"].endswith(".acme")
    assert (found["answered"], found["callback"]["ok"]) == (True, True)
    assert found["unservedQueues"] == ["a queue of the operators"]
    assert refused.json()["callback"]["ok"] is False
    assert "gateway's settings" in refused.json()["callback"]["detail"]
    assert wrong.status_code == 422
    assert odoo_queue(lab.stack.odoo_url) not in answer.text
