"""The one translator from what happened on the wire to the taxonomy, used by every adapter.

A vendor's way of wording its refusals is data (`Dialect`). The vendor's code decides first. Where
there is none, a small table of the dialect's own phrases decides, which may move blame off the
user, never onto them; then the dialect's table of statuses, then the common one.
"""

import re
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import httpx

from activities.errors import ProviderError
from contracts.errors import ErrorCode
from contracts.generation import Route
from contracts.tasks import SubmitTask
from peers.addresses import AddressError
from peers.bodies import BodyError
from peers.http import Answer, parsed, retry_after_seconds

_COMMON_STATUSES: Mapping[int, ErrorCode] = {
    400: ErrorCode.INVALID_INPUT,
    401: ErrorCode.AUTH_CONFIG,
    402: ErrorCode.QUOTA_EXHAUSTED,
    403: ErrorCode.AUTH_CONFIG,
    404: ErrorCode.MODEL_CONFIG,
    405: ErrorCode.MODEL_CONFIG,
    407: ErrorCode.AUTH_CONFIG,
    408: ErrorCode.PROVIDER_TIMEOUT,
    409: ErrorCode.PROVIDER_UNAVAILABLE,
    413: ErrorCode.INVALID_INPUT,
    422: ErrorCode.INVALID_INPUT,
    425: ErrorCode.PROVIDER_UNAVAILABLE,
    429: ErrorCode.RATE_LIMITED,
    504: ErrorCode.PROVIDER_TIMEOUT,
    524: ErrorCode.PROVIDER_TIMEOUT,
}

_SAFE_PARAMETER = re.compile(r"[A-Za-z_][\w.\[\]]{0,39}", re.ASCII)


class Refusal(NamedTuple):
    """What an error body says, as far as it says it."""

    code: str | None = None
    message: str | None = None
    parameter: str | None = None
    """The request's field that is at fault; shown to the user."""


class Phrase(NamedTuple):
    """How services word one refusal for which they have no code; `source` is where it was seen.

    `code` is never a user's: words alone blame nobody who pays.
    """

    pattern: re.Pattern[str]
    code: ErrorCode
    source: str


class Dialect(NamedTuple):
    """How one vendor refuses: how its body is read, and what its codes and statuses mean."""

    name: str
    read: Callable[[Any], Refusal]
    codes: Mapping[str, ErrorCode] = {}
    statuses: Mapping[int, ErrorCode] = {}
    phrases: tuple[Phrase, ...] = ()
    lost: re.Pattern[str] | None = None
    """How a gateway words that it has lost the reply of the service behind it."""
    quoted: bool = True
    """False for what is behind a link: nothing of what was found there is repeated."""
    users_fields: frozenset[str] = frozenset()
    """The fields of its body that hold what the user asked for; all others are our settings'."""


def phrase(pattern: str, code: ErrorCode, source: str) -> Phrase:
    """A row of a dialect's table; capitals do not matter."""
    return Phrase(re.compile(pattern, re.IGNORECASE), code, source)


def refused(answer: Answer, dialect: Dialect, task: SubmitTask | None = None) -> ProviderError:
    """An answer that is not a success, as an error of the taxonomy; `task` is what was asked."""
    refusal = _read(answer, dialect)
    code = _blamed(answer, refusal, dialect, task)
    said = " ".join(part for part in (refusal.code, refusal.message) if part)
    said = (
        f" ({answer.content_type or 'no content type'}){_request_id(answer)}:"
        f" {said or _beginning(answer)}"
    )
    return ProviderError(
        code,
        f"{dialect.name} answered {answer.status}{said if dialect.quoted else ''}",
        hint=parameter_hint(refusal.parameter) if code is ErrorCode.INVALID_INPUT else None,
        retry_after=retry_after_seconds(answer.headers),
        perhaps_paid=_may_have_been_made(answer, code, refusal, dialect) or None,
    )


def unreadable(answer: Answer, dialect: Dialect, why: str) -> ProviderError:
    """A success whose body is not what the protocol says; it may have been paid for."""
    return ProviderError(
        ErrorCode.INVALID_OUTPUT,
        f"{dialect.name} answered {answer.status}{_request_id(answer)} with a body that cannot be"
        f" used ({why}): {answer.content_type or 'no content type'}, {_outline(answer)}",
        perhaps_paid=True,
    )


@asynccontextmanager
async def translated(dialect: Dialect, secret: str) -> AsyncIterator[None]:
    """Turn what the transport raises into errors of the taxonomy; keep `secret` out of them."""
    try:
        yield
    except Exception as error:
        found = error_of(error, dialect)
        found.conceal(secret)
        if found is error:
            raise
        raise found from error


def error_of(error: Exception, dialect: Dialect) -> ProviderError:
    """What went wrong below HTTP, as an error of the taxonomy.

    A ProviderError stays as it is; what is neither is raised again.
    """
    match error:
        case ProviderError():
            return error
        # A ProxyError is a proxy's refusal to connect.
        case (
            httpx.ConnectError() | httpx.ConnectTimeout() | httpx.PoolTimeout() | httpx.ProxyError()
        ):
            code, what = ErrorCode.PROVIDER_UNAVAILABLE, f"cannot be reached: {_text(error)}"
        case AddressError():
            code = ErrorCode.MODEL_CONFIG
            what = f"was not asked: {error} (the provider's private_links = true would allow it)"
        case TimeoutError() | httpx.TimeoutException():
            code, what = ErrorCode.PROVIDER_TIMEOUT, "did not answer in time"
        case BodyError():
            code, what = ErrorCode.INVALID_OUTPUT, str(error)
        case httpx.LocalProtocolError() | UnicodeEncodeError():
            # Never with the error's own text: it quotes the header, and the key in it.
            code = ErrorCode.AUTH_CONFIG
            what = "cannot be asked: the API key holds what no header may (a line break?)"
        case httpx.UnsupportedProtocol() | httpx.InvalidURL():
            code = ErrorCode.MODEL_CONFIG
            what = f"cannot be asked: {_text(error)} (base_url and model make the URL)"
        case httpx.TransportError() | httpx.DecodingError():
            # The text of some quotes what is there, which need not be HTTP at all.
            reason = _text(error) if dialect.quoted else type(error).__name__
            code, what = ErrorCode.OUTCOME_UNKNOWN, f"lost the reply: {reason}"
        case _:
            raise error
    # The request may have arrived, or the image was on its way: only the service knows.
    sent = {ErrorCode.PROVIDER_TIMEOUT, ErrorCode.OUTCOME_UNKNOWN, ErrorCode.INVALID_OUTPUT}
    paid = True if code in sent else None
    return ProviderError(code, f"{dialect.name} {what}", perhaps_paid=paid)


def text_of(value: Any) -> str | None:
    """A value of an error body when it is a text."""
    return value if isinstance(value, str) else None


def read_detail(body: dict[str, Any]) -> Refusal:
    """`{"detail": "…"}` or `{"detail": [{"loc": […], "msg": "…"}]}`, as FastAPI servers answer."""
    detail = body.get("detail")
    if isinstance(detail, list) and detail and isinstance(detail[0], dict):
        # ["body", "guidance_scale", "float"]: where it stands, the field, and what is beneath it.
        where = detail[0].get("loc")
        path = [part for part in where if part != "body"] if isinstance(where, list) else []
        return Refusal(None, text_of(detail[0].get("msg")), text_of(next(iter(path), None)))
    return Refusal(None, text_of(detail) or text_of(body.get("message")))


_GAVE_UP_WAITING = frozenset({408, 499, 504, 524})
"""Something between us and the service waited for it in vain; it may still make the image, and
charge for it. RFC 9110, 15.6.5; nginx (499) and Cloudflare (524); LiteLLM says 408 of its peer."""

_LOST_IT = frozenset({502, 520})
"""The same, when it is not the service's own word: what stood behind it broke off. RFC 9110,
15.6.3; Cloudflare (520; its 521 to 523, 525 and 526 say that the service was never reached)."""


def _may_have_been_made(
    answer: Answer, code: ErrorCode, refusal: Refusal, dialect: Dialect
) -> bool:
    """Whether an image may have been made, and paid for, although the answer is a refusal."""
    if code is ErrorCode.POLICY_OUTPUT:
        return True  # it was looked at, so it was there
    if answer.status < 300:
        return code is ErrorCode.INVALID_OUTPUT  # neither an image nor an error that is known
    if dialect.lost and dialect.lost.search(refusal.message or ""):
        return True
    own_words = refusal.code is not None or refusal.message is not None
    return answer.status in _GAVE_UP_WAITING or (answer.status in _LOST_IT and not own_words)


def _read(answer: Answer, dialect: Dialect) -> Refusal:
    body = parsed(answer)
    return dialect.read(body) if isinstance(body, dict) else Refusal()


def _blamed(
    answer: Answer, refusal: Refusal, dialect: Dialect, task: SubmitTask | None
) -> ErrorCode:
    """Whose fault it is."""
    code = dialect.codes.get(refusal.code or "")
    if code is None:
        said, asked = refusal.message or "", task.request.prompt if task else ""
        # A message may quote the prompt: what stands there, too, is not the service's word.
        phrases = (p for p in dialect.phrases if not p.pattern.search(asked))
        found = (p.code for p in phrases if p.pattern.search(said))
        by_status = _by_status(answer.status, dialect)
        # A service in trouble is in trouble, whatever else it says.
        code = by_status if answer.status >= 500 else next(found, by_status)
    if code is ErrorCode.INVALID_INPUT and _is_ours(
        refusal.parameter, dialect, task.route if task else None
    ):
        return ErrorCode.MODEL_CONFIG
    return code


def _is_ours(parameter: str | None, dialect: Dialect, route: Route | None) -> bool:
    """Whether the field at fault is one that our settings set, and not the user."""
    if parameter is None or not dialect.users_fields:
        return False
    named = set(re.split(r"[.\[\]]+", parameter))
    set_by_route = named & set(route.parameters) if route else set()
    return bool(set_by_route) or not named & dialect.users_fields


def _by_status(status: int, dialect: Dialect) -> ErrorCode:
    code = dialect.statuses.get(status) or _COMMON_STATUSES.get(status)
    if code:
        return code
    if 300 <= status < 400:  # never followed: base_url points at the wrong place
        return ErrorCode.MODEL_CONFIG
    if status < 300:  # an error in the place of the image
        return ErrorCode.INVALID_OUTPUT
    return ErrorCode.PROVIDER_UNAVAILABLE if status >= 500 else ErrorCode.INTERNAL


def parameter_hint(parameter: str | None) -> str | None:
    """What the user may read of the parameter at fault; None when it is not fit to be shown."""
    return f"Check: {parameter}." if _SAFE_PARAMETER.fullmatch(parameter or "") else None


def _request_id(answer: Answer) -> str:
    request_id = answer.headers.get("x-request-id", "")[:80]
    return f" [x-request-id {request_id}]" if request_id else ""


def _beginning(answer: Answer) -> str:
    if not answer.body:
        return "an empty body"
    start = answer.body[:160].decode("utf-8", "replace")
    return f"{len(answer.body)} bytes beginning {start!r}"


def _outline(answer: Answer) -> str:
    # A success in JSON may hold the prompt and a link that is as good as a key: its fields only.
    body = parsed(answer)
    if isinstance(body, dict):
        return f"{len(answer.body)} bytes of JSON with {', '.join(sorted(body))[:100]}"
    return _beginning(answer)


def _text(error: Exception) -> str:
    return str(error) or type(error).__name__
