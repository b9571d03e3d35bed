"""Bodies made to break a parser: none is a 500, none is started."""

import asyncio
import json
from codecs import BOM_UTF8

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis.checks import load_all_checks
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.starter.entry_points import CALLBACK_URL, KEY, make_event

load_all_checks()
ALL = list(HealthCheck)
CHECKS = [
    schemathesis.checks.not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]


def with_raw(field: str, raw: str) -> bytes:
    """A valid event whose `field` is this very text."""
    event = make_event()
    event.pop(field, None)
    return (json.dumps(event)[:-1] + f', "{field}": {raw}}}').encode()


MALFORMED = {
    "empty": b"",
    "half": b'{"requestId": ',
    "text": b"prompt=x",
    "byte order mark alone": BOM_UTF8,
    "two byte order marks": BOM_UTF8 * 2 + json.dumps(make_event()).encode(),
    "byte order mark inside": b"{" + BOM_UTF8 + b"}",
    "utf-16": json.dumps(make_event()).encode("utf-16"),
    "invalid utf-8": with_raw("prompt", '"x"')[:-3] + b'\xff"}',
    "nan": with_raw("cfgScale", "NaN"),
    "infinity": with_raw("unknown", "-Infinity"),
    "deep array": with_raw("unknown", "[" * 100_000 + "]" * 100_000),
    "deep object": with_raw("unknown", '{"a":' * 30_000 + "1" + "}" * 30_000),
    "duplicate key": with_raw("prompt", '"x", "prompt": "y"'),
    "integer of 5,000 digits": with_raw("seed", "9" * 5_000),
    "two documents": json.dumps(make_event()).encode() * 2,
    "lone surrogate": with_raw("prompt", '"\\ud800"'),
    "lone surrogate in a key": with_raw("\\udfff", "1"),
}
INVALID = {
    "array": b"[]",
    "number": b"7",
    "null": b"null",
    "huge float": with_raw("cfgScale", "1e999"),
    "integer of 400 digits as float": with_raw("cfgScale", "9" * 400),
    "integer of 400 digits": with_raw("seed", "9" * 400),
    "integer as prompt": with_raw("prompt", "7"),
    "object as prompt": with_raw("prompt", '{"a": ["b"]}'),
    "null prompt": with_raw("prompt", "null"),
    "open bracket in url": with_raw("callbackUrl", '"http://[::1/"'),
    "port out of range": with_raw("callbackUrl", '"http://odoo.example.com:99999/"'),
    "NUL in url": with_raw("callbackUrl", '"http://odoo.example.com/\\u0000"'),
    "user in url": with_raw("callbackUrl", '"http://odoo.example.com@evil.example/"'),
    "zero sides": with_raw("resolution", '"0x0"'),
    "zero ratio": with_raw("aspectRatio", '"1:0"'),
    "arabic digits": with_raw("resolution", '"\\u0661\\u0662x1024"'),
    "future version": with_raw("payloadVersion", '"2.0"'),
}


@pytest.mark.parametrize("name", MALFORMED)
async def test_what_is_not_json_is_400(http: httpx.AsyncClient, name: str) -> None:
    """Not JSON, or JSON that two readers would read differently."""
    headers = {"Content-Type": "application/json"}
    answer = await http.post("/v1/generations", content=MALFORMED[name], headers=headers)
    assert (answer.status_code, answer.json()["type"]) == (
        400,
        "urn:duragen:problem:malformed_json",
    )


@pytest.mark.parametrize("name", INVALID)
async def test_what_breaks_a_rule_is_422(http: httpx.AsyncClient, name: str) -> None:
    """JSON, but not an event."""
    headers = {"Content-Type": "application/json; charset=UTF-8"}
    answer = await http.post("/v1/generations", content=INVALID[name], headers=headers)
    assert answer.status_code == 422
    assert answer.json()["errors"]


async def test_a_prompt_may_hold_anything_printable(http: httpx.AsyncClient) -> None:
    """32,000 astral characters are a prompt like any other."""
    raw = json.dumps(make_event(prompt="🗼" * 32_000), ensure_ascii=False).encode()
    headers = {"Content-Type": "application/json"}
    answer = await http.post("/v1/generations", content=raw, headers=headers)
    assert answer.status_code == 202


async def test_the_openapi_document_is_kept(gateway: str) -> None:
    """Whatever schemathesis makes of the document: no 500, and only what the document says."""
    # In a thread: the gateway runs in this one's loop.
    assert await asyncio.to_thread(call_everything, gateway) > 150


def call_everything(gateway: str) -> int:
    """Call each operation with generated input; the number of calls."""
    document = schemathesis.openapi.from_url(f"{gateway}/openapi.json")
    tried = 0
    for result in document.get_all_operations():
        operation = result.ok()
        for mode in schemathesis.GenerationMode:

            @settings(max_examples=15, deadline=None, database=None, suppress_health_check=ALL)
            @given(case=operation.as_strategy(generation_mode=mode))
            def call(case: schemathesis.Case) -> None:
                nonlocal tried
                tried += 1
                if isinstance(case.body, dict) and "callbackUrl" in case.body:
                    case.body["callbackUrl"] = CALLBACK_URL
                case.call_and_validate(headers={"Authorization": f"Bearer {KEY}"}, checks=CHECKS)

            try:
                call()
            except Unsatisfiable:
                continue  # an operation without parameters has no wrong ones
    return tried
