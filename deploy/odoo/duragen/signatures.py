"""Checks who calls back: a bearer token, a Standard Webhooks signature, or both if both are set.

Signs webhooks to API users in the same way.

Of each there may be two while they are being changed: the current one and the previous one.

The signature is checked by hand (HMAC-SHA256 over `id.timestamp.body`), so that Odoo needs no
further package for it. spec: standardwebhooks.com, Verifying webhook authenticity.
"""

import base64
import binascii
import hashlib
import hmac
import time

TOLERANCE_SECONDS = 300
"""How far a message's timestamp may lie off: the replay window of Standard Webhooks."""

MESSAGE_HEADERS = ("webhook-id", "webhook-timestamp", "webhook-signature")

LEAST_KEY_BYTES = 16
"""Standard Webhooks makes keys of 24 to 64 bytes; a shorter one could be guessed."""


class UnauthorizedError(Exception):
    """Why the caller is not believed; the caller may read it."""


def check_headers(headers, tokens, secrets, now=None):
    """Return when the caller may be Duragen, as far as can be said before the body is there.

    With a token set, only who has one gets further. Raises UnauthorizedError.
    """
    if not tokens and not secrets:
        raise UnauthorizedError("callbacks are not set up: set a token or a signing secret")
    if tokens and not _is_one_of(
        headers.get("Authorization", ""), [f"Bearer {token}" for token in tokens]
    ):
        raise UnauthorizedError("the bearer token is missing or wrong")
    if secrets:
        _check_stamp(headers, time.time() if now is None else now)


def check_message(headers, body, secrets):
    """Return when a message of a broker is Duragen's, however old it is. Raises UnauthorizedError.

    A queue may hold it for days; an outcome that comes again changes nothing.
    """
    given = [headers.get(name) for name in MESSAGE_HEADERS]
    if not all(text and isinstance(text, str) for text in given):
        raise UnauthorizedError(f"one of {', '.join(MESSAGE_HEADERS)} is missing")
    _check_signature(headers, body, secrets)


def check(headers, body, tokens, secrets, now=None):
    """Return when the caller is Duragen. Raises UnauthorizedError.

    `headers` is a mapping that ignores case, `body` the raw bytes; any of `tokens` and any of
    `secrets` will do. Where there are both, both are demanded; without any no caller is believed.
    """
    check_headers(headers, tokens, secrets, now)
    if secrets:
        _check_signature(headers, body, secrets)


def _is_one_of(given, expected):
    # All are compared, and each in constant time: how long it takes reveals nothing.
    same = [hmac.compare_digest(given.encode(), each.encode()) for each in expected]
    return any(same)


def _check_stamp(headers, now):
    stamp = headers.get("webhook-timestamp", "")
    given = headers.get("webhook-id") and headers.get("webhook-signature")
    if not given or not (stamp.isascii() and stamp.isdigit()):
        raise UnauthorizedError("webhook-id, webhook-timestamp or webhook-signature is missing")
    if abs(now - int(stamp[:15])) > TOLERANCE_SECONDS:
        raise UnauthorizedError("webhook-timestamp is more than five minutes off")


def _check_signature(headers, body, secrets):
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    digests = [hmac.digest(key_of(secret), signed, hashlib.sha256) for secret in secrets]
    expected = [base64.b64encode(digest).decode() for digest in digests]
    # Several may be given while a secret is being changed: "v1,… v1,…".
    for each in headers["webhook-signature"].split():
        version, _, signature = each.partition(",")
        if version == "v1" and _is_one_of(signature, expected):
            return
    raise UnauthorizedError("the signature is wrong")


def signed(message_id, body, secrets, now=None):
    """The headers of Standard Webhooks for a body (bytes); every secret signs."""
    stamp = str(int(time.time() if now is None else now))
    content = f"{message_id}.{stamp}.".encode() + body
    digests = [hmac.digest(key_of(secret), content, hashlib.sha256) for secret in secrets]
    signatures = " ".join(f"v1,{base64.b64encode(digest).decode()}" for digest in digests)
    return {
        "webhook-id": message_id,
        "webhook-timestamp": stamp,
        "webhook-signature": signatures,
    }


def key_of(secret):
    """The bytes of a `whsec_…` secret. Raises UnauthorizedError when it is not one."""
    try:
        key = base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    except (binascii.Error, ValueError):
        raise UnauthorizedError("the signing secret in the settings is not base64") from None
    if len(key) < LEAST_KEY_BYTES:
        raise UnauthorizedError(f"the signing secret has fewer than {LEAST_KEY_BYTES} bytes")
    return key
