"""Asking a provider, for free, whether it would serve us: a look-up that needs the key.

What is found is a value, never an error. A kind that is asked by HTTP names its `LookUp`; another
one brings a probe of its own (`ProviderKind.probe`).
"""

import re
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Annotated, NamedTuple

import httpx
from pydantic import BaseModel, FailFast, SecretStr
from temporalio import activity

from activities.providers.errors import Dialect, read_detail, refused
from contracts.errors import ErrorCode
from contracts.generation import MAX_DETAIL_CHARACTERS
from contracts.names import PROBE_ACTIVITY
from contracts.provider_health import Probed, ProbeTask
from peers.bodies import BodyError
from peers.http import Answer, call
from peers.json_bounds import MAX_LISTED_ELEMENTS, validated
from peers.redaction import redact

TIMEOUT_SECONDS = 10.0
"""For a look-up; a service that needs longer would not serve us either."""

MAX_ANSWER_BYTES = 4 * 1024 * 1024
"""A list of models; a service that hosts everybody's has thousands."""

NO_JSON = b"{"
"""The body for asking whether an address takes calls: no service can make an image of it, so none
can charge for it."""

Probe = Callable[[], Awaitable[Probed]]
"""Asks one provider. Raises nothing."""

_OF_THE_LOOK_UP_ALONE = re.compile(rb"scope|permission|not allowed|restricted", re.IGNORECASE)
"""How services word that a key is good, and may not do this one thing. charonn0/Xojo-OpenAI#8"""


def _nothing(_: Answer) -> tuple[str, str] | None:
    """Stand-in for a look-up whose success says all."""
    return None


_PLAIN = Dialect(name="the service", read=read_detail)


class LookUp(NamedTuple):
    """A free call that needs the key: its address, and the headers with the key.

    `read` looks for trouble in a success: what is found, and what to do.
    """

    url: str
    headers: Mapping[str, str]
    read: Callable[[Answer], tuple[str, str] | None] = _nothing
    may_be_public: bool = False
    """Some services answer it to everybody: it is then asked without the key, too."""
    dialect: Dialect = _PLAIN
    """How the service words a refusal."""
    calls: Mapping[str, str] = {}
    """Addresses of paid calls, which must be there, and what to do when one is not."""


class _Model(BaseModel):
    id: str


class _Models(BaseModel):
    data: Annotated[list[_Model], FailFast()]


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
    asking = _Asking(http, name, base_url, api_key.get_secret_value(), timeout_seconds)
    answer = await asking.answer("GET", look_up.url, look_up.headers)
    if isinstance(answer, Probed):
        return answer
    found = asking.read(answer, look_up)
    if found.fix or answer.status in {401, 403}:
        return found
    if found.key_taken and look_up.may_be_public:
        anonymous = await asking.answer("GET", look_up.url, {})
        if isinstance(anonymous, Answer) and anonymous.status == 200:
            said = f"{base_url} answers; it does the same without a key, so this is no check of it"
            found = Probed(found=said)
    for url, fix in look_up.calls.items():
        there = await asking.answer("POST", url, look_up.headers, NO_JSON)
        if isinstance(there, Probed):
            return there
        if there.status in {404, 405} or 300 <= there.status < 400:
            return Probed(found=f"{url} answered {there.status} to a call", fix=fix)
    return found


class _Asking(NamedTuple):
    """One provider, and how it is asked."""

    http: httpx.AsyncClient
    name: str
    base_url: str
    key: str
    timeout_seconds: float

    async def answer(
        self, method: str, url: str, headers: Mapping[str, str], content: bytes | None = None
    ) -> Answer | Probed:
        """What it answers, or why nothing came."""
        where = f"providers.{self.name}.base_url"
        if content is not None:
            headers = {**headers, "Content-Type": "application/json"}
        try:
            return await call(
                self.http,
                method,
                url,
                timeout_seconds=self.timeout_seconds,
                max_bytes=MAX_ANSWER_BYTES,
                headers=headers,
                content=content,
            )
        except TimeoutError:
            fix = f"look at the service's status page, and check {where}"
            return Probed(found=f"{self.base_url} did not answer in time", fix=fix)
        except BodyError as error:
            return Probed(found=f"{self.base_url} {error}", fix=f"check {where}")
        except (UnicodeEncodeError, httpx.LocalProtocolError):  # their texts hold the header
            fix = f"set a valid key: providers.{self.name}.api_key"
            return Probed(found=f"{self.base_url} cannot be asked with this key", fix=fix)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            reason = redact(self.key, str(error) or type(error).__name__)[:MAX_DETAIL_CHARACTERS]
            fix = f"check {where} and that the service is up"
            return Probed(found=f"{self.base_url} cannot be reached ({reason})", fix=fix)

    def read(self, answer: Answer, look_up: LookUp) -> Probed:
        """What the answer to the look-up says."""
        status, table, base_url = answer.status, f"providers.{self.name}", self.base_url
        if (
            status in {401, 403}
            and answer.content_type == "application/json"  # not a web server's own page
            and _OF_THE_LOOK_UP_ALONE.search(answer.body)
        ):
            found = f"{base_url} does not let this key look; it may make images all the same"
            return Probed(found=found)
        if status in {404, 405}:  # a compatible server may lack the look-up
            return Probed(found=f"{base_url} answers; it has no way to check the key")
        if status == 200 and answer.content_type == "text/html":
            fix = f"check {table}.base_url"
            return Probed(found=f"{base_url} answers with a web page", fix=fix)
        if status == 200:
            found, fix = look_up.read(answer) or ("", "")
            return Probed(found=f"{base_url} takes the key{found}", fix=fix, key_taken=True)
        code = refused(answer, look_up.dialect).failure.code
        if code is ErrorCode.AUTH_CONFIG:
            fix = f"set a valid key: {table}.api_key"
            return Probed(found=f"{base_url} refuses the key", fix=fix)
        fixes = {
            ErrorCode.QUOTA_EXHAUSTED: "pay the account's bill, or top it up",
            ErrorCode.RATE_LIMITED: f"look at the account's limits; {table}.submissions_per_second"
            " keeps within them",
            ErrorCode.MODEL_CONFIG: f"check {table}.base_url: the service is elsewhere",
        }
        fix = fixes.get(code, "look at the service's status page")
        return Probed(found=f"{base_url} answered {status}", fix=fix)


def models_listed(models: Collection[str], name: str) -> Callable[[Answer], tuple[str, str] | None]:
    """A `read` for lists of models, `{"data": [{"id": …}]}`: those of our routes must be there.

    An answer that is no such list, or an empty one, says nothing.
    """

    def read(answer: Answer) -> tuple[str, str] | None:
        try:
            found = validated(_Models, answer.json_text, MAX_LISTED_ELEMENTS)
        except ValueError:
            return None
        listed = {each.id for each in found.data}
        lacking = sorted(set(models) - listed) if listed else []
        if not lacking:
            return None
        fix = f"check the model of the routes to {name}"
        return f", and does not list the model {', '.join(lacking)}", fix

    return read
