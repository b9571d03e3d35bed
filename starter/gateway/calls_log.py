"""One line of the log for each call of somebody with a key: who, what, and how it was answered."""

import logging

from starlette.types import ASGIApp, Message, Receive, Scope, Send

logger = logging.getLogger(__name__)


class CallsLog:
    """Writes the line when the answer begins, so that it is there when the caller has it.

    `request.state` says what it holds: `caller_name` (without one there is no line), `request_id`,
    and `problem`, the name of what was answered when it was refused.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        scope.setdefault("state", {})

        async def noted(message: Message) -> None:
            if message["type"] == "http.response.start":
                _write(scope, message["status"])
            await send(message)

        try:
            await self._app(scope, receive, noted)
        except Exception:
            _write(scope, 500)  # answered further out
            raise


def _write(scope: Scope, status: int) -> None:
    known = scope["state"]
    if "caller_name" not in known:
        return
    said = {"caller": known["caller_name"], "status": status}
    if "request_id" in known:
        said["requestId"] = str(known["request_id"])
    if "problem" in known:
        said["problem"] = known["problem"]
    logger.info("%s %s", scope["method"], scope["route"].path_format, extra=said)
