"""The connection test over HTTP: what the workers say, and what the gateway's own settings lack."""

from collections.abc import Collection, Mapping

from contracts.callbacks import callback_fault
from starter.client import AsyncDuragenClient
from starter.gateway.callers import Caller
from starter.gateway.models import CallbackFinding, ConnectionReport, ConnectionTestRequest


class Connections:
    """Tests for all callers. `callbacks` has the paths of each origin that outcomes may go to."""

    def __init__(
        self, client: AsyncDuragenClient, callbacks: Mapping[str, Collection[str]]
    ) -> None:
        self._client = client
        self._callbacks = callbacks

    async def tried(self, test: ConnectionTestRequest, caller: Caller) -> ConnectionReport:
        """What is found; where no outcome of this key could go, nothing is called."""
        fault = self._fault(test, caller)
        given = test.model_dump(mode="json", exclude_none=True)
        if fault:
            given.pop("callbackUrl")
        owner = caller.key.owner_name
        found = ConnectionReport.model_validate(
            await self._client.test_connection(given, owner=owner)
        )
        if fault:
            finding = CallbackFinding(ok=False, detail=f"the gateway's settings: {fault}")
            found = found.model_copy(update={"callback": finding})
        if owner:
            # Queues and namespace have the operators' names: an owner is somebody else.
            queues = ["a queue of the operators"] * bool(found.unserved_queues)
            found = found.model_copy(update={"unserved_queues": queues, "create_attributes": ""})
        return found

    def _fault(self, test: ConnectionTestRequest, caller: Caller) -> str | None:
        url = test.callback_url
        if url is None:
            return None
        if caller.key.callbacks and callback_fault(url, caller.key.callback_paths):
            return "this key's callbacks do not have the callback URL"
        return callback_fault(url, self._callbacks)
