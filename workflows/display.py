"""Where a generation shows itself: the current details and the search attributes.

The workflow owns its view (`GenerationView`); what is here only shows it. Each writing of search
attributes or memo is a history event and a billable action, so that only what operators list by is
written, and only when it changes.
"""

from temporalio import workflow
from temporalio.common import SearchAttributeKey, SearchAttributeUpdate

with workflow.unsafe.imports_passed_through():
    from contracts import names
    from contracts.generation import GenerationState, GenerationView
    from workflows.details import details_of

STATUS = SearchAttributeKey.for_keyword(names.GENERATION_STATUS)
PROVIDER = SearchAttributeKey.for_keyword(names.PROVIDER)
ERROR_CODE = SearchAttributeKey.for_keyword(names.ERROR_CODE)

_PERCENT = {
    GenerationState.ACCEPTED: 0,
    GenerationState.PLANNING: 5,
    GenerationState.GENERATING: 10,
    GenerationState.STORING: 70,
    GenerationState.DELIVERING: 80,
    GenerationState.PARKED: 80,
    GenerationState.ANNOUNCING: 95,
}


def progress_of(state: GenerationState) -> int:
    """A rough percentage for a progress bar; 100 for every final state."""
    return _PERCENT.get(state, 100)


def show_details(view: GenerationView) -> None:
    """Write the current details, which the Web UI shows; they cost no event."""
    workflow.set_current_details(details_of(view, workflow.info().workflow_id))


def publish(state: GenerationState, *more: SearchAttributeUpdate[str]) -> None:
    """Write the state into the search attribute that operators list by, and `more` with it."""
    workflow.upsert_search_attributes([STATUS.value_set(state), *more])
