"""Who calls, and what is theirs: the keys of the settings, with what is left of their limits."""

from collections.abc import Collection, Iterable, Mapping
from uuid import UUID

from contracts.callbacks import callback_fault
from contracts.events import origin_of
from contracts.names import workflow_id
from starter.client import AsyncDuragenClient
from starter.gateway.limits import Budget, KeyLimits, OwnerUsage
from starter.gateway.problems import FieldError, ProblemError, invalid
from starter.gateway.settings import GatewayKey
from starter.keys import holder_of


class Caller:
    """Somebody with a key. All methods raise ProblemError."""

    def __init__(self, key: GatewayKey, client: AsyncDuragenClient, usage: OwnerUsage) -> None:
        self.key = key
        self._client = client
        self._limits = KeyLimits(key, usage)

    def generation(self, request_id: UUID) -> str:
        """The workflow id of a request of the key's owner.

        Other owners have other ids: nobody reads, cancels or delivers what is not theirs, because
        for them it does not exist.
        """
        return workflow_id(request_id, self.key.owner_name)

    def check_rate(self) -> None:
        """429 when there are too many calls, of whatever kind."""
        self._limits.take()

    def check_callback(self, url: str) -> None:
        """422 when this key's outcomes may not go there."""
        if self.key.callbacks and callback_fault(url, self.key.callback_paths):
            message = "is not where results of this key may go: see `callbacks` of the key"
            raise invalid(
                [FieldError(field="callbackUrl", rule="callback_not_allowed", message=message)]
            )

    def check_source(self, url: str, allowed: Mapping[str, Collection[str]]) -> None:
        """422 when webhooks may not be asked for there."""
        mine = {origin_of(each) for each in self.key.callbacks}
        known = {origin: paths for origin, paths in allowed.items() if not mine or origin in mine}
        if callback_fault(url, known):
            message = "is not the route for webhooks of an Odoo that this key may name"
            raise invalid([FieldError(field="source", rule="origin_not_allowed", message=message)])

    async def admitted(self, request_id: UUID) -> list[Budget]:
        """What is left when this one is started; 429 when nothing is.

        A request that is known already is no further start, whatever the limits say.
        """
        generation = self.generation(request_id)
        try:
            return await self._limits.admit(generation)
        except ProblemError:
            if await self._client.exists(generation):
                return []
            raise


class Callers:
    """Everybody who may call."""

    def __init__(self, keys: Iterable[GatewayKey], client: AsyncDuragenClient) -> None:
        usages: dict[str, OwnerUsage] = {}
        self._by_hash = {}
        for key in keys:
            usage = usages.setdefault(key.owner_name, OwnerUsage(key.owner_name, client.count))
            self._by_hash[key.sha256] = Caller(key, client, usage)

    def knows(self, key: str) -> Caller | None:
        """Who has this key."""
        known = holder_of(key, [caller.key for caller in self._by_hash.values()])
        return self._by_hash[known.sha256] if known else None
