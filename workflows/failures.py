"""What made an activity fail, as a value."""

from temporalio.exceptions import (
    ActivityError,
    ApplicationError,
    FailureError,
    TimeoutError,  # noqa: A004  # the SDK's name for what the server cuts off
    TimeoutType,
)

from contracts.errors import ErrorCode
from contracts.generation import MAX_DETAIL_CHARACTERS, Failure, Job
from contracts.tasks import SubmitMark

_CUT_OFF = {
    TimeoutType.SCHEDULE_TO_START: (ErrorCode.QUEUE_TIMEOUT, "no worker took the call in time"),
    TimeoutType.HEARTBEAT: (ErrorCode.OUTCOME_UNKNOWN, "the worker died during the call"),
}
_MAY_BE_WAITING = {TimeoutType.SCHEDULE_TO_START, TimeoutType.SCHEDULE_TO_CLOSE}
_TOO_LONG = (ErrorCode.PROVIDER_TIMEOUT, "the call was cut off when its time was over")


def failure_of(error: ActivityError) -> Failure:
    """What made an activity fail, unwrapped and cut to size.

    What the activity recorded counts. Where the server ended it, the cause beneath is an attempt
    before that one: it is quoted for operators, and decides nothing.
    """
    cause = error.cause
    if isinstance(cause, TimeoutError):
        code, what = _CUT_OFF.get(cause.type or TimeoutType.SCHEDULE_TO_CLOSE, _TOO_LONG)
        before = f"; the attempt before: {message_of(cause.cause)}" if cause.cause else ""
        return Failure(code=code, detail=(what + before)[:MAX_DETAIL_CHARACTERS])
    if isinstance(cause, ApplicationError) and cause.type in set(ErrorCode):
        recorded = next(iter(cause.details), None)
        if recorded is not None:
            return Failure.model_validate(recorded)
        return Failure(code=ErrorCode(cause.type), detail=message_of(cause))
    return Failure(code=ErrorCode.INTERNAL, detail=message_of(cause or error))


def lost_submission(error: ActivityError) -> Failure | Job:
    """A submission whose end no worker has recorded: its failure, or the job that it left.

    The last heartbeat's mark decides what it may have cost. The server hands out the mark of the
    last attempt that sent one: each attempt after the first records its own before it sends
    anything. Where there is none, the first attempt died before its first heartbeat; unless no
    worker ever took it.
    """
    mark, cause = _mark_left_by(error), error.cause
    if mark.job:
        return mark.job
    failure = failure_of(error)
    cut_off = cause.type if isinstance(cause, TimeoutError) else None
    if cut_off in _MAY_BE_WAITING and not mark.open:
        detail = f"its time was over while it waited for its turn: {failure.detail}"
        known = {"code": ErrorCode.QUEUE_TIMEOUT, "detail": detail[:MAX_DETAIL_CHARACTERS]}
        return failure.model_copy(update=known)
    return failure.model_copy(
        update={
            "perhaps_paid": int(mark.open),
            "repeatable": cut_off is TimeoutType.START_TO_CLOSE,
            "worker_lost": cut_off in {None, TimeoutType.HEARTBEAT},
        }
    )


def _mark_left_by(error: ActivityError) -> SubmitMark:
    cause = error.cause
    if isinstance(cause, TimeoutError):
        if cause.last_heartbeat_details:
            return SubmitMark.model_validate(cause.last_heartbeat_details[0])
        never_taken = cause.type is TimeoutType.SCHEDULE_TO_START and cause.cause is None
        return SubmitMark(settled=never_taken)
    return SubmitMark()


def has_recorded(error: ActivityError) -> bool:
    """Whether the activity itself has recorded its failure, and reported it.

    False where the server ended it, and where the worker left before the call was over.
    """
    return isinstance(error.cause, ApplicationError) and error.cause.type in set(ErrorCode)


def message_of(error: BaseException) -> str:
    """An error's own text, cut to size; `str` would put its type before it."""
    text = error.message if isinstance(error, FailureError) else str(error)
    return text[:MAX_DETAIL_CHARACTERS]
