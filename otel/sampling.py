"""Sampling by the correlationId: one decision a generation, the same in every process of ours.

A generation's trace has no root span of its own: its trace id is the correlationId, and whoever
starts it may trace nothing. Such a start says in `tracestate` that nothing is decided yet; then the
sampler that the environment names decides here, as for a root.
"""

import hashlib
from collections.abc import Sequence

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.trace.sampling import Sampler, SamplingResult
from opentelemetry.trace import Link, SpanKind, TraceState
from opentelemetry.util.types import Attributes

from contracts.names import TRACE_STATE_KEY, TRACE_UNDECIDED


class CorrelationSampler(Sampler):
    """Asks `inner`, without the parent when that decided nothing.

    A UUID is no random trace id: its bits 62 and 63 are fixed, so a ratio of the id's lower half
    would take no generation below 50 %, and all above 75 %. A digest of it is even.
    """

    def __init__(self, inner: Sampler) -> None:
        self._inner = inner

    def should_sample(  # the base class's
        self,
        parent_context: Context | None,
        trace_id: int,
        name: str,
        kind: SpanKind | None = None,
        attributes: Attributes = None,
        links: Sequence[Link] | None = None,
        trace_state: TraceState | None = None,
    ) -> SamplingResult:
        """See the base class."""
        parent = trace.get_current_span(parent_context).get_span_context()
        if parent.trace_state.get(TRACE_STATE_KEY) == TRACE_UNDECIDED:
            parent_context = Context()
        digest = hashlib.sha256(trace_id.to_bytes(16)).digest()
        even = int.from_bytes(digest[:16])
        return self._inner.should_sample(
            parent_context, even, name, kind, attributes, links, trace_state
        )

    def get_description(self) -> str:
        """What it is, for those who debug it."""
        return f"CorrelationSampler({self._inner.get_description()})"
