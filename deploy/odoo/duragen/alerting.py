"""Sending alerts to Alertmanager's v2 API, `POST {address}/api/v2/alerts`.

spec: error-handling.sequence, 10.1. This module imports nothing of Odoo. No error quotes the token,
an answer, or the address, which may hold a password.
"""

import http.client
import json
import urllib.error
import urllib.request

from .fetching import opener

SECONDS = 3.0
"""For each step on the network. Alertmanager answers from memory, and a cron waits for it."""


class AlertingError(Exception):
    """Alertmanager did not take the alerts, or its address is wrong."""


def send(address, token, alerts, seconds=SECONDS):
    """Raise and end alerts; doing it twice is as doing it once. Raises AlertingError."""
    _call(address, token, "alerts", json.dumps(alerts).encode(), seconds)


def check(address, token, seconds=SECONDS):
    """Return when Alertmanager answers there and takes our token. Raises AlertingError."""
    _call(address, token, "status", None, seconds)


def _call(address, token, name, body, seconds):
    if not address.startswith(("http://", "https://")):
        raise AlertingError("its address must begin with http:// or https://")
    headers = {"Content-Type": "application/json"}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    try:
        url = f"{address.rstrip('/')}/api/v2/{name}"
        request = urllib.request.Request(url, body, headers)  # noqa: S310  # checked above
        with opener().open(request, timeout=seconds) as answer:
            status = answer.status
    except urllib.error.HTTPError as error:
        with error:
            status = error.code
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise AlertingError(f"it cannot be reached: {type(error).__name__}") from None
    if not 200 <= status < 300:
        raise AlertingError(f"it answered {status}")
