"""The plan of a generation, from the settings; recorded in its history, so that they may change."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from uuid import UUID

from temporalio import activity

from activities.provider_health import CircuitBoard
from contracts.callbacks import callback_fault
from contracts.errors import ErrorCode
from contracts.events import RequestField, origin_of
from contracts.generation import Failure, FlowRules, Plan, Route
from contracts.names import PLAN_ACTIVITY
from contracts.tasks import PlanTask


class PlanActivities:
    """Looks up; does no I/O, so it runs as a local activity.

    `published` has the Odoos whose outcomes are announced at the message broker as well.
    """

    def __init__(
        self,
        routes: Mapping[UUID, tuple[Route, ...]],
        callbacks: Mapping[str, Collection[str]],
        deadline_seconds: float,
        board: CircuitBoard,
        *,
        carries: Mapping[str, Mapping[RequestField, str]],
        notify: bool,
        published: Collection[str] = (),
        rules: FlowRules = FlowRules(),  # noqa: B008  # immutable
    ) -> None:
        self._routes = routes
        self._carries = carries
        self._callbacks = callbacks
        self._deadline_seconds = deadline_seconds
        self._board = board
        self._notify = notify
        self._published = published
        self._rules = rules

    @activity.defn(name=PLAN_ACTIVITY)
    async def plan(self, task: PlanTask) -> Plan:
        """Routes, the Odoo that gets the outcome, the deadline; or why there is no plan.

        A route that carries what is asked comes before one that does not; what a circuit avoids
        comes last.
        """
        head = task.head
        off_the_list = callback_fault(head.callback_url, self._callbacks)
        routes = self._routes.get(head.model_id, ())
        failure = None
        if off_the_list:
            failure = Failure(
                code=ErrorCode.INVALID_INPUT,
                detail=f"{off_the_list}, then rerun it. No Odoo has the outcome",
            )
        elif not routes:
            failure = Failure(
                code=ErrorCode.MODEL_CONFIG,
                detail=f"modelId {head.model_id} is not among the settings' [models]",
            )
        routes = tuple(sorted(self._with_ignored(routes, task.asks), key=lambda r: len(r.ignores)))
        routes, avoided = self._board.arranged(routes)
        odoo = None if off_the_list else origin_of(head.callback_url)
        return Plan(
            routes=() if failure else routes,
            avoided=() if failure else avoided,
            odoo=odoo,
            deadline_seconds=self._deadline_seconds,
            notify=self._notify,
            publish=odoo in self._published,
            failure=failure,
            rules=self._rules,
        )

    def _with_ignored(
        self, routes: Iterable[Route], asks: Iterable[RequestField]
    ) -> Iterator[Route]:
        for route in routes:
            names = self._carries.get(route.provider, {})
            set_by_route = {*route.omit, *route.parameters}
            ignores = tuple(
                field for field in asks if field not in names or names[field] in set_by_route
            )
            yield route.model_copy(update={"ignores": ignores})
