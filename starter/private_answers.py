"""Headers that every answer has: nobody keeps it, and no browser guesses what it is."""

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

ON_EVERY_ANSWER = {
    # States, outcomes, decrypted prompts are for the one who asked, not for a proxy's memory.
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
}


class PrivateAnswers:
    """Adds the headers that are missing."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and its answer with the headers."""

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in ON_EVERY_ANSWER.items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, with_headers)
