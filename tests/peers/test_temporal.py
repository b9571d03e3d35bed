"""The connection to Temporal: what goes over it."""

import asyncio

import pytest
from temporalio.client import Client
from temporalio.service import GrpcCompression

from deploy.local.stack.local_stack import LocalStack
from peers import temporal

_COMPRESSED = b"\x1f\x8b\x08"
"""How gzip begins (RFC 1952)."""


async def _sent_by(stack: LocalStack, monkeypatch: pytest.MonkeyPatch, **options: object) -> bytes:
    """All that a client sends to the server while it connects and counts workflows."""
    sent = bytearray()
    host, _, port = stack.temporal_address.rpartition(":")

    async def pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server, to_server = await asyncio.open_connection(host, int(port))

        async def back() -> None:
            while data := await server.read(65_536):
                writer.write(data)

        answering = asyncio.create_task(back())
        while data := await reader.read(65_536):
            sent.extend(data)
            to_server.write(data)
        answering.cancel()
        to_server.close()
        writer.close()

    listening = await asyncio.start_server(pipe, "127.0.0.1", 0)
    async with listening:
        address = f"127.0.0.1:{listening.sockets[0].getsockname()[1]}"
        monkeypatch.setenv("TEMPORAL_ADDRESS", address)
        client: Client = await temporal.connect(**options)
        await client.count_workflows("WorkflowType = 'none'")
        return bytes(sent)


async def test_loopback_is_not_compressed(
    stack: LocalStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Compressing costs both sides CPU, and there is no network that it would spare."""
    assert _COMPRESSED not in await _sent_by(stack, monkeypatch)
    compressed = await _sent_by(stack, monkeypatch, grpc_compression=GrpcCompression.GZIP)
    assert _COMPRESSED in compressed
