"""What each kind of image service says of itself: its settings, how it is built and probed.

`activities/providers/registry.py` lists the kinds; docs/adding-a-provider.md leads to a new one.
"""

from collections.abc import Awaitable, Callable, Collection, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Annotated, ClassVar, Generic, NamedTuple, TypeVar

import httpx
from pydantic import ConfigDict, Field, field_validator

from activities.providers.service import ImageService
from activities.storage import ImageStore
from contracts.events import HttpUrl, RequestField
from contracts.generation import Route
from contracts.provider_health import Probed
from peers.setting_types import ApiKey, CaFile, Group, HostRule


class ProviderSettings(Group):
    """The settings that every kind has; a kind adds its own. The table's name is the provider's."""

    # A variable that holds digits arrives as a number where only the kind knows that it is a text.
    model_config = ConfigDict(coerce_numbers_to_str=True)

    takes_query: ClassVar[bool] = False
    """Whether `base_url` may have a query, which is then kept in every address."""

    kind: str
    base_url: HttpUrl
    api_key: ApiKey
    submissions_per_second: Annotated[float, Field(gt=0)] | None = None
    """Held by the Temporal server over all workers; None is no limit."""
    max_in_flight: Annotated[int, Field(ge=1)] = 200
    """Calls, and jobs, that one worker has open at a time."""

    @field_validator("base_url")
    @classmethod
    def _is_a_root(cls, base_url: str) -> str:
        # What is appended to it would become part of the query, or be lost.
        if "#" in base_url or ("?" in base_url and not cls.takes_query):
            raise ValueError("must be the service's root: without a query (?) or a fragment (#)")
        return base_url


class LinkSettings(ProviderSettings):
    """Settings of a kind whose answers hold links."""

    ca_file: CaFile | None = None
    """Who signed the certificate of `base_url`; None: somebody whom the process trusts."""
    result_hosts: tuple[HostRule, ...] = ()
    """Hosts beside `base_url`'s own to which the link of an image may lead."""
    private_links: bool = False
    """Whether hosts that are listed may be at addresses that are not public."""


class Parts(NamedTuple):
    """What an adapter may be built from; `closing` closes what it opens for itself."""

    http: httpx.AsyncClient
    """For what the settings name."""
    public: httpx.AsyncClient
    """For links from outside: it connects to public addresses alone."""
    store: ImageStore
    closing: AsyncExitStack


def _any_route(_: Route) -> None:
    """Stand-in for a kind that can say nothing beforehand."""


S = TypeVar("S", bound=ProviderSettings)


@dataclass(frozen=True)
class ProviderKind(Generic[S]):
    """One kind of image service; `name` is the value of the setting `kind`."""

    name: str
    settings: type[S]
    build: Callable[[S, Parts], ImageService]
    """A JobService when `has_jobs`."""
    probe: Callable[[str, S, httpx.AsyncClient, Collection[str]], Awaitable[Probed]]
    """Asks, for free, whether the provider of that name would serve us, and whether it has these
    models; without models it is asked less. Raises nothing."""
    has_jobs: bool
    """Whether it answers with jobs, which are collected on a queue of their own."""
    carries: Callable[[S], Mapping[RequestField, str]]
    """The optional request fields that reach the service, and the names that they have there. It
    never sees the others; nor those whose name a route's `omit` or `parameters` holds."""
    timeout_is_the_jobs: bool = False
    """A route's `timeout_seconds` bounds the job; the calls are short."""
    check_route: Callable[[Route], None] = _any_route
    """Refuses a route that can make no image, before money is spent: raises ValueError."""
