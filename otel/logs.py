"""Logs as JSON lines on stderr, each with the ids of the generation it belongs to."""

import logging
import sys
from datetime import UTC, datetime
from typing import Any

from opentelemetry import trace

from contracts.plain import json_text
from otel import correlation

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_NOISY = ("httpx", "httpcore", "botocore", "urllib3")


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time (UTC), level, logger, message, ids, extras, exception."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line of JSON; a value that JSON lacks is written as its text."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        bound = correlation.current()
        if bound:
            line["correlationId"] = str(bound.correlation_id)
            line["requestId"] = str(bound.request_id)
        span = trace.get_current_span().get_span_context()
        if span.is_valid:
            line["trace_id"] = trace.format_trace_id(span.trace_id)
            line["span_id"] = trace.format_span_id(span.span_id)
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        # An extra never takes the place of what stands in every line.
        extras = {k: v for k, v in vars(record).items() if k not in _STANDARD and k not in line}
        try:
            return json_text(line | extras, default=str)
        except (TypeError, ValueError, RecursionError):  # NaN, a cycle, a key that is no text
            return json_text(line | {k: repr(v) for k, v in extras.items()}, default=str)


def configure_logging(level: int = logging.INFO) -> None:
    """Send all logs to stderr as JSON; libraries that log each call speak from WARNING on."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(level=level, handlers=[handler], force=True)
    for name in _NOISY:
        logging.getLogger(name).setLevel(logging.WARNING)
