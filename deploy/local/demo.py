"""`duragen demo`: one prompt all the way on the embedded stack, checked, and nothing left."""

import hashlib
import io
import os
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any
from uuid import uuid4

import httpx
import typer
from PIL import Image
from rich.console import Console

from deploy.local.cli import FORESEEN
from deploy.local.collector import Collector, ReceivedSpan
from deploy.local.config import CALLBACK_PATH, FLUX_MODEL_ID, OPENAI_MODEL_ID
from deploy.local.layout import SandboxOptions
from deploy.local.stack import LocalStack

PROMPT = "a lighthouse at dawn, oil on canvas"
FINAL = frozenset({"completed", "failed", "canceled"})
PATIENCE_SECONDS = 60.0
LATENCY_SECONDS = 1.0
"""What the sandbox takes for an image, so that the states can be seen to pass."""

_LAST_SPANS = {"RunWorkflow:Generation", "RunActivity:deliver_outcome", "generation.start"}


def demo(
    *,
    prompt: Annotated[
        str, typer.Option(help='What to paint; "forbidden" in it is refused by the sandbox.')
    ] = PROMPT,
    openai: Annotated[
        bool, typer.Option("--openai", help="Ask the OpenAI model instead of the FLUX one.")
    ] = False,
    keep: Annotated[
        bool, typer.Option("--keep", help="Leave the stack running until Ctrl-C, to look around.")
    ] = False,
    home: Annotated[Path, typer.Option(help="Folder of everything it writes.")] = Path(
        ".duragen/demo"
    ),
) -> None:
    """Carry one prompt all the way on the embedded stack, show it, and stop.

    Exit 0 when image, hash, Odoo's record and trace are what they must be; 1 otherwise.
    """
    console = Console(highlight=False, soft_wrap=True)
    try:
        with Collector() as collector:
            os.environ["OTEL_EXPORTER_OTLP_ENDPOINT"] = collector.url
            os.environ["OTEL_BSP_SCHEDULE_DELAY"] = "200"
            options = SandboxOptions(latency_seconds=LATENCY_SECONDS)
            started = time.monotonic()
            with LocalStack(home, options=options, say=console.print) as stack:
                console.print(f"stack      up in {time.monotonic() - started:.1f} s")
                tour = _Tour(stack, collector, console)
                good = tour.run(prompt, str(OPENAI_MODEL_ID if openai else FLUX_MODEL_ID))
                if keep:
                    console.print("Ctrl-C ends everything.")
                    threading.Event().wait()
    except KeyboardInterrupt:
        raise typer.Exit(0) from None
    except FORESEEN as error:
        print(error, file=sys.stderr)
        raise typer.Exit(1) from None
    raise typer.Exit(0 if good else 1)


class _Tour:
    """One generation, step by step; `run` tells whether everything was as it must be."""

    def __init__(self, stack: LocalStack, collector: Collector, console: Console) -> None:
        self._stack = stack
        self._collector = collector
        self._console = console
        self._good = True

    def run(self, prompt: str, model_id: str) -> bool:
        event = {
            "requestId": str(uuid4()),
            "correlationId": str(uuid4()),
            "userId": str(uuid4()),
            "prompt": prompt,
            "modelId": model_id,
            "resolution": "1024x1024",
            "aspectRatio": "1:1",
            "callbackUrl": self._stack.odoo_url + CALLBACK_PATH,
        }
        with httpx.Client(timeout=PATIENCE_SECONDS, trust_env=False) as http:
            self._line("prompt", prompt)
            # Odoo makes the request and reserves the credits; then it asks the gateway.
            http.post(f"{self._stack.odoo_url}/_sandbox/requests", json=event).raise_for_status()
            accepted = http.post(
                f"{self._stack.gateway_url}/v1/generations", json=event, headers=self._key()
            )
            accepted.raise_for_status()
            self._line("accepted", f"202, requestId {event['requestId']}")
            for state in self._states(http, event["requestId"]):
                self._line("state", state)
            record = self._record(http, event["requestId"])
            if record["state"] == "completed":
                self._image(http, record)
            else:
                self._line("refused", f"{record['error_code']}: {record['user_message']}")
            self._line("Odoo", f"state {record['state']}, credits {self._credits(record)}")
        workflow = f"generation-{event['requestId']}"
        self._line("workflow", f"{self._stack.ui_url}/namespaces/default/workflows/{workflow}")
        self._trace(event["correlationId"])
        return self._good

    def _states(self, http: httpx.Client, request_id: str) -> Iterator[str]:
        """Each state as it comes, until the generation has ended."""
        url = f"{self._stack.gateway_url}/v1/generations/{request_id}"
        last = None
        give_up = time.monotonic() + PATIENCE_SECONDS
        while last not in FINAL and time.monotonic() < give_up:
            answer = http.get(url, headers=self._key())
            answer.raise_for_status()
            state = answer.json()["state"]
            if state != last:
                yield state
            last = state
            time.sleep(0.01)
        self._check(last in FINAL, f"the generation is still {last}")

    def _record(self, http: httpx.Client, request_id: str) -> dict[str, Any]:
        answer = http.get(f"{self._stack.odoo_url}/_sandbox/requests/{request_id}")
        answer.raise_for_status()
        record: dict[str, Any] = answer.json()
        deliveries = len(record["deliveries"])
        self._check(deliveries == 1, f"Odoo was told {deliveries} times")
        return record

    def _image(self, http: httpx.Client, record: dict[str, Any]) -> None:
        data = http.get(record["image_url"]).content
        file = self._stack.home / "image.png"
        file.write_bytes(data)
        with Image.open(io.BytesIO(data)) as image:
            image.load()
            size = f"{image.width}x{image.height} {image.format}"
        digest = hashlib.sha256(data).hexdigest()
        self._line("image", f"{file} ({size}, {len(data)} bytes)")
        self._line("SHA-256", f"{digest} (the event's hashValue)")
        self._check(digest == record["hash_value"], "the event's hashValue is another")

    def _credits(self, record: dict[str, Any]) -> str:
        return " → ".join(entry["kind"] for entry in record["ledger"])

    def _trace(self, correlation_id: str) -> None:
        trace_id = correlation_id.replace("-", "")
        spans = self._collector.wait_for(trace_id, _LAST_SPANS, seconds=10)
        self._line("trace", f"{trace_id} (the correlationId), {len(spans)} spans")
        self._check({s.name for s in spans} >= _LAST_SPANS, "the trace is not whole")
        for text in _tree(spans):
            self._console.print(f"           {text}", markup=False)

    def _line(self, name: str, text: str) -> None:
        self._console.print(f"[bold]{name:<10}[/] ", end="")
        self._console.print(text, markup=False)

    def _check(self, holds: bool, otherwise: str) -> None:
        if not holds:
            self._good = False
            self._console.print(f"[red]wrong:[/] {otherwise}")

    def _key(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._stack.secrets.api_key}"}


def _tree(spans: list[ReceivedSpan], parent: str | None = None, depth: int = 0) -> Iterator[str]:
    """The spans indented below their parents; `parent` None stands for the root."""
    ids = {span.span_id for span in spans}
    for span in spans:
        if span.parent_id == parent or (parent is None and span.parent_id not in ids):
            yield f"{'  ' * depth}{span.name}  ({span.service})"
            yield from _tree(spans, span.span_id, depth + 1)
