"""Requests as callers spell them: a slash after the path, HEAD for GET."""

from starlette.types import ASGIApp, Receive, Scope, Send


class OneSpelling:
    """`/x/` is `/x`, and HEAD is GET: each path has one route, and one operation in OpenAPI.

    A redirect from one spelling to the other would lose the body or the key, and behind a proxy
    that ends TLS it would point to plain http.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on in its usual spelling."""
        if scope["type"] == "http":
            path = scope["path"].rstrip("/") or "/"
            # A copy: in the server's own scope HEAD stays, so it sends the headers alone.
            method = "GET" if scope["method"] == "HEAD" else scope["method"]
            scope = {**scope, "path": path, "method": method}
        await self._app(scope, receive, send)
