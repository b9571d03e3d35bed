"""Asking a provider, for free, whether it would serve us: a look-up that needs the key.

What is found is a value, never an error. Another service that is asked by HTTP is a row of
`_LOOK_UPS`; one that is not brings a `Probe` of its own to `ProbeActivities`.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import NamedTuple

import httpx
from pydantic import SecretStr
from temporalio import activity

from activities.errors import without
from activities.http import Answer, TooLargeError, call
from activities.providers.errors import parsed
from contracts.generation import MAX_DETAIL_CHARACTERS
from contracts.health import Probed, ProbeTask
from contracts.names import PROBE_ACTIVITY

TIMEOUT_SECONDS = 10.0
"""For a look-up; a service that needs longer would not serve us either."""

MAX_ANSWER_BYTES = 4 * 1024 * 1024
"""A list of models; a service that hosts everybody's has thousands."""

Probe = Callable[[], Awaitable[Probed]]
"""Asks one provider. Raises nothing."""


class _LookUp(NamedTuple):
    """`read` looks for trouble in a success: what is found, and what to do."""

    path: str
    headers: Mapping[str, str]
    read: Callable[[Answer], tuple[str, str] | None]


def _openai(key: str) -> _LookUp:
    return _LookUp("/v1/models", {"Authorization": f"Bearer {key}"}, lambda _: None)


def _flux(key: str) -> _LookUp:
    return _LookUp("/v1/credits", {"x-key": key}, _without_credits)


_LOOK_UPS: Mapping[str, Callable[[str], _LookUp]] = {"openai": _openai, "flux": _flux}


class ProbeActivities:
    """Every provider of the settings, by name."""

    def __init__(self, probes: Mapping[str, Probe]) -> None:
        self._probes = probes

    @activity.defn(name=PROBE_ACTIVITY)
    async def probe_provider(self, task: ProbeTask) -> Probed:
        """Ask it once. Raises nothing: what is wrong is the result."""
        ask = self._probes.get(task.provider)
        if ask is None:
            return Probed(found="not in the settings", unknown=True)
        return await ask()


async def probe(
    http: httpx.AsyncClient, name: str, kind: str, base_url: str, api_key: SecretStr
) -> Probed:
    """Ask the provider `name`, within 10 s. Raises nothing; the key is in no text."""
    if kind not in _LOOK_UPS:
        return Probed(found=f"{base_url} (there is no free look-up of kind {kind})")
    key = api_key.get_secret_value()
    look_up = _LOOK_UPS[kind](key)
    where = f"providers.{name}.base_url"
    try:
        answer = await call(
            http,
            "GET",
            base_url.rstrip("/") + look_up.path,
            timeout_seconds=TIMEOUT_SECONDS,
            max_bytes=MAX_ANSWER_BYTES,
            headers=look_up.headers,
        )
    except TimeoutError:
        mend = f"look at the service's status page, and check {where}"
        return Probed(found=f"{base_url} did not answer in time", mend=mend)
    except TooLargeError as error:
        return Probed(found=f"{base_url} {error}", mend=f"check {where}")
    except (UnicodeEncodeError, httpx.LocalProtocolError):  # their texts hold the header
        mend = f"set a valid key: providers.{name}.api_key"
        return Probed(found=f"{base_url} cannot be asked with this key", mend=mend)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        reason = without(key, str(error) or type(error).__name__)[:MAX_DETAIL_CHARACTERS]
        mend = f"check {where} and that the service is up"
        return Probed(found=f"{base_url} cannot be reached ({reason})", mend=mend)
    return _read(answer, name, base_url, look_up)


def _read(answer: Answer, name: str, base_url: str, look_up: _LookUp) -> Probed:
    status, table = answer.status, f"providers.{name}"
    if status in {401, 403}:
        mend = f"set a valid key: {table}.api_key"
        return Probed(found=f"{base_url} refuses the key", mend=mend)
    if status in {404, 405}:  # a compatible server may lack the look-up
        return Probed(found=f"{base_url} answers; it has no way to check the key")
    if status == 200 and answer.content_type == "text/html":
        return Probed(found=f"{base_url} answers with a web page", mend=f"check {table}.base_url")
    if status == 200:
        found, mend = look_up.read(answer) or ("", "")
        return Probed(found=f"{base_url} takes the key{found}", mend=mend, key_taken=True)
    if 300 <= status < 400:
        mend = f"check {table}.base_url: the service is elsewhere"
    elif status == 402:
        mend = "pay the account's bill, or top it up"
    elif status == 429:
        mend = f"look at the account's limits; {table}.submissions_per_second keeps within them"
    else:
        mend = "look at the service's status page"
    return Probed(found=f"{base_url} answered {status}", mend=mend)


def _without_credits(answer: Answer) -> tuple[str, str] | None:
    body = parsed(answer)
    left = body.get("credits") if isinstance(body, dict) else None
    if isinstance(left, int | float) and not isinstance(left, bool) and left <= 0:
        return f"; the account has {left:g} credits", "top up the account"
    return None
