"""Somebody who uses Odoo in a test: over odoorpc, with a browser's cookie, at a websocket."""

import json
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Self
from uuid import UUID

from websockets.sync.client import ClientConnection
from websockets.sync.client import connect as open_websocket

from deploy.local.real_odoo.configure import Login, browse, connect
from deploy.local.real_odoo.server import RealOdoo
from deploy.local.sandbox.images.protocols import OPENAI_MODEL_ID

REQUEST = "duragen.generation.request"
LATENCY_SECONDS = 0.5
"""What the sandbox takes for an image, so that a person sees states pass."""

PATIENCE_SECONDS = 200
"""For what happens within seconds unless it never does."""


class Person:
    """A session of each kind for one login."""

    def __init__(self, odoo: RealOdoo, who: Login) -> None:
        self.odoo = odoo
        self.rpc = connect(odoo, who)
        self.http = browse(odoo, who)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.http.close()

    def submits(self, prompt: str, model_id: UUID = OPENAI_MODEL_ID, **more: Any) -> dict[str, Any]:
        """A new request's record."""
        [model] = self.rpc.env["duragen.ai.model"].search([("model_uuid", "=", str(model_id))])
        values = {"prompt": prompt, "model_id": model, "resolution": "256x256", **more}
        [made] = self.rpc.execute(REQUEST, "submit_generation", values)
        return self.reads(made)

    def reads(self, request: int) -> dict[str, Any]:
        """A request's record as this person sees it."""
        wanted = ["state", "request_uuid", "correlation_uuid", "charged", "price", "image_ids"]
        wanted += ["error_code", "user_message", "start_attempts", "workflow_name"]
        [row] = self.rpc.execute(REQUEST, "read", [request], wanted)
        found: dict[str, Any] = row
        return found

    def ledger(self, request: int) -> list[tuple[str, int]]:
        """Kind and effect of each of a request's entries, in their order."""
        entries = self.rpc.env["duragen.credit.entry"]
        rows = entries.search_read([("request_id", "=", request)], ["kind", "delta"], order="id")
        return [(row["kind"], row["delta"]) for row in rows]

    def balance(self) -> int:
        """The credits left."""
        [row] = self.rpc.env["duragen.account"].search_read(
            [("user_id", "=", self.rpc.env.uid)], ["balance"]
        )
        left: int = row["balance"]
        return left

    @contextmanager
    def listens(self) -> "Iterator[Bus]":
        """A websocket such as each open page has."""
        cookie = f"session_id={self.http.cookies['session_id']}"
        with open_websocket(
            f"{self.odoo.websocket_url}?version={_websocket_version(self.odoo)}",
            additional_headers={"Cookie": cookie},
            origin=self.odoo.url,  # type: ignore[arg-type]  # a NewType of str
            proxy=None,
        ) as socket:
            subscribe = {"event_name": "subscribe", "data": {"channels": [], "last": 0}}
            socket.send(json.dumps(subscribe))
            yield Bus(socket)


class Bus:
    """What the server sends to a page."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket

    def until(self, request_id: str, state: str) -> list[dict[str, Any]]:
        """The messages about one generation, up to the one with `state`."""
        messages: list[dict[str, Any]] = []
        give_up = time.monotonic() + PATIENCE_SECONDS
        while not messages or messages[-1]["state"] != state:
            for each in json.loads(self._socket.recv(timeout=give_up - time.monotonic())):
                message = each["message"]
                about = message["payload"]
                if message["type"] == "duragen.generation" and about["requestId"] == request_id:
                    messages.append(about)
        return messages


def _websocket_version(odoo: RealOdoo) -> str:
    source = odoo.site.places.packages / "odoo/addons/bus/websocket.py"
    found = re.search(r'_VERSION = "([\d.-]+)"', source.read_text())
    assert found, "the version of Odoo's websocket is not where it was"
    return found[1]
