"""What reports say about a provider: pure functions over its health's state, without a clock.

Windows, shares and counts are the state's own `HealthRules`, each with its reason.
"""

import math
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime

from contracts.alerts import AdminAlert
from contracts.errors import Alert, ErrorCode
from contracts.provider_health import (
    Bucket,
    Circuit,
    Probed,
    ProviderHealthState,
    ProviderHealthView,
    ProviderReport,
)
from workflows.alert_texts import provider_down, provider_errors


def with_report(
    state: ProviderHealthState, report: ProviderReport, now: float
) -> ProviderHealthState:
    """The state after a batch of calls that ended about now."""
    # The last report may be old: calls that have left the window must not be judged.
    state = at(state, now)
    failing = report.failing_since_success
    changed = state.model_copy(
        update={
            "buckets": _with_calls(state, report, now),
            "streak": failing if report.works else state.streak + failing,
        }
    )
    # The latest last, so that one can be shown.
    kept = {code: text for code, text in state.details.items() if code not in report.details}
    changed = changed.model_copy(update={"details": kept | report.details})
    return _judged(changed, report, now)


def with_probe(state: ProviderHealthState, probed: Probed, now: float) -> ProviderHealthState:
    """The state after the provider was asked, for free, whether it would serve us."""
    if state.circuit is not Circuit.OPEN:
        return state
    if _age(state, now) < state.rules.cool_down_seconds:
        # Too early for a turn: the calls that opened it are of just now.
        objected = state.probe_objected or bool(probed.fix)
        return state.model_copy(update={"probe_objected": objected})
    if probed.unknown:
        return _turned(state, Circuit.CLOSED, now)
    if probed.fix and _age(state, now) < state.rules.longest_open_seconds:
        return state.model_copy(update={"probe_objected": True})
    seen_fixed = state.probe_objected and not probed.fix and probed.key_taken
    if state.opened_by is ErrorCode.AUTH_CONFIG and seen_fixed:
        return _turned(state, Circuit.CLOSED, now)
    # A probe proves little, either way: a look-up may be refused where calls are not.
    return _turned(state, Circuit.HALF_OPEN, now)


def at(state: ProviderHealthState, now: float) -> ProviderHealthState:
    """The state when time alone has passed.

    Calls leave the window; a half-open circuit that no call has tried closes.
    """
    kept = tuple(each for each in state.buckets if each.at > now - state.rules.window_seconds)
    state = state.model_copy(update={"buckets": kept})
    if state.circuit is Circuit.HALF_OPEN and _age(state, now) >= state.rules.window_seconds:
        return _turned(state, Circuit.CLOSED, now)
    return state


def view_of(state: ProviderHealthState, now: float) -> ProviderHealthView:
    """What the query answers."""
    state = at(state, now)
    successes, failures = _calls(state)
    return ProviderHealthView(
        provider=state.provider,
        circuit=state.circuit,
        since=state.since,
        as_of=now,
        window_seconds=state.rules.window_seconds,
        successes=successes,
        failures=dict(failures),
        perhaps_paid=_perhaps_paid(state),
        streak=state.streak,
        details=state.details,
        firing=state.firing,
    )


def alerts_of(state: ProviderHealthState) -> tuple[AdminAlert, ...]:
    """The alerts that should fire."""
    return (*_down(state), *_frequent(state))


def _with_calls(
    state: ProviderHealthState, report: ProviderReport, now: float
) -> tuple[Bucket, ...]:
    begins = now - now % state.rules.slice_seconds
    *older, last = state.buckets or (Bucket(at=begins),)
    if last.at < begins:
        older, last = [*older, last], Bucket(at=begins)
    counted = Counter(last.failures) + Counter(report.failures)
    last = Bucket(
        at=last.at,
        successes=last.successes + report.successes,
        failures=dict(counted),
        perhaps_paid=last.perhaps_paid + report.perhaps_paid,
    )
    return (*older, last)


def _judged(state: ProviderHealthState, report: ProviderReport, now: float) -> ProviderHealthState:
    """Whether the circuit turns after `report`."""
    failing = bool(report.failing_since_success)
    cooled_down = _age(state, now) >= state.rules.cool_down_seconds
    match state.circuit:
        case Circuit.CLOSED if failing and (why := _reason_to_open(state, report)):
            return _turned(state, Circuit.OPEN, now, why)
        case Circuit.OPEN if report.works and not failing and cooled_down:
            # A generation without another route, or a call from before: a sign, not yet a proof.
            return _turned(state, Circuit.HALF_OPEN, now)
        case Circuit.HALF_OPEN if failing:
            return _turned(state, Circuit.OPEN, now, _worst(state, Counter(report.failures)))
        case Circuit.HALF_OPEN if report.works:
            return _turned(state, Circuit.CLOSED, now)
    return state


def _reason_to_open(state: ProviderHealthState, report: ProviderReport) -> ErrorCode | None:
    worst = _worst(state, Counter(report.failures))
    rules = state.rules
    if state.streak >= rules.failures_in_a_row:
        return worst
    successes, failures = _calls(state)
    calls = successes + failures.total()
    refused = sum(failures[code] for code in rules.enough)
    if worst in rules.enough and refused > calls * rules.refusals_to_open:
        return worst
    against = sum(failures[code] for code in rules.against)
    if calls >= rules.fewest_calls_to_open and against > calls * rules.share_to_open:
        return worst
    return None


def _worst(state: ProviderHealthState, failures: Counter[ErrorCode]) -> ErrorCode | None:
    """The code to name: what needs a person first, then what came most often."""
    against = [code for code in failures if code in state.rules.against]
    return max(against, key=lambda code: (code in state.rules.enough, failures[code]), default=None)


def _turned(
    state: ProviderHealthState, circuit: Circuit, now: float, why: ErrorCode | None = None
) -> ProviderHealthState:
    # While it is half-open, the reason for which it opened still holds.
    opened_by = {Circuit.CLOSED: None, Circuit.OPEN: why}.get(circuit, state.opened_by)
    since = datetime.fromtimestamp(now, UTC).isoformat(timespec="milliseconds")
    turned = state.model_copy(update={"circuit": circuit, "since": since, "opened_by": opened_by})
    if circuit is Circuit.CLOSED:
        # What opened it lies behind: it must not count again with the next failure.
        past = {"buckets": (), "streak": 0, "details": {}, "probe_objected": False}
        return turned.model_copy(update=past)
    return turned


def _age(state: ProviderHealthState, now: float) -> float:
    """Seconds since the circuit turned."""
    return now - datetime.fromisoformat(state.since).timestamp() if state.since else math.inf


def _calls(state: ProviderHealthState) -> tuple[int, Counter[ErrorCode]]:
    failures: Counter[ErrorCode] = Counter()
    for bucket in state.buckets:
        failures.update(bucket.failures)
    return sum(bucket.successes for bucket in state.buckets), failures


def _perhaps_paid(state: ProviderHealthState) -> int:
    return sum(bucket.perhaps_paid for bucket in state.buckets)


def _down(state: ProviderHealthState) -> Iterator[AdminAlert]:
    if state.circuit is not Circuit.CLOSED:
        code = state.opened_by
        yield provider_down(
            state.provider, code, _last_answer(state, code), perhaps_paid=_perhaps_paid(state)
        )


def _frequent(state: ProviderHealthState) -> Iterator[AdminAlert]:
    successes, failures = _calls(state)
    calls = successes + failures.total()
    for code, count in failures.items():
        if state.circuit is not Circuit.CLOSED and code in state.rules.against:
            continue  # PROVIDER_DOWN says it already
        if _is_frequent(state, code, count, calls):
            yield provider_errors(
                state.provider,
                code,
                count=count,
                calls=calls,
                minutes=state.rules.window_seconds / 60,
                page=state.rules.alerts.get(code) is Alert.PAGE,
                perhaps_paid=_perhaps_paid(state),
                last_answer=_last_answer(state, code),
            )


def _is_frequent(state: ProviderHealthState, code: ErrorCode, count: int, calls: int) -> bool:
    rules = state.rules
    match rules.alerts.get(code):
        case Alert.PAGE | Alert.ALWAYS:
            return True
        case Alert.BY_RATE:
            share = rules.frequent_refusals if code in rules.users else rules.frequent_errors
            return calls >= rules.fewest_calls_to_warn and count > calls * share
        case Alert.IF_IT_LASTS:
            seen = [bucket.at for bucket in state.buckets if code in bucket.failures]
            lasts = seen[-1] - seen[0] >= rules.lasting_seconds
            return lasts and count > calls * rules.frequent_errors
    return False


def _last_answer(state: ProviderHealthState, code: ErrorCode | None) -> str | None:
    return state.details.get(code) if code else None
