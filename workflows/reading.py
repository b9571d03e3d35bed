"""Reading what an entry point handed over: even a request that breaks a rule must end."""

from contextlib import suppress
from typing import Any

from pydantic import ValidationError
from temporalio import workflow

from contracts.errors import ErrorCode
from contracts.events import GenerationRequested, RequestHead
from contracts.generation import MAX_DETAIL_CHARACTERS, Failure
from contracts.names import generation_id


def read_request(event: Any) -> tuple[RequestHead | None, GenerationRequested | Failure]:
    """EVT-AIG-001 as JSON to its head and the whole, or to why it is refused.

    The head is None when not even that much can be read: then no Odoo can get the outcome.
    """
    try:
        request = GenerationRequested.model_validate(event)
    except ValidationError as error:
        return _head_of(event), _refusal(error)
    return _head_of(event), request


def owner_here() -> str:
    """Whose the generation is in whose workflow this is called: its id says so."""
    with suppress(ValueError):  # one that was started by hand, under an id of its own
        return generation_id(workflow.info().workflow_id).owner
    return ""


def _head_of(event: Any) -> RequestHead | None:
    try:
        return RequestHead.model_validate(event)
    except ValidationError:
        return None


def _refusal(error: ValidationError) -> Failure:
    # Field and rule, never the value: a prompt does not belong into an error.
    faults = [
        f"{'.'.join(map(str, each['loc'])) or 'the event'}: {each['msg']}"
        for each in error.errors(include_input=False, include_url=False)
    ]
    return Failure(
        code=ErrorCode.INVALID_INPUT,
        detail=f"the request breaks the rules: {'; '.join(faults)}"[:MAX_DETAIL_CHARACTERS],
    )
