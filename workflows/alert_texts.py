"""The wording of every alert: what fires, how badly, and what to do about it."""

from contracts.alerts import AdminAlert, AlertName, Severity
from contracts.errors import DeliveryError, ErrorCode
from contracts.plain import unlinked

_PROVIDER_FIXES = {
    ErrorCode.AUTH_CONFIG: "Set a valid key, providers.{name}.api_key, and restart the workers.",
    ErrorCode.QUOTA_EXHAUSTED: "Top up the account at {name}, or raise its limit there.",
    ErrorCode.MODEL_CONFIG: "Check the model's name and parameters in the routes of [models].",
    ErrorCode.NOT_SERVED: "Start a worker for it: `duragen worker --queue provider.{name}`.",
    ErrorCode.QUEUE_TIMEOUT: "More is asked for than providers.{name}.submissions_per_second and"
    " max_in_flight allow: raise them as far as the account permits, or add a route.",
    ErrorCode.RATE_LIMITED: "Lower providers.{name}.submissions_per_second, or ask for a higher"
    " limit.",
}
_OTHER_FIX = "Look at the service's status page; `duragen doctor` says what it answers now."

_PARKED_FIXES: dict[str, str] = {
    DeliveryError.ODOO_UNAVAILABLE: "Odoo is away or answers with errors; deliveries are tried"
    " again by themselves. When it is back, `duragen redeliver --all` does it at once.",
    DeliveryError.ODOO_REFUSED: "Odoo refuses the outcome: `duragen parked` says why. Fix that,"
    " then `duragen redeliver --all --error ODOO_REFUSED`.",
    DeliveryError.STORE_UNAVAILABLE: "Images cannot be read from the store for Odoo: `duragen"
    " doctor` says why. Deliveries are tried again by themselves.",
}


def provider_down(
    provider: str, code: ErrorCode | None, last_answer: str | None, *, perhaps_paid: int
) -> AdminAlert:
    """A provider's circuit is not closed; `code` is why it opened."""
    return AdminAlert(
        name=AlertName.PROVIDER_DOWN,
        severity=Severity.CRITICAL,
        service=provider,
        error_type=code or "",
        summary=f"{provider} does not serve us: {code}",
        description="Generations take their next route where they have one."
        f" {_provider_fix(provider, code)}{_cost(perhaps_paid)}{_quoted(last_answer)}",
    )


def provider_errors(
    provider: str,
    code: ErrorCode,
    *,
    count: int,
    calls: int,
    minutes: float,
    page: bool,
    perhaps_paid: int,
    last_answer: str | None,
) -> AdminAlert:
    """One error is frequent, or needs a person at once (`page`)."""
    return AdminAlert(
        name=AlertName.PROVIDER_ERRORS,
        severity=Severity.CRITICAL if page else Severity.WARNING,
        service=provider,
        error_type=code,
        summary=f"{provider}: {code} in {count} of {calls} calls in {minutes:g} min",
        description=f"{_provider_fix(provider, code)}{_cost(perhaps_paid)}{_quoted(last_answer)}",
    )


def deliveries_parked(code: str, count: int) -> AdminAlert:
    """Odoo has not taken outcomes."""
    return AdminAlert(
        name=AlertName.DELIVERIES_PARKED,
        severity=Severity.CRITICAL,
        service="odoo",
        error_type=code,
        summary=f"{count} outcomes have not reached Odoo: {code}",
        description="Images are safe, and none is generated again for this. "
        + _PARKED_FIXES.get(code, "`duragen parked` says why."),
    )


def generations_failed(code: str, count: int, minutes: float) -> AdminAlert:
    """Generations failed: at once what needs a person, else what is frequent."""
    return AdminAlert(
        name=AlertName.GENERATIONS_FAILED,
        severity=Severity.CRITICAL,
        service="duragen",
        error_type=code,
        summary=f"{count} generations failed in {minutes:g} min: {code}",
        description="`duragen failed` lists them and says why. Fix it, then `duragen rerun"
        f" --all --error {code}`, which leaves out those that may have been paid for.",
    )


def images_waiting(count: int) -> AdminAlert:
    """The store does not take images that are paid for."""
    return AdminAlert(
        name=AlertName.IMAGES_WAITING,
        severity=Severity.CRITICAL,
        service="store",
        summary=f"{count} images that are paid for wait on workers' disks for the store",
        description="Fix the store: `duragen doctor` says what is wrong with it. The images then go"
        " there by themselves. Until then keep the workers' disks (`worker.spool_dir`).",
    )


def workflows_stuck(count: int) -> AdminAlert:
    """Workflow tasks fail again and again."""
    return AdminAlert(
        name=AlertName.WORKFLOWS_STUCK,
        severity=Severity.CRITICAL,
        service="duragen",
        summary=f"{count} workflows are stuck: their workflow tasks fail",
        description="Nothing is lost: they go on with a worker whose code fits. In the Web UI"
        " filter by `TemporalReportedProblems IS NOT NULL`; `duragen replay` says why.",
    )


def _provider_fix(provider: str, code: ErrorCode | None) -> str:
    text = _PROVIDER_FIXES.get(code, _OTHER_FIX) if code else _OTHER_FIX
    return text.format(name=provider)


def _cost(perhaps_paid: int) -> str:
    if not perhaps_paid:
        return ""
    return f" Calls without an image that it may have charged for: {perhaps_paid}."


def _quoted(last_answer: str | None) -> str:
    return f" Last answer: {unlinked(last_answer)}" if last_answer else ""
