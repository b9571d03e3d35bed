"""Every error of ours becomes Temporal's with a code, and every error below is mapped."""

from collections.abc import Iterator
from datetime import timedelta

import httpx
import pytest

from activities.errors import OdooError, ProviderError
from activities.providers.errors import translated
from activities.providers.openai_dialect import OPENAI
from contracts.errors import TAXONOMY, DeliveryError, ErrorCode
from contracts.generation import Failure
from peers.bodies import EncodingError, TooLargeError
from peers.redaction import redact
from tests.activities.provider_calls import KEY, refusal

MAPPED: dict[type[Exception], str] = {
    TimeoutError: "PROVIDER_TIMEOUT",
    TooLargeError: "INVALID_OUTPUT",
    EncodingError: "INVALID_OUTPUT",
    httpx.ConnectError: "PROVIDER_UNAVAILABLE",
    httpx.ConnectTimeout: "PROVIDER_UNAVAILABLE",
    httpx.PoolTimeout: "PROVIDER_UNAVAILABLE",
    httpx.ReadTimeout: "PROVIDER_TIMEOUT",
    httpx.WriteTimeout: "PROVIDER_TIMEOUT",
    httpx.ReadError: "OUTCOME_UNKNOWN",
    httpx.WriteError: "OUTCOME_UNKNOWN",
    httpx.CloseError: "OUTCOME_UNKNOWN",
    httpx.RemoteProtocolError: "OUTCOME_UNKNOWN",
    httpx.ProxyError: "PROVIDER_UNAVAILABLE",
    httpx.DecodingError: "OUTCOME_UNKNOWN",
    httpx.LocalProtocolError: "AUTH_CONFIG",
    httpx.UnsupportedProtocol: "MODEL_CONFIG",
    httpx.InvalidURL: "MODEL_CONFIG",
}


def leaves(parent: type[Exception]) -> Iterator[type[Exception]]:
    """The classes that are really raised: those without classes below them."""
    below = parent.__subclasses__()
    if not below:
        yield parent
    for child in below:
        yield from leaves(child)


def test_nothing_of_httpx_is_forgotten() -> None:
    """A class that a later httpx adds fails here until somebody has decided what it means."""
    raised = set(leaves(httpx.TransportError)) | {httpx.DecodingError, httpx.InvalidURL}
    assert raised == {kind for kind in MAPPED if kind.__module__.startswith("httpx")}


@pytest.mark.parametrize(("kind", "code"), MAPPED.items())
async def test_mapped(kind: type[Exception], code: str) -> None:
    """Each class below has its code, and only a lost reply leaves the payment open."""

    async def fail() -> None:
        async with translated(OPENAI, KEY):
            raise kind("boom")

    error = await refusal(fail())
    assert error.failure.code == code
    lost = {"PROVIDER_TIMEOUT", "OUTCOME_UNKNOWN", "INVALID_OUTPUT"}
    assert bool(error.perhaps_paid) == (code in lost)


async def test_a_mistake_of_ours_is_not_disguised() -> None:
    """What no table maps stays what it is: it must be seen, and fixed."""

    async def fail() -> None:
        async with translated(OPENAI, KEY):
            raise KeyError("a mistake")

    with pytest.raises(KeyError, match="a mistake"):
        await fail()


@pytest.mark.parametrize("code", list(ErrorCode))
@pytest.mark.parametrize("final", [False, True])
def test_provider_error_for_temporal(code: ErrorCode, *, final: bool) -> None:
    """Type, retry and category come from the taxonomy; `final` forbids what it would allow."""
    error = ProviderError(code, "x" * 5_000, hint="h", retry_after=2.5, final=final)
    made = error.to_application_error()
    rule = TAXONOMY[code]
    assert (made.type, made.non_retryable) == (code, final or not rule.retry)
    assert made.next_retry_delay == timedelta(seconds=2.5)
    assert (made.category.name == "BENIGN") == (rule.kind == "user")
    assert made.details == (Failure(code=code, detail="x" * 1_000, hint="h"),)


@pytest.mark.parametrize("code", list(DeliveryError))
def test_odoo_error_for_temporal(code: DeliveryError) -> None:
    """A refusal is parked at once, an Odoo that is away is tried again."""
    made = OdooError(code, "x" * 5_000).to_application_error()
    assert (made.type, made.non_retryable) == (code, code == "ODOO_REFUSED")
    assert made.next_retry_delay is None
    assert len(made.message) == 1_000


@pytest.mark.parametrize(
    ("secret", "text", "left"),
    [
        ("0123456789", "key 0123456789!", "key [secret]!"),
        ("0123456789", "cut: 01234567", "cut: [secret]"),
        ("0123456789", "0123456 is too short to tell", "0123456 is too short to tell"),
        ("abc", "abcabc", "[secret][secret]"),
        ("", "nothing is secret", "nothing is secret"),
    ],
)
def test_without_a_secret(secret: str, text: str, left: str) -> None:
    """A secret is taken out, also its beginning where the text was cut."""
    assert redact(secret, text) == left
