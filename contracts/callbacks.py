"""Where an outcome may go: the allow list of origins and of the paths at each.

An outcome carries a bearer token, a signature and a link to the image. A path that somebody else
serves at an allowed origin must get none of them.
"""

import re
from collections.abc import Collection, Mapping

from contracts.events import origin_of

CALLBACK_PATHS = (
    "/duragen/v1/callback",
    # spec: generation-failure.sequence, step 4; event-driven-architecture, Callback API
    "/influencegen/n8ncallback/aiimage",
    "/api/v1/influencegen/ai-image-callback",
)
"""The routes of the addon for Odoo: what a setting that is left out allows."""

WEBHOOKS_PATH = "/duragen/v1/webhooks"
"""The addon's route for webhooks to API users: what to send, and what came of it."""

# RFC 3986, 2.3, the unreserved characters: all that no software reads in a second way.
_PATH = r"(?:/[A-Za-z0-9._~-]+)*/?"
_PLAIN_PATH = re.compile(_PATH)
_PLAIN_URL = re.compile(rf"(?i:https?)://[A-Za-z0-9._:\[\]-]+({_PATH})", re.ASCII)
_DOTS = frozenset({".", ".."})


def callback_fault(url: str, allowed: Mapping[str, Collection[str]]) -> str | None:
    """Why no outcome may go to `url`; None when it may.

    `allowed` has the path prefixes of each origin, both as the settings' types make them; a prefix
    matches whole segments, and `/` is every path. Spellings that two programs could read in two
    ways are refused, not normalized: a query, a fragment, a user name, an escape, a parameter, an
    empty segment, a backslash, two dots. The text names what is wrong and the setting that allows
    it, and quotes nothing but plain characters.
    """
    match = _PLAIN_URL.fullmatch(url)
    if match is None or _DOTS & set(match[1].split("/")):
        return (
            "callbackUrl must be scheme://host[:port]/path of letters, digits, - . _ ~ alone,"
            " without a query or a fragment"
        )
    try:
        origin = origin_of(url)
    except ValueError:  # a port or an address that is none
        return "callbackUrl has a host or a port that cannot be called"
    if origin not in allowed:
        return (
            f"callbackUrl is at {origin[:300]}, which is not on the allow list: add it to the"
            " settings' [[odoo]]"
        )
    if any(_is_below(match[1], prefix) for prefix in allowed[origin]):
        return None
    return (
        f"callbackUrl has the path {match[1][:300] or '/'}, which is not on the allow list of"
        f" {origin}: add it to callback_paths of its [[odoo]]"
    )


def plain_path(text: str) -> str:
    """A path prefix of the settings, without a slash at its end. Raises ValueError."""
    if not text.startswith("/") or not _PLAIN_PATH.fullmatch(text) or _DOTS & set(text.split("/")):
        raise ValueError("must be a path such as /duragen/v1/callback: letters, digits, - . _ ~ /")
    return text.rstrip("/") or "/"


def _is_below(path: str, prefix: str) -> bool:
    return prefix in {"/", path} or path.startswith(f"{prefix}/")
