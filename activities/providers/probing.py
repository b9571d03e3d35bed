"""Asking a provider, for free, whether it would serve us: a look-up that needs the key.

What is found is a value, never an error. A kind that is asked by HTTP names its `LookUp`; another
one brings a probe of its own (`ProviderKind.probe`).
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import NamedTuple

import httpx
from pydantic import SecretStr
from temporalio import activity

from contracts.generation import MAX_DETAIL_CHARACTERS
from contracts.names import PROBE_ACTIVITY
from contracts.provider_health import Probed, ProbeTask
from peers.http import Answer, TooLargeError, call
from peers.redaction import redact

TIMEOUT_SECONDS = 10.0
"""For a look-up; a service that needs longer would not serve us either."""

MAX_ANSWER_BYTES = 4 * 1024 * 1024
"""A list of models; a service that hosts everybody's has thousands."""

Probe = Callable[[], Awaitable[Probed]]
"""Asks one provider. Raises nothing."""


def _nothing(_: Answer) -> tuple[str, str] | None:
    """Stand-in for a look-up whose success says all."""
    return None


class LookUp(NamedTuple):
    """A free call that needs the key: its address, and the headers with the key.

    `read` looks for trouble in a success: what is found, and what to do.
    """

    url: str
    headers: Mapping[str, str]
    read: Callable[[Answer], tuple[str, str] | None] = _nothing


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


async def probe_by_look_up(
    http: httpx.AsyncClient,
    name: str,
    base_url: str,
    api_key: SecretStr,
    look_up: LookUp,
    *,
    timeout_seconds: float = TIMEOUT_SECONDS,
) -> Probed:
    """Ask the provider `name`. Raises nothing; the key is in no text."""
    key = api_key.get_secret_value()
    where = f"providers.{name}.base_url"
    try:
        answer = await call(
            http,
            "GET",
            look_up.url,
            timeout_seconds=timeout_seconds,
            max_bytes=MAX_ANSWER_BYTES,
            headers=look_up.headers,
        )
    except TimeoutError:
        fix = f"look at the service's status page, and check {where}"
        return Probed(found=f"{base_url} did not answer in time", fix=fix)
    except TooLargeError as error:
        return Probed(found=f"{base_url} {error}", fix=f"check {where}")
    except (UnicodeEncodeError, httpx.LocalProtocolError):  # their texts hold the header
        fix = f"set a valid key: providers.{name}.api_key"
        return Probed(found=f"{base_url} cannot be asked with this key", fix=fix)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        reason = redact(key, str(error) or type(error).__name__)[:MAX_DETAIL_CHARACTERS]
        fix = f"check {where} and that the service is up"
        return Probed(found=f"{base_url} cannot be reached ({reason})", fix=fix)
    return _read(answer, name, base_url, look_up)


def _read(answer: Answer, name: str, base_url: str, look_up: LookUp) -> Probed:
    status, table = answer.status, f"providers.{name}"
    if status in {401, 403}:
        fix = f"set a valid key: {table}.api_key"
        return Probed(found=f"{base_url} refuses the key", fix=fix)
    if status in {404, 405}:  # a compatible server may lack the look-up
        return Probed(found=f"{base_url} answers; it has no way to check the key")
    if status == 200 and answer.content_type == "text/html":
        return Probed(found=f"{base_url} answers with a web page", fix=f"check {table}.base_url")
    if status == 200:
        found, fix = look_up.read(answer) or ("", "")
        return Probed(found=f"{base_url} takes the key{found}", fix=fix, key_taken=True)
    if 300 <= status < 400:
        fix = f"check {table}.base_url: the service is elsewhere"
    elif status == 402:
        fix = "pay the account's bill, or top it up"
    elif status == 429:
        fix = f"look at the account's limits; {table}.submissions_per_second keeps within them"
    else:
        fix = "look at the service's status page"
    return Probed(found=f"{base_url} answered {status}", fix=fix)
