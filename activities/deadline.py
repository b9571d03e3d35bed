"""What ends a generation at its own deadline."""

from temporalio import activity
from temporalio.client import Client

from contracts.events import RequestHead
from contracts.names import CANCEL_ACTIVITY


class DeadlineActivities:
    """At the server that `client` is connected to."""

    def __init__(self, client: Client) -> None:
        self._client = client

    @activity.defn(name=CANCEL_ACTIVITY)
    async def cancel_at_deadline(self, head: RequestHead) -> None:  # noqa: ARG002  # for its ids
        """Have the server cancel the workflow that asks; a workflow may not cancel itself.

        Twice is as once. RPCError when the server cannot be reached: then it is tried again.
        """
        info = activity.info()
        if info.workflow_id is None:
            raise AssertionError("only a workflow asks for this")
        await self._client.get_workflow_handle(
            info.workflow_id, run_id=info.workflow_run_id
        ).cancel()
