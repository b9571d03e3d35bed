"""A replay that failed, in plain words: where code and history part, and what to do about it."""

import re

from temporalio.client import WorkflowHistory
from temporalio.workflow import NondeterminismError

from contracts.plain import one_line

# The SDK describes a divergence by text alone; what cannot be read here is shown as it is.
_SAID = re.compile(r'\[TMPRL1100\] Nondeterminism error: (.*?)", source:', re.DOTALL)
_EVENT = re.compile(r"HistoryEvent\(id: (\d+)")
_LOCAL_ACTIVITY = re.compile(r"LocalActivity\((\d+)\)")

_WHAT_TO_DO = (
    "What to do: if the change is meant, keep the old way for running workflows with"
    " workflow.patched(), or let them finish on a worker of the old version. If it is not meant,"
    " undo the change in the order, names or number of what the workflow asks for."
)


def explain(failure: Exception, history: WorkflowHistory) -> str:
    """Several lines for a person; names the event of the history where the ways part."""
    text = one_line(failure)
    if not isinstance(failure, NondeterminismError):
        return f"The code raised {type(failure).__name__} while it was replayed: {text}"
    found = _SAID.search(text)
    said = found[1].replace('\\"', '"') if found else text
    event_id = _event_id(said, history)
    if event_id is None:
        where = "The code takes another way than the history."
    else:
        where = (
            f"The code takes another way than the history at event {event_id}: there the history"
            f" has {_name(event_id, history)}, and the code now does something else."
        )
    return f"{where}\n  The SDK says: {said}\n  {_WHAT_TO_DO}"


def _event_id(said: str, history: WorkflowHistory) -> int | None:
    event = _EVENT.search(said)
    if event:
        return int(event[1])
    local = _LOCAL_ACTIVITY.search(said)
    if local:
        markers = [
            event.event_id
            for event in history.events
            if event.HasField("marker_recorded_event_attributes")
        ]
        number = int(local[1])
        return markers[number - 1] if 0 < number <= len(markers) else None
    return None


def _name(event_id: int, history: WorkflowHistory) -> str:
    event = next((e for e in history.events if e.event_id == event_id), None)
    if event is None:
        return "no such event"
    kind = str(event.WhichOneof("attributes")).removesuffix("_event_attributes").replace("_", " ")
    activity = event.activity_task_scheduled_event_attributes.activity_type.name
    marker = event.marker_recorded_event_attributes.marker_name
    return " ".join(part for part in (kind, activity or marker) if part)
