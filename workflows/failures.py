"""What made an activity fail, as a value."""

from temporalio import exceptions
from temporalio.exceptions import ActivityError, ApplicationError, TimeoutType

from contracts.errors import ErrorCode
from contracts.generation import MAX_DETAIL_CHARACTERS, Failure


def failure_of(error: ActivityError) -> Failure:
    """What made an activity fail, unwrapped and cut to size."""
    cause = error.cause
    detail = message_of(cause or error)
    if isinstance(cause, exceptions.TimeoutError):
        # The last attempt's own error says more than that time ran out.
        if isinstance(cause.cause, ApplicationError):
            cause = cause.cause
        elif cause.type is TimeoutType.HEARTBEAT:
            return Failure(code=ErrorCode.OUTCOME_UNKNOWN, detail="the worker died during the call")
        else:
            return Failure(code=ErrorCode.PROVIDER_TIMEOUT, detail=detail)
    if isinstance(cause, ApplicationError) and cause.type in set(ErrorCode):
        recorded = next(iter(cause.details), None)
        if recorded is not None:
            return Failure.model_validate(recorded)
        return Failure(code=ErrorCode(cause.type), detail=detail)
    return Failure(code=ErrorCode.INTERNAL, detail=detail)


def message_of(error: BaseException) -> str:
    """An error's own text, cut to size; `str` would put its type before it."""
    text = error.message if isinstance(error, exceptions.FailureError) else str(error)
    return text[:MAX_DETAIL_CHARACTERS]
