"""The Temporal SDK's native part, as a worker uses it."""

import logging

from temporalio.runtime import LogForwardingConfig, LoggingConfig, Runtime, TelemetryConfig


def logging_runtime() -> Runtime:
    """A runtime that logs through Python: its own lines on stderr would not be JSON."""
    logger = logging.getLogger("temporalio.core")
    logger.addFilter(_without_native_entry)
    forwarding = LogForwardingConfig(
        logger, append_target_to_name=False, prepend_target_on_message=False
    )
    log = LoggingConfig(filter=LoggingConfig.default.filter, forwarding=forwarding)
    return Runtime(telemetry=TelemetryConfig(logging=log))


def _without_native_entry(record: logging.LogRecord) -> bool:
    vars(record).pop("temporal_log", None)  # all of it is in the message
    return True
