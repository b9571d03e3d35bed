"""What an operator reads in Temporal's Web UI: where it is, what it waits for, what to do.

Markdown; what others wrote stands in it as code, so that no link or image of theirs is live.
Neither prompt nor link of ours, because details are stored in clear.
"""

from collections.abc import Iterator

from contracts.generation import DeliveryTrouble, Failure, GenerationState, GenerationView, Outcome
from contracts.plain import code_span, one_line

_STORY = {
    GenerationState.ACCEPTED: "Accepted; about to be planned.",
    GenerationState.PLANNING: "Looking up the routes to the model.",
    GenerationState.GENERATING: "Waiting for the image service.",
    GenerationState.STORING: "The image is made and paid for. It lies on a worker's disk until the"
    " store is back.",
    GenerationState.DELIVERING: "Delivering the outcome to Odoo.",
    GenerationState.PARKED: "**Odoo has not taken the outcome.** The image is safe and is never"
    " generated again for this.",
    GenerationState.ANNOUNCING: "Odoo has the outcome; notifying the user.",
    GenerationState.COMPLETED: "Done: the image is in the store.",
    GenerationState.FAILED: "Ended without an image.",
    GenerationState.ABANDONED: "Ended; Odoo never got the outcome.",
    GenerationState.CANCELED: "Canceled before there was an image.",
}

_PARKED_HELP = """
**What to do.** Fix what is named above. It then goes on by itself at the next try. To try at once:
`duragen redeliver {id}` (or `--all`), or send the update `retry_delivery`. Only if Odoo shall never
get the outcome: `duragen abandon {id}`, or the update `abandon_delivery`."""

_STORING_HELP = """
**What to do.** Fix the store: `duragen doctor` says what is wrong. Then it goes on by itself. Keep
the folder named above: a worker that runs with it as `worker.spool_dir` brings the image to the
store, also after a restart, or on another machine."""


def details_of(view: GenerationView, workflow_id: str) -> str:
    """The view as Markdown; `workflow_id` is for the commands that it names."""
    lines = [f"**{view.state}** {_STORY[view.state]}", ""]
    if view.route:
        lines.append(f"- route: {code_span(view.route.provider)} / {code_span(view.route.model)}")
    if view.route and view.route.ignores:
        lines.append(f"- this route has no place for: {', '.join(view.route.ignores)}")
    if view.avoided:
        avoided = ", ".join(map(code_span, view.avoided))
        lines.append(f"- put last, because their circuits are open: {avoided}")
    if view.waits_for:
        lines.append(f"- **nothing is paid for meanwhile**: {code_span(view.waits_for)}")
    if view.spooled:
        lines.append(f"- image: {view.spooled.image.size} bytes in {code_span(view.spooled.where)}")
        lines.append(_STORING_HELP)
    if view.outcome:
        lines += _outcome_lines(view.outcome)
    if view.parked:
        lines += _parked_lines(view.parked, workflow_id)
    if view.abandoned:
        lines.append(f"- an operator gave the delivery up: {code_span(view.abandoned)}")
    return "\n".join(lines)


def _parked_lines(parked: DeliveryTrouble, workflow_id: str) -> Iterator[str]:
    odoo = code_span(parked.odoo) if parked.odoo else "Odoo"
    if parked.held:
        yield f"- {odoo} is away; this outcome waits, and goes on when Odoo is back"
    yield f"- {odoo}: {code_span(parked.code)} after {parked.attempts} rounds of tries"
    yield f"- {code_span(parked.detail)}"
    next_try = "on request alone" if parked.rests else code_span(parked.next_try)
    yield f"- parked since {code_span(parked.since)}; next try: {next_try}"
    yield _PARKED_HELP.format(id=one_line(workflow_id).replace("`", ""))


def _outcome_lines(outcome: Outcome) -> Iterator[str]:
    for tried in outcome.tried:
        route = f"{code_span(tried.route.provider)} / {code_span(tried.route.model)}"
        yield f"- left: {route}: `{tried.failure.code}`" + _cost(tried.failure)
    if outcome.failure:
        code, kind = outcome.failure.code, outcome.failure.rule.kind
        yield f"- error: `{code}` ({kind})" + _cost(outcome.failure)
    if outcome.image:
        image = outcome.image
        size = f"{image.width}x{image.height}, {image.size} bytes"
        yield f"- image: {code_span(image.key)}, {code_span(image.format)}, {size}"


def _cost(failure: Failure) -> str:
    """What the providers may have charged for without an image."""
    paid = failure.perhaps_paid
    return f", **may have been paid for** ({paid} call{'s' * (paid > 1)})" if paid else ""
