"""`/health/ready` needs no key, so that it may cost Temporal next to nothing."""

import asyncio
import re
import time
from collections.abc import AsyncIterator

import httpx
import pytest
from fastapi import FastAPI
from google.protobuf.duration_pb2 import Duration
from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest, RegisterNamespaceRequest
from temporalio.client import Client

from starter.client import UnavailableError
from starter.gateway.app import create_app, create_health_app, impatient_client
from starter.gateway.readiness import FRESH_SECONDS, Readiness
from tests.ports import free_port
from tests.starter.attacked import get
from tests.starter.entry_points import (
    gateway_settings,
    serving,
    temporal_server,
)

METRICS = free_port()
WATCHED = "watched"


@pytest.fixture(scope="module")
async def watched() -> AsyncIterator[Client]:
    """A Temporal server that counts what it is asked; the gateway has a namespace for itself."""
    async with temporal_server(None, "--metrics-port", str(METRICS)) as environment:
        await environment.client.workflow_service.register_namespace(
            RegisterNamespaceRequest(
                namespace=WATCHED, workflow_execution_retention_period=Duration(seconds=86_400)
            )
        )
        yield environment.client


async def described(namespace: str) -> int:
    """How often the server was asked about the namespace."""
    async with httpx.AsyncClient() as http:
        metrics = (await http.get(f"http://127.0.0.1:{METRICS}/metrics")).text
    labels = (f'namespace="{namespace}"', 'operation="DescribeNamespace"')
    found = re.findall(r"^service_requests\{(.*)\} (\d+)$", metrics, re.MULTILINE)
    return sum(int(number) for named, number in found if all(each in named for each in labels))


async def status_line(url: str) -> bytes:
    """How `/health/ready` is answered on a connection of its own."""
    port = url.rpartition(":")[2]
    reader, writer = await asyncio.open_connection("127.0.0.1", int(port))
    writer.write(get("/health/ready", "Connection: close"))
    line = await reader.readline()
    writer.close()
    return line


async def test_hundreds_who_ask_make_few_calls(
    watched: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They share one answer, and it is asked for again when a second has passed."""
    monkeypatch.setenv("TEMPORAL_NAMESPACE", WATCHED)
    address = watched.service_client.config.target_host
    async with serving(address) as url:
        began = time.monotonic()
        answers = await asyncio.gather(*(status_line(url) for _ in range(200)))
        most = 1 + int((time.monotonic() - began) / FRESH_SECONDS)
    assert set(answers) == {b"HTTP/1.1 200 OK\r\n"}
    # Published now and then: what is asked last shows that the rest is there.
    await watched.workflow_service.describe_namespace(DescribeNamespaceRequest(namespace=WATCHED))
    others = 2  # this one, and what the SDK asks once for a connection
    while (asked := await described(WATCHED)) <= others:
        await asyncio.sleep(0.05)
    assert asked <= others + most


async def test_they_share_a_failure() -> None:
    """Fifty who ask while Temporal does not answer wait for one call."""
    asked = []

    async def ping() -> None:
        asked.append(None)
        await asyncio.sleep(0)
        raise UnavailableError("Temporal does not answer")

    readiness = Readiness(ping)
    found = await asyncio.gather(*(readiness.check() for _ in range(50)), return_exceptions=True)
    assert {type(each) for each in found} == {UnavailableError}
    assert len(asked) == 1


@pytest.mark.parametrize(
    ("health_port", "status"), [(None, 503), (0, 404)], ids=["one port", "two ports"]
)
async def test_it_is_not_public_with_a_port_for_health(
    health_port: int | None, status: int
) -> None:
    """Then `/health` alone stays where callers are; the platform has both on its own port."""
    settings = gateway_settings(health_port=health_port)
    app = create_app(settings, impatient_client(f"127.0.0.1:{free_port()}"))
    assert await health_of(app) == [200, status]
    assert await health_of(create_health_app(app)) == [200, 503]


async def health_of(app: FastAPI) -> list[int]:
    """How it answers `/health` and `/health/ready`."""
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as http:
        return [(await http.get(path)).status_code for path in ("/health", "/health/ready")]
