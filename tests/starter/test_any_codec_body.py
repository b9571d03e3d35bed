"""Whatever a caller with a key sends to the codec server, it ends with payloads or a refusal."""

import asyncio
import base64
import hashlib
import json
from typing import Any

import httpx
from hypothesis import example, given, settings
from hypothesis import strategies as st
from temporalio.api.common.v1 import Payload

from peers.encryption import PayloadEncryption, keyring, new_key
from starter.codec.app import create_app
from starter.codec.settings import CodecProcess
from tests.bounded import within_bounds

KEYS = keyring(f"a:{new_key()}")
assert KEYS
CODEC = PayloadEncryption(KEYS)
CALLER = {"name": "ops", "sha256": hashlib.sha256(b"sesame").hexdigest()}
APP = create_app(CodecProcess.model_validate({"keys": [CALLER], "encode": True}), CODEC)


def coded(data: bytes) -> str:
    """As protobuf's JSON has bytes."""
    return base64.b64encode(data).decode()


SEALED = CODEC.encrypted(Payload(metadata={"encoding": b"json/plain"}, data=b'"a fox"'))
AS_JSON = {
    "metadata": {name: coded(value) for name, value in SEALED.metadata.items()},
    "data": coded(SEALED.data),
}
NAMES = st.sampled_from(
    ["payloads", "metadata", "data", "encoding", "encryption-key-id", "encryption-cipher", "@type"]
)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.binary(max_size=40).map(coded)
    | st.sampled_from([*AS_JSON["metadata"].values(), AS_JSON["data"], "\ud800", "a=b", "NaN"])
)
VALUES = st.recursive(
    SCALARS | st.just(AS_JSON),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=10,
)
CHANGED = st.dictionaries(NAMES, VALUES, max_size=2).map(lambda changes: AS_JSON | changes)
BODIES = (
    st.lists(CHANGED, max_size=3).map(lambda each: json.dumps({"payloads": each}).encode())
    | VALUES.map(lambda value: json.dumps(value).encode())
    | st.binary(max_size=80)
)


async def post(path: str, body: bytes) -> httpx.Response:
    """As Temporal's programs do."""
    headers = {"Authorization": "Bearer sesame", "Content-Type": "application/json"}
    transport: Any = httpx.ASGITransport(APP)
    async with httpx.AsyncClient(transport=transport, base_url="http://codec") as client:
        return await client.post(path, content=body, headers=headers)


@settings(derandomize=True, max_examples=80, deadline=None)
@given(st.sampled_from(["/decode", "/encode"]), BODIES)
@example("/decode", json.dumps({"payloads": [AS_JSON]}).encode())
@example("/decode", b'{"payloads":' + b"[" * 100_000)
@example("/decode", b'{"payloads":[' + b"{}," * 60_000 + b"{}]}")
@example("/encode", b'{"payloads":[{"data":"' + b"AAAA" * 100_000 + b'"}]}')
@within_bounds
def test_any_body(path: str, body: bytes) -> None:
    """Payloads, or a status of the caller's; an error would come out of the application."""
    answer = asyncio.run(post(path, body))
    assert answer.status_code in {200, 400, 413}
    if answer.status_code == 200:
        assert set(answer.json()) <= {"payloads"}
