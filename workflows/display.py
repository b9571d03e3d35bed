"""What a generation shows of itself: the query's view, the current details, the search attributes.

Each writing of search attributes or memo is a history event and a billable action, so that only
what operators list by is written, and only when it changes.
"""

from typing import Any

from temporalio import workflow
from temporalio.common import SearchAttributeKey, SearchAttributeUpdate

with workflow.unsafe.imports_passed_through():
    from contracts import names
    from contracts.generation import GenerationState, GenerationView
    from workflows.details import details_of

STATUS = SearchAttributeKey.for_keyword(names.GENERATION_STATUS)
PROVIDER = SearchAttributeKey.for_keyword(names.PROVIDER)
ERROR_CODE = SearchAttributeKey.for_keyword(names.ERROR_CODE)

_PROGRESS = {
    GenerationState.ACCEPTED: 0,
    GenerationState.PLANNING: 5,
    GenerationState.GENERATING: 10,
    GenerationState.DELIVERING: 80,
    GenerationState.PARKED: 80,
    GenerationState.ANNOUNCING: 95,
}


class Display:
    """The view of one generation, and where else it is shown."""

    def __init__(self) -> None:
        self.view = GenerationView(state=GenerationState.ACCEPTED, progress=0)

    def enter(self, state: GenerationState, **changes: Any) -> None:
        """Show another state, in the query and in the current details."""
        parked = {} if state is GenerationState.PARKED else {"parked": None}
        progress = _PROGRESS.get(state, 100)
        self.change(state=state, progress=progress, **parked, **changes)

    def change(self, **changes: Any) -> None:
        """Show more of the same state."""
        self.view = self.view.model_copy(update=changes)
        workflow.set_current_details(details_of(self.view, workflow.info().workflow_id))

    def publish(self, *more: SearchAttributeUpdate[str]) -> None:
        """Write the state where operators list by it, and what else is given."""
        workflow.upsert_search_attributes([STATUS.value_set(self.view.state), *more])
