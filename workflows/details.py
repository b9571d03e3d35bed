"""What an operator reads in Temporal's Web UI: where it is, what it waits for, what to do.

Markdown. Neither prompt nor link, because details are stored in clear.
"""

from collections.abc import Iterator

from contracts.generation import Failure, GenerationState, GenerationView, Outcome

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
        lines.append(f"- route: `{view.route.provider}` / `{view.route.model}`")
    if view.route and view.route.ignores:
        lines.append(f"- this route has no place for: {', '.join(view.route.ignores)}")
    if view.avoided:
        lines.append(f"- put last, because their circuits are open: {', '.join(view.avoided)}")
    if view.waits_for:
        lines.append(f"- **nothing is paid for meanwhile**: {' '.join(view.waits_for.split())}")
    if view.spooled:
        lines.append(f"- image: {view.spooled.image.size} bytes in `{view.spooled.where}`")
        lines.append(_STORING_HELP)
    if view.outcome:
        lines += _outcome_lines(view.outcome)
    if view.parked:
        odoo = view.parked.odoo or "Odoo"
        if view.parked.held:
            lines.append(f"- {odoo} is away; this outcome waits, and goes on when Odoo is back")
        lines.append(f"- {odoo}: `{view.parked.code}` after {view.parked.attempts} rounds of tries")
        lines.append(f"- {' '.join(view.parked.detail.split())}")
        next_try = "on request alone" if view.parked.rests else view.parked.next_try
        lines.append(f"- parked since {view.parked.since}; next try: {next_try}")
        lines.append(_PARKED_HELP.format(id=workflow_id))
    if view.abandoned:
        lines.append(f"- an operator gave the delivery up: {view.abandoned}")
    return "\n".join(lines)


def _outcome_lines(outcome: Outcome) -> Iterator[str]:
    for tried in outcome.tried:
        left = f"- left: `{tried.route.provider}` / `{tried.route.model}`: `{tried.failure.code}`"
        yield left + _cost(tried.failure)
    if outcome.failure:
        code, kind = outcome.failure.code, outcome.failure.rule.kind
        yield f"- error: `{code}` ({kind})" + _cost(outcome.failure)
    if outcome.image:
        image = outcome.image
        yield (
            f"- image: `{image.key}`, {image.width}x{image.height} {image.format},"
            f" {image.size} bytes"
        )


def _cost(failure: Failure) -> str:
    """What the providers may have charged for without an image."""
    paid = failure.perhaps_paid
    return f", **may have been paid for** ({paid} call{'s' * (paid > 1)})" if paid else ""
