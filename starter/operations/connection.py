"""A Temporal client for operators, whose errors are those of `starter.client`."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from temporalio.client import Client
from temporalio.service import RPCError

from peers import temporal
from peers.encryption import EncryptionError
from peers.settings import SettingsError
from starter.client import SetupError, UnavailableError, error_of

CONNECT_TIMEOUT = timedelta(seconds=5)


async def connect() -> Client:
    """A client from the `TEMPORAL_*` variables and profile. Raises SetupError, UnavailableError."""
    try:
        return await temporal.connect(connect_timeout=CONNECT_TIMEOUT)
    except SettingsError as error:
        raise SetupError(str(error)) from error
    except RuntimeError as error:  # the SDK has no status code for this one
        raise UnavailableError(f"cannot reach Temporal at {temporal.target()}") from error


@contextmanager
def errors_translated() -> Iterator[None]:
    """Raise RPCError as the error of `starter.client` that it means; no key is SetupError."""
    try:
        yield
    except RPCError as error:
        raise error_of(error) from error
    except EncryptionError as error:
        raise SetupError(str(error)) from error
