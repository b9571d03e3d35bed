"""Callers' keys: the settings have a name and the SHA-256 of each, and the key itself nobody."""

import hashlib
import hmac
import secrets
from collections.abc import Iterable
from typing import NamedTuple, Protocol, TypeVar


class KeyOfSettings(Protocol):
    """What every table of keys has."""

    @property
    def sha256(self) -> str:
        """Of the key, in hexadecimal."""


K = TypeVar("K", bound=KeyOfSettings)


class NewKey(NamedTuple):
    """A random key for a caller, and what the settings have of it."""

    key: str
    sha256: str


def new_key() -> NewKey:
    """256 random bits, fit for a header."""
    key = secrets.token_urlsafe(32)
    return NewKey(key, _digest(key))


def holder_of(given: str, keys: Iterable[K]) -> K | None:
    """Whose key was given. Every key is compared, so that the time reveals nothing."""
    digest = _digest(given)
    found = [each for each in keys if hmac.compare_digest(each.sha256, digest)]
    return found[0] if found else None


def _digest(key: str) -> str:
    # What came in a header may be no sound Unicode.
    return hashlib.sha256(key.encode(errors="surrogatepass")).hexdigest()
