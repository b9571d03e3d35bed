"""What an operator reads in Temporal's Web UI: where it is, what it waits for, what to do.

Markdown, and neither prompt nor link: details stand in clear.
"""

from contracts.generation import GenerationState, GenerationView

_STORY = {
    GenerationState.ACCEPTED: "Accepted; about to be planned.",
    GenerationState.PLANNING: "Looking up the routes to the model.",
    GenerationState.GENERATING: "Waiting for the image service.",
    GenerationState.DELIVERING: "Telling Odoo.",
    GenerationState.PARKED: "**Odoo has not taken the outcome.** The image is safe and is never"
    " generated again for this.",
    GenerationState.ANNOUNCING: "Odoo knows; telling the others.",
    GenerationState.COMPLETED: "Done: the image is in the store.",
    GenerationState.FAILED: "Ended without an image.",
    GenerationState.ABANDONED: "Ended; Odoo was never told.",
    GenerationState.CANCELED: "Canceled before there was an image.",
}

_PARKED_HELP = """
**What to do.** Mend what is named above. It then goes on by itself at the next try; to try at
once, send the update `retry_delivery`. Send `abandon_delivery` only if Odoo shall never be told."""


def details_of(view: GenerationView) -> str:
    """The view as Markdown."""
    lines = [f"**{view.state}** {_STORY[view.state]}", ""]
    if view.route:
        lines.append(f"- route: `{view.route.provider}` / `{view.route.model}`")
    outcome = view.outcome
    if outcome:
        lines += [
            f"- left: `{tried.route.provider}` / `{tried.route.model}`: `{tried.failure.code}`"
            for tried in outcome.tried
        ]
        if outcome.failure:
            lines.append(f"- error: `{outcome.failure.code}` ({outcome.failure.rule.kind})")
        if outcome.image:
            image = outcome.image
            lines.append(
                f"- image: `{image.key}`, {image.width}x{image.height} {image.format},"
                f" {image.size} bytes"
            )
    if view.parked:
        lines.append(f"- Odoo: `{view.parked.code}` after {view.parked.attempts} rounds of tries")
        lines.append(f"- {' '.join(view.parked.detail.split())}")
        lines.append(f"- next try: {view.parked.next_try or 'now'}")
        lines.append(_PARKED_HELP)
    if view.abandoned:
        lines.append(f"- an operator gave the delivery up: {view.abandoned}")
    return "\n".join(lines)
