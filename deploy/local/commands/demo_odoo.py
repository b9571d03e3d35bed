"""Odoo's side of the demo: who asks, and what Odoo's ledger has afterwards.

Two of one kind: the sandbox, which the demo asks together with the gateway, and a real Odoo with
the addon, which starts the generation by itself.
"""

from contextlib import closing
from typing import Any, NamedTuple, Protocol
from uuid import UUID, uuid4

import httpx

from deploy.local.real_odoo.beside import Beside
from deploy.local.real_odoo.configure import ADMIN, PORTAL, browse, connect
from deploy.local.stack.config import CALLBACK_PATH
from deploy.local.stack.local_stack import LocalStack

_REQUEST = "duragen.generation.request"
_PATIENCE_SECONDS = 60.0


class Asked(NamedTuple):
    """A generation that was asked for."""

    request_id: str
    correlation_id: str
    answer: str


class Record(NamedTuple):
    """What Odoo knows of a generation that has ended."""

    state: str
    ledger: list[str]
    """The kinds of its entries, in their order."""
    sha256: str = ""
    image: bytes = b""
    refusal: str = ""
    wrong: str = ""
    """What is not as it must be."""


class OdooSide(Protocol):
    """What the demo needs of an Odoo."""

    spans: frozenset[str]
    """Of the entry point that it goes through."""

    def ask(self, prompt: str, model_id: UUID) -> Asked:
        """Makes the record, reserves the credits, and starts the generation."""

    def record(self, asked: Asked) -> Record:
        """Reads Odoo's ledger."""


class SandboxSide:
    """The sandbox keeps the ledger; the demo asks the gateway, as an Odoo would."""

    spans = frozenset({"generation.start"})

    def __init__(self, stack: LocalStack) -> None:
        self._stack = stack
        self._http = httpx.Client(timeout=_PATIENCE_SECONDS, trust_env=False)

    def ask(self, prompt: str, model_id: UUID) -> Asked:
        """See OdooSide."""
        event = {
            "requestId": str(uuid4()),
            "correlationId": str(uuid4()),
            "userId": str(uuid4()),
            "prompt": prompt,
            "modelId": str(model_id),
            "resolution": "1024x1024",
            "aspectRatio": "1:1",
            "callbackUrl": self._stack.odoo_url + CALLBACK_PATH,
        }
        # Odoo makes the request and reserves the credits; then it asks the gateway.
        url = f"{self._stack.odoo_url}/_sandbox/requests"
        self._http.post(url, json=event).raise_for_status()
        key = {"Authorization": f"Bearer {self._stack.secrets.api_key}"}
        accepted = self._http.post(
            f"{self._stack.gateway_url}/v1/generations", json=event, headers=key
        )
        accepted.raise_for_status()
        return Asked(event["requestId"], event["correlationId"], str(accepted.status_code))

    def record(self, asked: Asked) -> Record:
        """See OdooSide."""
        url = f"{self._stack.odoo_url}/_sandbox/requests/{asked.request_id}"
        row: dict[str, Any] = self._http.get(url).raise_for_status().json()
        deliveries = len(row["deliveries"])
        done = row["state"] == "completed"
        return Record(
            row["state"],
            [entry["kind"] for entry in row["ledger"]],
            row["hash_value"] if done else "",
            self._http.get(row["image_url"]).content if done else b"",
            "" if done else f"{row['error_code']}: {row['user_message']}",
            "" if deliveries == 1 else f"Odoo got the outcome {deliveries} times",
        )


class RealSide:
    """A customer in the portal of a real Odoo; the addon does the rest."""

    spans: frozenset[str] = frozenset()  # there is no OpenTelemetry in this Odoo

    def __init__(self, beside: Beside) -> None:
        self._odoo = beside.odoo
        self._customer = connect(beside.odoo, PORTAL)
        self._admin = connect(beside.odoo, ADMIN)

    def ask(self, prompt: str, model_id: UUID) -> Asked:
        """See OdooSide."""
        models = self._customer.env["duragen.ai.model"]
        [model] = models.search([("model_uuid", "=", str(model_id))])
        values = {"prompt": prompt, "model_id": model, "resolution": "1024x1024"}
        made = self._customer.execute(_REQUEST, "submit_generation", values)
        [row] = self._admin.execute(_REQUEST, "read", made, ["request_uuid", "correlation_uuid"])
        return Asked(row["request_uuid"], row["correlation_uuid"], f"by Odoo {self._odoo.url}")

    def record(self, asked: Asked) -> Record:
        """See OdooSide."""
        wanted = ["state", "error_code", "user_message", "image_ids"]
        requests = self._admin.env[_REQUEST]
        [row] = requests.search_read([("request_uuid", "=", asked.request_id)], wanted)
        entries = self._admin.env["duragen.credit.entry"]
        booked = entries.search_read([("request_id", "=", row["id"])], ["kind"], order="id")
        ledger = [entry["kind"] for entry in booked]
        if row["state"] != "completed":
            return Record(
                row["state"], ledger, refusal=f"{row['error_code']}: {row['user_message']}"
            )
        images = self._admin.env["duragen.generated.image"]
        [image] = images.search_read([("id", "in", row["image_ids"])], ["sha256"])
        with closing(browse(self._odoo, PORTAL)) as browser:
            data = browser.get(f"/duragen/image/{image['id']}", follow_redirects=True).content
        return Record(row["state"], ledger, image["sha256"], data)
