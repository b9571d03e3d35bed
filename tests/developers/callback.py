"""The contract of Odoo's callback, held against an Odoo that runs: the sandbox, or a real one."""

import base64
import hmac
import json
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple
from uuid import uuid4

import requests
import schemathesis
from requests.auth import AuthBase

from tests.developers.contract import call_everything

DOCUMENT = Path(__file__).parents[2] / "docs" / "openapi" / "odoo-callback.json"
SECONDS = 100

Headers = Callable[[bytes], dict[str, str]]
"""The headers by which a body is believed."""


class Request(NamedTuple):
    """One that this Odoo knows, and which has not ended."""

    request_id: str
    correlation_id: str


def signed(token: str, secret: str) -> Headers:
    """As Duragen does it: a bearer token, and a signature of Standard Webhooks."""
    key = base64.b64decode(secret.removeprefix("whsec_"))

    def headers(body: bytes) -> dict[str, str]:
        # By hand: the package takes texts alone, and a body may be anything.
        identity, now = uuid4().hex, str(int(time.time()))
        digest = hmac.digest(key, f"{identity}.{now}.".encode() + body, "sha256")
        return {
            "Authorization": f"Bearer {token}",
            "webhook-id": identity,
            "webhook-timestamp": now,
            "webhook-signature": f"v1,{base64.b64encode(digest).decode()}",
        }

    return headers


class _Last(AuthBase):
    """Puts the headers on when the body is there."""

    def __init__(self, headers: Headers) -> None:
        self._headers = headers

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        body = request.body or b""
        request.headers.update(self._headers(body.encode() if isinstance(body, str) else body))
        return request


def call_callback(
    url: str, headers: Headers, known: Sequence[Request] = (), *, examples: int
) -> Counter[tuple[str, int]]:
    """Call each route with right and wrong events; how often each answered which status.

    No 5xx, and nothing that the document does not have. Every other event is about one of the
    `known` requests.
    """
    document = schemathesis.openapi.from_path(DOCUMENT)
    document.config.update(base_url=url)
    turn = 0

    def adapt(case: schemathesis.Case) -> None:
        nonlocal turn
        turn += 1
        if known and turn % 2 and isinstance(case.body, dict):
            request = known[turn % len(known)]
            for name, value in {
                "requestId": request.request_id,
                "correlationId": request.correlation_id,
                "generationRequestId": request.request_id,
            }.items():
                if isinstance(case.body.get(name), str):
                    case.body[name] = value

    return call_everything(document, _Last(headers), examples=examples, adapt=adapt)


def answers_to(url: str, headers: Headers) -> list[int]:
    """What each route answers to its own examples, whose request this Odoo does not know."""
    found = []
    for path, methods in json.loads(DOCUMENT.read_text())["paths"].items():
        content = methods["post"]["requestBody"]["content"]["application/json"]
        for example in content["examples"].values():
            body = json.dumps(example["value"]).encode()
            more = {"Content-Type": "application/json", **headers(body)}
            found.append(requests.post(url + path, body, headers=more, timeout=SECONDS).status_code)
    return found
