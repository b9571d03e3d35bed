"""Starting a generation: what every entry point does with an event that it has validated.

docs/adding-an-entry-point.md leads through a new one.
"""

import logging
from collections.abc import Collection, Mapping

from opentelemetry.trace import SpanKind

from contracts.callbacks import callback_fault
from contracts.events import GenerationRequested
from starter.client import AsyncDuragenClient, Started
from starter.tracing import root_span

logger = logging.getLogger(__name__)


class CallbackNotAllowedError(Exception):
    """No `[[odoo]]` of the settings lets outcomes go to the event's `callbackUrl`."""


class EntryPoint:
    """One way in. `callbacks` has the path prefixes of each origin a `callbackUrl` may have."""

    def __init__(
        self, client: AsyncDuragenClient, callbacks: Mapping[str, Collection[str]]
    ) -> None:
        self._client = client
        self._callbacks = callbacks

    async def start(
        self,
        event: GenerationRequested,
        *,
        owner: str,
        caller: str,
        span: str,
        headers: Mapping[str, str],
        kind: SpanKind = SpanKind.SERVER,
    ) -> Started:
        """Start the generation, or find the one that the same event has started.

        `owner` is whose it will be, `caller` who asks, for the log; `span`, `headers` and `kind`
        are for the root span.
        Raises CallbackNotAllowedError, and the errors of `starter.client`: ConflictError when
        the requestId is taken by another payload, UnavailableError when Temporal does not answer.
        Then the caller must keep the event and send it again: it is never started twice.
        """
        if fault := callback_fault(event.callback_url, self._callbacks):
            raise CallbackNotAllowedError(fault)
        with root_span(span, headers, event, kind):
            started = await self._client.start(
                event.model_dump(mode="json", exclude_none=True), owner=owner
            )
            logger.info(
                "generation accepted", extra={"caller": caller, "repeated": not started.created}
            )
        return started
