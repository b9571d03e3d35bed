"""What callers ask for in headers: Prefer, Cancel-After, Idempotency-Key."""

import re
from uuid import UUID

from starter.gateway.problems import FieldError, ProblemError, invalid

MAX_WAIT_SECONDS = 60
CANCEL_AFTER_SECONDS = range(5, 86_400 + 1)
"""As Odoo's addon has it."""

MAX_KEY_CHARACTERS = 200

_WAIT = re.compile(r"wait(?:\s*=\s*\"?(?P<seconds>[0-9]{1,5})\"?)?", re.ASCII)
_TIME = re.compile(
    r"(?=.)(?:(?P<h>[0-9]{1,5})h)?(?:(?P<m>[0-9]{1,5})m)?(?:(?P<s>[0-9]{1,5})s?)?", re.ASCII
)
_KEY = re.compile(r"[!-~]+", re.ASCII)


def wait_of(prefer: str | None) -> int:
    """Seconds that `Prefer` (RFC 7240) asks to wait, at most 60; 0 when it does not.

    `wait` alone is 60. A preference that makes no sense is no error: it is ignored.
    """
    for preference in (prefer or "").split(","):
        found = _WAIT.fullmatch(preference.partition(";")[0].strip())
        if found:
            seconds = found["seconds"]
            return min(int(seconds), MAX_WAIT_SECONDS) if seconds else MAX_WAIT_SECONDS
    return 0


def cancel_after_of(text: str | None) -> int | None:
    """`Cancel-After` in seconds: `30`, `30s`, `5m`, `1h30m`. Raises ProblemError 422."""
    if text is None:
        return None
    found = _TIME.fullmatch(text.strip())
    parts = found.groupdict() if found else {}
    seconds = sum(
        int(parts[unit]) * each
        for unit, each in {"h": 3_600, "m": 60, "s": 1}.items()
        if parts.get(unit)
    )
    if seconds not in CANCEL_AFTER_SECONDS:
        raise _wrong("Cancel-After", "must be 5 s to 24 h, such as 90s, 5m or 1h30m")
    return seconds


def idempotency_key_of(text: str | None) -> str | None:
    """`Idempotency-Key`, without the quotes of the IETF's draft. Raises ProblemError 422."""
    if text is None:
        return None
    bare = text[1:-1] if len(text) > 1 and text[0] == text[-1] == '"' else text
    if not _KEY.fullmatch(bare) or len(bare) > MAX_KEY_CHARACTERS:
        limit = f"must be 1 to {MAX_KEY_CHARACTERS} visible ASCII characters; a UUID is best"
        raise _wrong("Idempotency-Key", limit)
    return bare


def correlation_id_of(text: str | None) -> str | None:
    """`X-Correlation-ID` when it is a UUID; what else it may be is not ours, and is passed over."""
    try:
        return str(UUID((text or "").strip()))
    except ValueError:
        return None


def _wrong(header: str, message: str) -> ProblemError:
    return invalid([FieldError(field=header, rule="header", message=message)])
