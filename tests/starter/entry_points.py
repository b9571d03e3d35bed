"""What the tests of the entry points share: a Temporal server, a worker, a gateway, events."""

import asyncio
import hashlib
import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

import httpx
import uvicorn
from google.protobuf.duration_pb2 import Duration
from temporalio import activity
from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.operatorservice.v1 import AddSearchAttributesRequest
from temporalio.api.workflowservice.v1 import RegisterNamespaceRequest
from temporalio.client import Client
from temporalio.common import SearchAttributeKey
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.exceptions import ApplicationError
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker

from contracts import names
from contracts.callbacks import CALLBACK_PATHS
from contracts.errors import DeliveryError, ErrorCode
from contracts.generation import Failure, Plan, Route, StoredImage
from contracts.tasks import Delivered, DeliverTask, PlanTask, SubmitTask, Submitted
from starter.gateway.app import create_app, impatient_client
from starter.gateway.settings import AllowedOdoo, GatewayKey, GatewayProcess, GatewaySettings
from tests.ports import free_port
from workflows.generation import Generation

TEMPORAL = str(Path(sys.executable).with_name("temporal"))
ODOO = "http://odoo.example.com"
CALLBACK_URL = f"{ODOO}{CALLBACK_PATHS[0]}"
REFUSING_ONCE = f"{CALLBACK_URL}/refuses-once"
"""A `callbackUrl` whose first delivery is parked."""
KEY = "a-random-key"
EventFactory = Callable[..., dict[str, Any]]


def make_event(**changes: Any) -> dict[str, Any]:
    """A fresh valid EVT-AIG-001."""
    event = {name: str(uuid4()) for name in ("requestId", "correlationId", "userId", "modelId")}
    rest = {"prompt": "a lighthouse", "resolution": "1024x1024", "aspectRatio": "1:1"}
    return {**event, **rest, "callbackUrl": CALLBACK_URL, **changes}


@asynccontextmanager
async def temporal_server(
    port: int | None = None, *more: str
) -> AsyncIterator[WorkflowEnvironment]:
    """A whole Temporal server in memory, with our search attributes; `more` are its options."""
    async with await WorkflowEnvironment.start_local(
        port=port,
        dev_server_existing_path=TEMPORAL,
        dev_server_extra_args=[
            "--dynamic-config-value",
            "history.transferProcessorMaxPollRPS=2000",
            *more,
        ],
        search_attributes=[SearchAttributeKey.for_keyword(n) for n in names.SEARCH_ATTRIBUTES],
        data_converter=pydantic_data_converter,
    ) as environment:
        yield environment


async def fresh_namespace(address: str) -> Client:
    """A client of a new namespace on this server, with our search attributes."""
    name = f"test-{uuid4()}"
    keyword = IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD
    client = await Client.connect(address, namespace=name, data_converter=pydantic_data_converter)
    await client.workflow_service.register_namespace(
        RegisterNamespaceRequest(
            namespace=name, workflow_execution_retention_period=Duration(seconds=86_400)
        )
    )
    await client.operator_service.add_search_attributes(
        AddSearchAttributesRequest(
            namespace=name, search_attributes=dict.fromkeys(names.SEARCH_ATTRIBUTES, keyword)
        )
    )
    return client


@asynccontextmanager
async def working(temporal: Client) -> AsyncIterator[None]:
    """The real workflow on activities that make no call; the prompt says how it goes."""

    @activity.defn(name=names.PLAN_ACTIVITY)
    async def plan(_: PlanTask) -> Plan:
        return Plan(routes=(Route(provider="sandbox", model="m"),), odoo=ODOO)

    @activity.defn(name=names.SUBMIT_ACTIVITY)
    async def submit(task: SubmitTask) -> Submitted:
        if task.request.prompt in set(ErrorCode):
            code = ErrorCode(task.request.prompt)
            failure = Failure(code=code, detail="the service said no")
            raise activity_error(failure)
        key = names.image_key(task.request.request_id, "png")
        image = StoredImage(
            key=key, format="png", size=9, width=1024, height=1024, sha256="ab" * 32
        )
        return Submitted(image=image)

    refused = set()

    @activity.defn(name=names.DELIVER_ACTIVITY)
    async def deliver(task: DeliverTask) -> Delivered:
        if task.callback_url == REFUSING_ONCE and task.request_id not in refused:
            refused.add(task.request_id)
            code = DeliveryError.ODOO_REFUSED
            raise ApplicationError("not now", type=code, non_retryable=True)
        return Delivered(answer="204")

    queue, provider = names.GENERATION_QUEUE, names.provider_queue("sandbox")
    async with (
        Worker(temporal, task_queue=queue, workflows=[Generation], activities=[plan]),
        Worker(temporal, task_queue=names.odoo_queue(ODOO), activities=[deliver]),
        Worker(temporal, task_queue=provider, activities=[submit]),
    ):
        yield


def activity_error(failure: Failure) -> Exception:
    """A final failure, as the activities raise it."""
    return ApplicationError(failure.detail, failure, type=failure.code, non_retryable=True)


def gateway_key(name: str, key: str, **more: Any) -> GatewayKey:
    """A key of the settings."""
    return GatewayKey(name=name, sha256=hashlib.sha256(key.encode()).hexdigest(), **more)


def gateway_settings(**changes: Any) -> GatewaySettings:
    """One key, one Odoo; what the key starts is seen by those with access to Temporal."""
    keys = changes.pop("keys", (gateway_key("odoo", KEY, owner=""),))
    storage = changes.pop("storage", None)
    process = GatewayProcess(keys=keys, **changes)
    return GatewaySettings.model_construct(
        gateway=process, odoo=(AllowedOdoo(origin=ODOO),), storage=storage
    )


@asynccontextmanager
async def serving(address: str, **changes: Any) -> AsyncIterator[str]:
    """The gateway on a free port; its URL."""
    port = free_port()
    app = create_app(gateway_settings(**changes), impatient_client(address))
    uvicorn_server = uvicorn.Server(uvicorn.Config(app, port=port, log_config=None))
    task = asyncio.create_task(uvicorn_server._serve())  # without its signals
    url = f"http://127.0.0.1:{port}"
    async with httpx.AsyncClient() as probe:
        while True:
            try:
                await probe.get(f"{url}/health")
                break
            except httpx.ConnectError:
                await asyncio.sleep(0.01)
    try:
        yield url
    finally:
        uvicorn_server.should_exit = True
        await task


class Done(NamedTuple):
    """How a run ended."""

    code: int | None
    out: str
    err: str


async def duragen(*arguments: str, stdin: str = "", **environment: str) -> Done:
    """Run the command; a traceback is never an answer."""
    command = (sys.executable, "-m", "starter.cli", *arguments)
    process = await asyncio.create_subprocess_exec(
        *command,
        env={"PATH": os.environ["PATH"], "COLUMNS": "120", **environment},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate(stdin.encode())
    assert b"Traceback" not in err, err
    return Done(process.returncode, out.decode(), err.decode())
