"""What no span takes along. A backend of traces is for many eyes, and has no payload encryption.

Texts of errors quote image services and Odoos, and those may quote a prompt. The query of an
address may be the signature that opens an image. Instrumentations write both into spans; so they
are left out at the one place that all spans pass on their way out.
"""

import re
from collections.abc import Mapping, Sequence

from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.semconv.attributes import exception_attributes, url_attributes
from opentelemetry.trace import Status
from opentelemetry.util.types import AttributeValue

from contracts.errors import DeliveryError, ErrorCode

_TEXTS = (exception_attributes.EXCEPTION_MESSAGE, exception_attributes.EXCEPTION_STACKTRACE)
# As Temporal writes an error, `CODE: text`, and the SDK an exception, `Type: text`.
_CODES = "|".join(sorted({*ErrorCode, *DeliveryError}))
_CODE = re.compile(rf"(?:\w+: )?({_CODES})(?![^:])")


class WithoutTexts(SpanExporter):
    """Hands spans to `inner`; of an error the exception's type stays, and our code."""

    def __init__(self, inner: SpanExporter) -> None:
        self._inner = inner

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """See the base class."""
        return self._inner.export([_without_texts(span) for span in spans])

    def shutdown(self) -> None:
        """See the base class."""
        self._inner.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """See the base class."""
        return self._inner.force_flush(timeout_millis)


def _without_texts(span: ReadableSpan) -> ReadableSpan:
    status = span.status
    return ReadableSpan(
        name=span.name,
        context=span.context,
        parent=span.parent,
        resource=span.resource,
        attributes=_kept(span.attributes),
        events=[Event(e.name, _kept(e.attributes), e.timestamp) for e in span.events],
        links=span.links,
        kind=span.kind,
        status=Status(status.status_code, _code_in(status.description)),
        start_time=span.start_time,
        end_time=span.end_time,
        instrumentation_scope=span.instrumentation_scope,
    )


def _kept(attributes: Mapping[str, AttributeValue] | None) -> dict[str, AttributeValue]:
    kept = {name: _without_query(value) for name, value in (attributes or {}).items()}
    kept.pop(url_attributes.URL_QUERY, None)
    for name in _TEXTS:
        text = kept.pop(name, None)
        if code := _code_in(text):
            kept[name] = code
    return kept


def _without_query(value: AttributeValue) -> AttributeValue:
    if isinstance(value, str) and "://" in value:
        return value.partition("?")[0]
    return value


def _code_in(text: object) -> str | None:
    found = _CODE.match(text) if isinstance(text, str) else None
    return found[1] if found else None
