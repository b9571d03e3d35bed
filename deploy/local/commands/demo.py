"""`duragen demo`: one prompt all the way on the embedded stack, checked, and nothing left."""

import hashlib
import io
import os
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated
from uuid import UUID

import httpx
import typer
from PIL import Image
from rich.console import Console

from contracts.plain import one_line
from deploy.local.commands.collector import Collector, ReceivedSpan
from deploy.local.commands.demo_odoo import OdooSide, RealSide, Record, SandboxSide
from deploy.local.commands.up import FORESEEN
from deploy.local.real_odoo.beside import stack_with_odoo
from deploy.local.sandbox.images.protocols import FLUX_MODEL_ID, OPENAI_MODEL_ID
from deploy.local.stack.layout import SandboxOptions
from deploy.local.stack.local_stack import LocalStack
from peers.terminal import complain, console, say, styled

PROMPT = "a lighthouse at dawn, oil on canvas"
FINAL = frozenset({"completed", "failed", "canceled"})
PATIENCE_SECONDS = 60.0
LATENCY_SECONDS = 1.0
"""What the sandbox takes for an image, so that the states can be seen to pass."""

_LAST_SPANS = {"RunWorkflow:Generation", "RunActivity:deliver_outcome"}


def demo(
    *,
    prompt: Annotated[
        str, typer.Option(help='What to paint; "forbidden" in it is refused by the sandbox.')
    ] = PROMPT,
    openai: Annotated[
        bool, typer.Option("--openai", help="Ask the OpenAI model instead of the FLUX one.")
    ] = False,
    real_odoo: Annotated[
        bool,
        typer.Option("--real-odoo", help="With a real Odoo 19 and the addon, set up on Debian."),
    ] = False,
    keep: Annotated[
        bool, typer.Option("--keep", help="Leave the stack running until Ctrl-C, to look around.")
    ] = False,
    home: Annotated[Path, typer.Option(help="Folder of everything it writes.")] = Path(
        ".duragen/demo"
    ),
) -> None:
    """Carry one prompt all the way on the embedded stack, show it, and stop.

    Exit 0 when image, hash, Odoo's record and trace are what they must be; 1 otherwise, also
    when there is no image.
    """
    out = console(soft_wrap=True)
    options = SandboxOptions(latency_seconds=LATENCY_SECONDS)
    try:
        with Collector() as collector, ExitStack() as running:
            os.environ["OTEL_EXPORTER_OTLP_ENDPOINT"] = collector.url
            os.environ["OTEL_BSP_SCHEDULE_DELAY"] = "200"
            started = time.monotonic()
            odoo: OdooSide
            if real_odoo:
                with_odoo = stack_with_odoo(home, options=options, say=say, disposable=True)
                beside = running.enter_context(with_odoo)
                stack, odoo = beside.stack, RealSide(beside)
            else:
                stack = LocalStack(home, options=options, say=say)
                running.enter_context(stack)
                odoo = SandboxSide(stack)
            out.print(f"stack      up in {time.monotonic() - started:.1f} s")
            tour = _Tour(stack, odoo, collector, out)
            good = tour.run(prompt, OPENAI_MODEL_ID if openai else FLUX_MODEL_ID)
            if keep:
                out.print("Ctrl-C ends everything.")
                threading.Event().wait()
    except KeyboardInterrupt:
        raise typer.Exit(0) from None
    except FORESEEN as error:
        complain(error)
        raise typer.Exit(1) from None
    raise typer.Exit(0 if good else 1)


class _Tour:
    """One generation, step by step; `run` returns whether everything was as it must be."""

    def __init__(
        self, stack: LocalStack, odoo: OdooSide, collector: Collector, console: Console
    ) -> None:
        self._stack = stack
        self._odoo = odoo
        self._collector = collector
        self._console = console
        self._good = True
        self._users_error = False

    def run(self, prompt: str, model_id: UUID) -> bool:
        self._line("prompt", prompt)
        asked = self._odoo.ask(prompt, model_id)
        self._line("accepted", f"{asked.answer}, requestId {asked.request_id}")
        for state in self._states(asked.request_id):
            self._line("state", state)
        record = self._odoo.record(asked)
        self._check(not record.wrong, record.wrong)
        if record.state == "completed":
            self._image(record)
        else:
            self._good = False
            self._line("refused" if self._users_error else "failed", record.refusal)
        self._line("Odoo", f"state {record.state}, credits {' → '.join(record.ledger)}")
        workflow = f"generation-{asked.request_id}"
        self._line("workflow", f"{self._stack.ui_url}/namespaces/default/workflows/{workflow}")
        self._trace(asked.correlation_id)
        return self._good

    def _states(self, request_id: str) -> Iterator[str]:
        """Each state as it comes, until the generation has ended."""
        url = f"{self._stack.gateway_url}/v1/generations/{request_id}"
        key = {"Authorization": f"Bearer {self._stack.secrets.api_key}"}
        last = None
        give_up = time.monotonic() + PATIENCE_SECONDS
        with httpx.Client(timeout=PATIENCE_SECONDS, trust_env=False, headers=key) as http:
            while last not in FINAL and time.monotonic() < give_up:
                answer = http.get(url)
                if answer.status_code != 404:  # an Odoo starts it after it has answered
                    said = answer.raise_for_status().json()
                    state, error = said["state"], said["error"]
                    self._users_error = bool(error) and error["kind"] == "user"
                    if state != last:
                        yield state
                    last = state
                time.sleep(0.01)
        self._check(last in FINAL, f"the generation is still {last}")

    def _image(self, record: Record) -> None:
        file = self._stack.home / "image.png"
        file.write_bytes(record.image)
        with Image.open(io.BytesIO(record.image)) as image:
            image.load()
            size = f"{image.width}x{image.height} {image.format}"
        digest = hashlib.sha256(record.image).hexdigest()
        self._line("image", f"{file} ({size}, {len(record.image)} bytes)")
        self._line("SHA-256", f"{digest} (the event's hashValue)")
        self._check(digest == record.sha256, "the event's hashValue is another")

    def _trace(self, correlation_id: str) -> None:
        trace_id = correlation_id.replace("-", "")
        last = _LAST_SPANS | self._odoo.spans
        spans = self._collector.wait_for(trace_id, last, seconds=10)
        self._line("trace", f"{trace_id} (the correlationId), {len(spans)} spans")
        self._check({s.name for s in spans} >= last, "the trace is not whole")
        for text in _tree(spans):
            self._console.print(f"           {one_line(text)}")

    def _line(self, name: str, text: str) -> None:
        self._console.print(styled(f"{name:<10}", "bold"), one_line(text))

    def _check(self, holds: bool, otherwise: str) -> None:
        if not holds:
            self._good = False
            self._console.print(styled("wrong:", "red"), one_line(otherwise))


def _tree(spans: list[ReceivedSpan], parent: str | None = None, depth: int = 0) -> Iterator[str]:
    """The spans indented below their parents; `parent` None stands for the root."""
    ids = {span.span_id for span in spans}
    for span in spans:
        if span.parent_id == parent or (parent is None and span.parent_id not in ids):
            yield f"{'  ' * depth}{span.name}  ({span.service})"
            yield from _tree(spans, span.span_id, depth + 1)
