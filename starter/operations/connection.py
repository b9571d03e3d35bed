"""A Temporal client for operators, whose errors are those of `starter.client`."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from temporalio.client import Client
from temporalio.envconfig import ClientConfig
from temporalio.service import RPCError

from starter.client import SetupError, UnavailableError, error_of

CONNECT_TIMEOUT = timedelta(seconds=5)


async def connect() -> Client:
    """A client from the `TEMPORAL_*` variables and profile. Raises SetupError, UnavailableError."""
    options = _options()
    try:
        return await Client.connect(**options, connect_timeout=CONNECT_TIMEOUT)
    except ValueError as error:
        raise SetupError(f"the TEMPORAL_* settings are wrong: {error}") from error
    except RuntimeError as error:  # the SDK has no status code for this one
        raise UnavailableError(f"cannot reach Temporal at {options['target_host']}") from error


@contextmanager
def errors_translated() -> Iterator[None]:
    """Raise RPCError as the error of `starter.client` that it means."""
    try:
        yield
    except RPCError as error:
        raise error_of(error) from error


def _options() -> dict[str, Any]:
    try:
        options: dict[str, Any] = {**ClientConfig.load_client_connect_config()}
    except (RuntimeError, ValueError, OSError) as error:
        raise SetupError(f"the TEMPORAL_* settings are wrong: {error}") from error
    options.setdefault("target_host", "localhost:7233")
    return options
