"""`duragen doctor` where the operator service is closed, as Temporal Cloud's is."""

import asyncio
from collections.abc import Mapping
from datetime import timedelta
from typing import TypeVar
from uuid import uuid4

import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.operatorservice.v1 import AddSearchAttributesRequest
from temporalio.api.workflowservice.v1 import RegisterNamespaceRequest
from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.service import RPCError, RPCStatusCode, ServiceClient

from contracts.names import ERROR_CODE, PROVIDER, SEARCH_ATTRIBUTES
from deploy.local.stack.local_stack import LocalStack
from workers.doctor import command, temporal
from workers.settings import Settings

T = TypeVar("T", bound=Message)
CLOSED = ["PERMISSION_DENIED", "UNIMPLEMENTED", "NOT_FOUND"]
COUNTED = [
    "parked deliveries",
    "images on workers' disks",
    "failed generations",
    "stuck workflows",
]


class Guarded(ServiceClient):
    """A real connection on which calls to `services` are refused before they reach the server."""

    def __init__(self, real: ServiceClient, status: RPCStatusCode, services: set[str]) -> None:
        super().__init__(real.config)
        self._real = real
        self._status = status
        self._services = services

    async def _rpc_call(
        self,
        rpc: str,
        req: Message,
        resp_type: type[T],
        *,
        service: str,
        retry: bool,
        metadata: Mapping[str, str | bytes],
        timeout: timedelta | None,  # noqa: ASYNC109  # the base class's
    ) -> T:
        if service in self._services:
            raise RPCError("Request unauthorized.", self._status, b"")
        return await self._real._rpc_call(
            rpc,
            req,
            resp_type,
            service=service,
            retry=retry,
            metadata=metadata,
            timeout=timeout,
        )

    @property
    def worker_service_client(self):  # type: ignore[no-untyped-def]  # noqa: ANN201  # private type
        """The real one."""
        return self._real.worker_service_client

    def update_rpc_metadata(self, metadata: Mapping[str, str | bytes]) -> None:
        """Hand it on."""
        self._real.update_rpc_metadata(metadata)

    def update_api_key(self, api_key: str | None) -> None:
        """Hand it on."""
        self._real.update_api_key(api_key)


def guarded(client: Client, status: str, services: set[str] | None = None) -> Client:
    """The same client, with the operator service closed, or `services`."""
    refusing = Guarded(client.service_client, RPCStatusCode[status], services or {"operator"})
    return Client(refusing, namespace=client.namespace, data_converter=pydantic_data_converter)


@pytest.mark.parametrize("status", CLOSED)
async def test_a_closed_operator_service_hides_nothing(
    client: Client, settings: Settings, status: str
) -> None:
    """The attributes are found by queries that name them, and all that is counted is counted."""
    found = [each async for each in command._temporal(guarded(client, status), settings)]
    assert found[0].what == "Temporal"
    assert found[0].found.endswith("8 search attributes")
    assert not found[0].fix
    assert [each.what for each in found[-len(COUNTED) :]] == COUNTED
    assert not [each for each in found if "Temporal said" in each.found]


async def test_what_is_missing_is_found_by_queries(stack: LocalStack, settings: Settings) -> None:
    """One that is not there, one of another type: both are named, with a command for Cloud."""
    client = await _lacking(stack.temporal_address)
    closed = guarded(client, "PERMISSION_DENIED")
    lacks = f"lacks the search attributes {PROVIDER}, {ERROR_CODE}"
    async with asyncio.timeout(100):
        while not (finding := await temporal.search_attributes(closed)).found.endswith(lacks):
            pass  # the server learns of new ones a moment later
    wanted = (
        f"tcld namespace search-attributes add --namespace {client.namespace}"
        f" --search-attribute {PROVIDER}=Keyword --search-attribute {ERROR_CODE}=Keyword"
    )
    assert wanted in finding.fix
    listed = await temporal.search_attributes(client)
    assert listed.found == finding.found
    assert not [e async for e in command._temporal(closed, settings) if e.what in COUNTED]


async def _lacking(address: str) -> Client:
    """A client of a new namespace where `Provider` is missing and `ErrorCode` is a Text."""
    name = f"test-{uuid4()}"
    client = await Client.connect(address, namespace=name)
    retention = Duration(seconds=86_400)
    await client.workflow_service.register_namespace(
        RegisterNamespaceRequest(namespace=name, workflow_execution_retention_period=retention)
    )
    types = dict.fromkeys(SEARCH_ATTRIBUTES, IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD)
    types[ERROR_CODE] = IndexedValueType.INDEXED_VALUE_TYPE_TEXT
    del types[PROVIDER]
    await client.operator_service.add_search_attributes(
        AddSearchAttributesRequest(namespace=name, search_attributes=types)
    )
    return client


async def test_a_key_that_may_not_list_is_said(client: Client, settings: Settings) -> None:
    """Where queries are refused too, nothing can be counted: one line says so, not four."""
    refused = guarded(client, "PERMISSION_DENIED", {"operator", "workflow"})
    first, *rest = [each async for each in command._temporal(refused, settings)]
    said = ("Temporal", "Temporal said: Request unauthorized.", "check namespace and rights")
    assert first == said
    assert not [each for each in rest if each.what in COUNTED]


async def test_an_unknown_namespace_is_no_closed_operator_service(stack: LocalStack) -> None:
    """Its NOT_FOUND is the query's, too: no attribute is called missing."""
    client = await Client.connect(stack.temporal_address, namespace="nowhere")
    finding = await command._bounded("Temporal", temporal.search_attributes(client))
    assert finding.found == "Temporal said: Namespace nowhere is not found."
