"""What may be paid for, stated a second time: over the image service's own call log."""

from collections.abc import Sequence
from typing import Any

Call = dict[str, Any]

ATTEMPTS = 3
"""spec: 2 retries, also of a job that the service calls failed."""

LOST = {"accepted: accept_then_reset", "accepted: accept_then_hang"}
PERHAPS_PAID = 2
"""After a submission that may have been paid for and brought no image, one more is made, on
whatever route; then it is over."""

OVER = {"refused: moderated_input", "refused: moderated_output"}
"""The user's to fix."""

SPOILT = {"half_image", "wrong_size", "not_base64", "html_image", "empty_image", "bomb"}
MODERATED = {"moderated_input", "moderated_output"}


def complaint(calls: Sequence[Call]) -> str | None:
    """What was paid for against the rules, None when nothing was."""
    submits = [call for call in calls if call["operation"] == "submit"]
    perhaps_paid = attempts = jobs = 0
    for number, call in enumerate(submits):
        following = submits[number + 1] if number + 1 < len(submits) else None
        if number and submits[number - 1]["protocol"] != call["protocol"]:
            attempts = jobs = 0
        attempts += 1
        kept = call["paid"] and call["outcome"] not in LOST
        job = kept and call["protocol"] == "flux"
        death = _death(call, calls) if job else str(call["outcome"]).removeprefix("accepted")
        perhaps_paid += call["paid"] and death != "error"
        resubmitted = job and following and following["protocol"] == "flux"
        against = {
            f"attempt {attempts}": attempts > ATTEMPTS,
            "another one after two that may be paid": following and perhaps_paid >= PERHAPS_PAID,
            "another one after a refusal for good": following
            and (call["outcome"] in OVER or death in MODERATED),
            "another one after the image was made": following and kept and not death,
            f"job {jobs + 2} after {death}": resubmitted and jobs + 1 >= ATTEMPTS,
        }
        if wrong := [rule for rule, broken in against.items() if broken]:
            return f"{wrong[0]}: {[each['outcome'] for each in submits]}"
        if job:
            attempts, jobs = 0, jobs + 1
    return None


def _death(job: Call, calls: Sequence[Call]) -> str | None:
    """How a job ended: by the fault it was created with, or by what a later poll met."""
    fault = str(job["outcome"]).removeprefix("accepted").removeprefix(": ")
    said = [c["outcome"] for c in calls if c["job_id"] == job["job_id"] and c is not job]
    if fault in SPOILT or any(f"fault: {kind}" in said for kind in SPOILT):
        return "spoilt"
    if "Task not found" in said or "fault: job_lost" in said:
        return "job_lost"
    if "expired" in said:
        return "sample_expired"
    return fault if fault in MODERATED | {"error"} else None
