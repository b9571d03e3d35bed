"""Starting a generation: what every entry point does with an event that it has validated.

docs/adding-an-entry-point.md leads through a new one.
"""

import logging
from collections.abc import Collection, Mapping

from opentelemetry.trace import SpanKind

from contracts.events import GenerationRequested, origin_of
from starter.client import AsyncDuragenClient, Started
from starter.tracing import root_span

logger = logging.getLogger(__name__)


class OriginNotAllowedError(Exception):
    """The event's `callbackUrl` is at an origin that no `[[odoo]]` of the settings has."""


class EntryPoint:
    """One way in. `origins` are those that a `callbackUrl` may have."""

    def __init__(self, client: AsyncDuragenClient, origins: Collection[str]) -> None:
        self._client = client
        self._origins = origins

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
        Raises OriginNotAllowedError, and the errors of `starter.client`: ConflictError when the
        requestId is taken by another payload, UnavailableError when Temporal does not answer. Then
        the caller must keep the event and send it again: it is never started twice.
        """
        if origin_of(event.callback_url) not in self._origins:
            raise OriginNotAllowedError(origin_of(event.callback_url))
        with root_span(span, headers, event, kind):
            started = await self._client.start(
                event.model_dump(mode="json", exclude_none=True), owner=owner
            )
            logger.info(
                "generation accepted", extra={"caller": caller, "repeated": not started.created}
            )
        return started
