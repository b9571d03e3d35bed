"""What made an activity fail, as a value."""

from temporalio.exceptions import (
    ActivityError,
    ApplicationError,
    FailureError,
    TimeoutError,  # noqa: A004  # the SDK's name for what the server cuts off
    TimeoutType,
)

from contracts.errors import ErrorCode
from contracts.generation import MAX_DETAIL_CHARACTERS, Failure, SubmitMark

_CUT_OFF = {
    TimeoutType.SCHEDULE_TO_START: (ErrorCode.QUEUE_TIMEOUT, "no worker took the call in time"),
    TimeoutType.HEARTBEAT: (ErrorCode.OUTCOME_UNKNOWN, "the worker died during the call"),
}
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


def mark_left_by(error: ActivityError) -> SubmitMark:
    """The last mark of a submission that failed without having recorded its failure itself.

    The server hands out the mark of the last attempt that sent one: each attempt after the first
    records its own before it sends anything. Where there is none, the first attempt died before its
    first heartbeat; unless no worker ever took it.
    """
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
