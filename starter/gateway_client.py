"""Generations over the HTTP gateway, for those without access to Temporal.

The same methods and errors as `client.py`, which must lie beside this file; the sibling import is
relative so that an addon may carry the two together.
"""

import http.client
import json
import math
import time
import urllib.error
import urllib.request
import uuid
from contextlib import suppress
from typing import Any, NoReturn

from .client import (
    ATTEMPT_SECONDS,
    CONNECTION_SECONDS,
    RETRY_SECONDS,
    WORKFLOW_ID_PREFIX,
    ConflictError,
    Event,
    LimitedError,
    NotFinishedError,
    NotFoundError,
    SetupError,
    Started,
    TooLargeError,
    UnauthorizedError,
    UnavailableError,
    ValidationError,
    canonical,
    connection_task,
    image_of,
    normalized,
    traced,
    webhook_task,
    workflow_id_of,
)

FINAL_STATES = frozenset({"completed", "failed", "canceled", "abandoned"})
POLL_SECONDS = 1.0
AWAY = frozenset({429, 502, 503, 504})
MAX_ANSWER_BYTES = 1_000_000
PROBLEM = "urn:duragen:problem:"
BELIEVED = frozenset({400, 404, 409, 413, 415, 422})
"""Answers that decide about a request: they count only when the gateway itself gave them."""


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect would carry the key to whoever it points at, and turn a POST into a GET."""

    def redirect_request(self, *_: object) -> None:
        """Follow none; the 3xx becomes an error like any other."""


_opener = urllib.request.build_opener(_NoRedirect)


class GatewayClient:
    """Generations over the HTTP gateway: the same methods and errors, with an address and a key.

    `status` returns what the gateway's GET answers, which lacks `activities` and `live`.
    """

    def __init__(
        self,
        url: str,
        key: str,
        *,
        timeout: float = ATTEMPT_SECONDS,
        retry_seconds: tuple[float, ...] = RETRY_SECONDS,
    ) -> None:
        if not url.startswith(("http://", "https://")):
            fault = {"field": "url", "rule": "url", "message": "must be an http or https URL"}
            raise ValidationError([fault])
        self._url = url.rstrip("/") + "/v1/generations"
        self._webhooks_url = url.rstrip("/") + "/v1/webhook-deliveries"
        self._connection_url = url.rstrip("/") + "/v1/connection-test"
        self._key = key
        self._timeout = timeout
        self._retry_seconds = retry_seconds

    def start(self, event: Event) -> Started:
        """See AsyncDuragenClient.start."""
        event = normalized(event)
        with traced(event) as carrier:
            answer = self._call("POST", "", canonical(event), carrier)
        names = ("requestId", "workflowId", "runId", "created")
        return Started(*(answer[name] for name in names))

    def status(self, request_id: str, *, ask_worker: bool = True) -> dict[str, Any]:  # noqa: ARG002
        """See AsyncDuragenClient.status; whether to ask a worker is the gateway's own choice."""
        return self._call("GET", "/" + self._id(request_id))

    def cancel(self, request_id: str) -> bool:
        """See AsyncDuragenClient.cancel."""
        answer = self._call("DELETE", "/" + self._id(request_id))
        return bool(answer["cancelRequested"])

    def redeliver(self, request_id: str) -> None:
        """See AsyncDuragenClient.redeliver."""
        self._call("POST", f"/{self._id(request_id)}/redeliver")

    def start_webhook(self, delivery: Event) -> bool:
        """See AsyncDuragenClient.start_webhook."""
        webhook_task(delivery)  # raises
        given = {name: value for name, value in delivery.items() if value is not None}
        answer = self._call("POST", "", canonical(given), url=self._webhooks_url)
        return bool(answer["created"])

    def test_connection(self, test: Event) -> dict[str, Any]:
        """See AsyncDuragenClient.test_connection."""
        connection_task(test)  # raises
        given = {name: value for name, value in test.items() if value is not None}
        body = canonical(given)
        found = self._call("POST", "", body, url=self._connection_url, extra=CONNECTION_SECONDS)
        if not _is_report(found):
            raise SetupError(f"{self._connection_url} answers no report: has it this version?")
        return found

    def ping(self) -> None:
        """Return when the gateway answers and takes our key; raise what `start` would."""
        with suppress(NotFoundError):  # no generation has this id; a wrong key gets 401
            self.status(str(uuid.UUID(int=0)))

    def result(self, request_id: str, timeout: float | None = None) -> dict[str, Any]:
        """See AsyncDuragenClient.result."""
        deadline = math.inf if timeout is None else time.monotonic() + timeout
        while True:
            status = self.status(request_id)
            if status["state"] in FINAL_STATES:
                return image_of(status)
            if time.monotonic() + POLL_SECONDS > deadline:
                raise NotFinishedError(f"{request_id} goes on after {timeout} s")
            time.sleep(POLL_SECONDS)

    @staticmethod
    def _id(request_id: str) -> str:
        # Whose it is follows from the key: the gateway takes the request's id alone.
        return workflow_id_of(request_id)[len(WORKFLOW_ID_PREFIX) :].partition(".")[0]

    def _call(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Event | None = None,
        *,
        url: str = "",
        extra: float = 0,
    ) -> dict[str, Any]:
        address = (url or self._url) + path
        request = urllib.request.Request(address, body, method=method)  # noqa: S310
        all_headers = {"Authorization": f"Bearer {self._key}", "Content-Type": "application/json"}
        for name, value in {**all_headers, **(headers or {})}.items():
            request.add_header(name, value)
        for pause in (*self._retry_seconds, None):
            try:
                with _opener.open(request, timeout=self._timeout + extra) as answer:
                    return _answer_of(answer.read(MAX_ANSWER_BYTES))
            except urllib.error.HTTPError as error:
                with error:
                    if error.code not in AWAY or pause is None:
                        _raise_for(error)
            except (OSError, http.client.HTTPException, ValueError) as error:
                # No server, a broken connection, or an answer that is not the gateway's.
                if pause is None:
                    raise UnavailableError(f"cannot reach {self._url}: {error}") from error
            time.sleep(pause)
        raise AssertionError  # the loop ends by return or raise


def _answer_of(raw: bytes) -> dict[str, Any]:
    found = json.loads(raw)
    if not isinstance(found, dict) or "workflowId" not in found:
        raise ValueError("this is not a gateway's answer")
    return found


def _is_report(found: dict[str, Any]) -> bool:
    lists = [found.get(n) for n in ("missingAttributes", "unservedQueues", "unknownModels")]
    callback = found.get("callback")
    return (
        all(isinstance(each, list) and all(isinstance(e, str) for e in each) for each in lists)
        and isinstance(found.get("createAttributes"), str)
        and isinstance(found.get("answered"), bool)
        and isinstance(callback, dict)
        and (callback.get("ok") is None or isinstance(callback["ok"], bool))
        and isinstance(callback.get("detail"), str)
    )


def _raise_for(error: urllib.error.HTTPError) -> NoReturn:
    try:
        problem = json.loads(error.read(MAX_ANSWER_BYTES))
        text = str(problem.get("detail") or problem.get("title") or error)
        kind_of_problem = str(problem.get("type"))
    except (OSError, ValueError, AttributeError):  # a proxy's page, not a problem document
        problem, text, kind_of_problem = {}, str(error), ""
    ours = kind_of_problem.startswith(PROBLEM) and kind_of_problem != PROBLEM + "no_such_path"
    if error.code in BELIEVED and not ours:
        # A proxy without its gateway says 404 to everything: that does not mean a lost generation.
        raise SetupError(f"{error.url} answered {error.code}, but not as the gateway does")
    if error.code in {400, 413, 415, 422}:
        kind = TooLargeError if error.code == 413 else ValidationError
        fault = {"field": "event", "rule": str(error.code), "message": text}
        raise kind(problem.get("errors") or [fault])
    plain = {401: UnauthorizedError, 403: UnauthorizedError, 404: NotFoundError, 409: ConflictError}
    if error.code == 429:
        raise LimitedError(text)
    if error.code in AWAY:
        raise UnavailableError(text)
    raise plain.get(error.code, SetupError)(text)
