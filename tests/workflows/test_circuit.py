"""The rules of a provider's health, without a server: when a circuit turns, what alerts stand."""

from collections.abc import Iterable
from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.alerts import AlertName, Severity
from contracts.errors import TAXONOMY, ErrorCode, ErrorKind
from contracts.provider_health import (
    AGAINST_PROVIDER,
    Circuit,
    HealthRules,
    Probed,
    ProviderHealthState,
    ProviderReport,
)
from workflows.circuit import alerts_of, at, view_of, with_probe, with_report

Call = ErrorCode | None
"""How one call ended; None is an image."""

OK = None
AUTH, QUOTA = ErrorCode.AUTH_CONFIG, ErrorCode.QUOTA_EXHAUSTED
MODEL = ErrorCode.MODEL_CONFIG
BUSY, AWAY = ErrorCode.RATE_LIMITED, ErrorCode.PROVIDER_UNAVAILABLE
LOST = ErrorCode.JOB_LOST
REFUSED = ErrorCode.POLICY_INPUT
NOW = 1_800_000_000.0
RULES = HealthRules()
SIGNS_OF_LIFE = [OK, *(code for code in TAXONOMY if TAXONOMY[code].kind is ErrorKind.USER)]

calls = st.lists(st.sampled_from([OK, *(set(ErrorCode) - {ErrorCode.INTERNAL})]), max_size=30)
# What is no provider's doing (INTERNAL) is never reported.


def report_of(ended: Iterable[Call]) -> ProviderReport:
    """One batch of calls, reported as a process reports it."""
    report = ProviderReport()
    for code in ended:
        failures = dict(report.failures)
        changes: dict[str, object] = {}
        if code is None:
            changes["successes"] = report.successes + 1
        else:
            failures[code] = failures.get(code, 0) + 1
            changes["failures"] = failures
            if code not in SIGNS_OF_LIFE:
                changes["details"] = {**report.details, code: f"it said {code}"}
        if code in SIGNS_OF_LIFE:
            changes |= {"works": True, "failing_since_success": 0}
        elif code in AGAINST_PROVIDER:
            changes["failing_since_success"] = report.failing_since_success + 1
        report = report.model_copy(update=changes)
    return report


def state_after(*batches: Iterable[Call], every: float = 2.0) -> ProviderHealthState:
    """The state after these batches, one each so many seconds, the last of them now."""
    state = ProviderHealthState(provider="openai")
    for number, batch in enumerate(batches, start=1):
        state = with_report(state, report_of(batch), NOW - every * (len(batches) - number))
    return state


def standing(state: ProviderHealthState) -> dict[AlertName, ErrorCode | str]:
    """The alerts that should stand, by name."""
    return {alert.name: alert.error_type for alert in alerts_of(state)}


def opened_by(code: ErrorCode) -> ProviderHealthState:
    """An open circuit."""
    state = state_after([code] * RULES.failures_in_a_row)
    assert (state.circuit, state.opened_by) == (Circuit.OPEN, code)
    return state


@pytest.mark.parametrize(
    ("batches", "circuit"),
    [
        ([[OK] * 1_000], Circuit.CLOSED),
        ([[AUTH]], Circuit.OPEN),
        ([[QUOTA]], Circuit.OPEN),
        ([[OK] * 1_000, [OK, QUOTA]], Circuit.CLOSED),  # one worker of many
        ([[OK] * 9, [QUOTA]], Circuit.CLOSED),  # 10 % is not more than 10 %
        ([[OK] * 8, [QUOTA]], Circuit.OPEN),
        ([[OK] * 1_000, [QUOTA] * 8], Circuit.OPEN),
        ([[AUTH, OK]], Circuit.CLOSED),  # a call from before the key was fixed
        ([[AWAY] * 7], Circuit.CLOSED),
        ([[AWAY] * 8], Circuit.OPEN),
        ([[AWAY] * 4, [LOST] * 3], Circuit.CLOSED),
        ([[AWAY] * 4, [LOST] * 4], Circuit.OPEN),
        ([[BUSY] * 1_000], Circuit.CLOSED),  # it serves others of our calls
        ([[AWAY] * 7, [OK], [AWAY] * 1], Circuit.CLOSED),
        ([[AWAY] * 7, [REFUSED], [AWAY] * 1], Circuit.CLOSED),
        ([[AWAY] * 7, [MODEL] * 9, [AWAY]], Circuit.OPEN),  # says nothing of the service
        ([[REFUSED] * 1_000], Circuit.CLOSED),
        ([[MODEL] * 1_000], Circuit.CLOSED),
        ([[OK, AWAY, AWAY]] * 3, Circuit.CLOSED),  # nine calls are too few for a share
        ([[OK, AWAY, AWAY]] * 4, Circuit.OPEN),
        ([[OK, AWAY]] * 50, Circuit.CLOSED),  # half is not more than half
    ],
)
def test_when_a_circuit_opens(batches: list[list[Call]], circuit: Circuit) -> None:
    """A tenth refused, 8 failures in a row, or more than half of 10 calls or more."""
    assert state_after(*batches).circuit is circuit


def test_what_has_left_the_window_does_not_open_a_circuit() -> None:
    """Nine calls of an hour ago are not added to today's single failure."""
    state = state_after([OK, AWAY, AWAY, OK, AWAY, AWAY, OK, AWAY, AWAY])
    state = with_report(state, report_of([OK, AWAY]), NOW + 3_600)
    assert state.circuit is Circuit.CLOSED
    assert (view_of(state, NOW + 3_600).successes, state.streak) == (1, 1)


@pytest.mark.parametrize(
    ("code", "probed", "circuit"),
    [
        (AUTH, Probed(found="takes the key", key_taken=True), Circuit.HALF_OPEN),
        (AUTH, Probed(found="has no way to check the key"), Circuit.HALF_OPEN),
        (AUTH, Probed(found="refuses the key", fix="set a valid key"), Circuit.OPEN),
        (QUOTA, Probed(found="takes the key", key_taken=True), Circuit.HALF_OPEN),
        (AWAY, Probed(found="takes the key", key_taken=True), Circuit.HALF_OPEN),
        (AWAY, Probed(found="cannot be reached", fix="check base_url"), Circuit.OPEN),
    ],
)
def test_what_a_probe_makes_of_an_open_circuit(
    code: ErrorCode, probed: Probed, circuit: Circuit
) -> None:
    """What answers well is for a generation to try: a look-up may be served where calls are not."""
    assert with_probe(opened_by(code), probed, NOW + 30).circuit is circuit


def test_a_key_that_was_seen_refused_and_is_taken_now_is_fixed() -> None:
    """Then the probe has seen the very trouble go, and no generation need try."""
    refused = with_probe(opened_by(AUTH), Probed(found="refuses", fix="set it"), NOW + 30)
    taken = Probed(found="takes the key", key_taken=True)
    assert with_probe(refused, taken, NOW + 60).circuit is Circuit.CLOSED


def test_a_probe_that_always_objects_does_not_keep_a_circuit_open_for_ever() -> None:
    """The look-up may be refused for ever, or the service answer it with a page."""
    objects = Probed(found="answers 403", fix="set a valid key")
    late = NOW + RULES.longest_open_seconds
    assert with_probe(opened_by(AWAY), objects, late - 1).circuit is Circuit.OPEN
    assert with_probe(opened_by(AWAY), objects, late).circuit is Circuit.HALF_OPEN


def test_a_provider_that_is_gone_is_forgotten() -> None:
    """There is no alert about a provider that is no longer in the settings."""
    gone = with_probe(opened_by(AWAY), Probed(found="not there", unknown=True), NOW + 30)
    assert (gone.circuit, alerts_of(gone)) == (Circuit.CLOSED, ())


def test_a_probe_changes_nothing_while_the_circuit_is_not_open() -> None:
    """It was asked when the circuit was open, and the answer came after a report."""
    closed = state_after([OK])
    assert with_probe(closed, Probed(found="refuses the key", fix="set it"), NOW) == closed


@pytest.mark.parametrize(
    ("batch", "circuit"),
    [
        ([OK], Circuit.CLOSED),
        ([REFUSED], Circuit.CLOSED),
        ([AWAY, OK], Circuit.CLOSED),
        ([LOST], Circuit.OPEN),
        ([BUSY], Circuit.HALF_OPEN),
        ([OK, AWAY], Circuit.OPEN),
        ([MODEL], Circuit.HALF_OPEN),
        ([], Circuit.HALF_OPEN),
    ],
)
def test_how_half_open_ends(batch: list[Call], circuit: Circuit) -> None:
    """By what the provider did last: it works, or it fails again; a wrong model says neither."""
    half_open = with_probe(opened_by(AWAY), Probed(found="answers"), NOW + 30)
    state = with_report(half_open, report_of(batch), NOW + 31)
    assert state.circuit is circuit
    if circuit is Circuit.CLOSED:
        assert (state.streak, state.opened_by, standing(state)) == (0, None, {})


def test_a_success_while_open_is_a_sign_but_no_proof() -> None:
    """Somebody without another route got an image: others may try, and one failure ends it."""
    cool = RULES.cool_down_seconds
    early = with_report(opened_by(AWAY), report_of([OK]), NOW + cool - 1)
    assert early.circuit is Circuit.OPEN  # or one worker in trouble would make it flap
    half_open = with_report(early, report_of([OK]), NOW + cool)
    assert half_open.circuit is Circuit.HALF_OPEN
    assert standing(half_open) == {AlertName.PROVIDER_DOWN: AWAY}
    again = with_report(half_open, report_of([LOST]), NOW + cool + 2)
    assert (again.circuit, again.opened_by) == (Circuit.OPEN, LOST)


def test_a_half_open_circuit_without_calls_closes_after_five_minutes() -> None:
    """No traffic since: nothing is held against the provider. However long it had been open."""
    asked = NOW + 3 * RULES.window_seconds
    half_open = with_probe(opened_by(QUOTA), Probed(found="answers"), asked)
    assert at(half_open, asked + RULES.window_seconds - 1).circuit is Circuit.HALF_OPEN
    later = at(half_open, asked + RULES.window_seconds)
    assert (later.circuit, alerts_of(later)) == (Circuit.CLOSED, ())


def test_a_closed_circuit_starts_from_nothing() -> None:
    """Seven failures after it closed do not open it: the old ones are forgotten."""
    half_open = with_probe(opened_by(AWAY), Probed(found="answers"), NOW + 30)
    closed = with_report(half_open, report_of([OK]), NOW + 31)
    assert with_report(closed, report_of([AWAY] * 7), NOW + 32).circuit is Circuit.CLOSED


def test_the_probe_right_after_it_opened_only_notes_what_it_objects_to() -> None:
    """A good answer comes too early then; a refused key is noted, to see later if it is fixed."""
    state = opened_by(AUTH)
    assert with_probe(state, Probed(found="takes the key", key_taken=True), NOW + 1) == state
    assert with_probe(state, Probed(found="refuses", fix="set it"), NOW + 1).probe_objected


@pytest.mark.parametrize(
    ("batches", "every", "alerts"),
    [
        ([[OK] * 999, [MODEL]], 2, {AlertName.PROVIDER_ERRORS: MODEL}),
        ([[OK] * 999, [ErrorCode.JOB_LOST]], 2, {AlertName.PROVIDER_ERRORS: ErrorCode.JOB_LOST}),
        ([[OK] * 17 + [AWAY, OK]], 2, {}),  # 19 calls are too few
        ([[OK] * 19 + [AWAY]], 2, {}),  # 5 % is not more than 5 %
        ([[OK] * 18 + [AWAY, OK, AWAY]], 2, {AlertName.PROVIDER_ERRORS: AWAY}),
        ([[OK] * 15 + [REFUSED] * 5], 2, {}),
        ([[OK] * 14 + [REFUSED] * 6], 2, {AlertName.PROVIDER_ERRORS: REFUSED}),
        ([[OK, BUSY, OK]] * 12, 10, {}),  # a peak of 110 s
        ([[OK, BUSY, OK]] * 13, 10, {AlertName.PROVIDER_ERRORS: BUSY}),
        ([[BUSY], *[[OK] * 20] * 12, [BUSY]], 10, {}),  # two among many are no lasting trouble
        ([[ErrorCode.INVALID_INPUT] * 99], 2, {}),
        ([[OK] * 99 + [ErrorCode.OUTCOME_UNKNOWN]], 2, {}),
    ],
)
def test_which_errors_are_alerts_while_the_circuit_is_closed(
    batches: list[list[Call]], every: float, alerts: dict[AlertName, ErrorCode]
) -> None:
    """As the taxonomy says: always, by their share of 20 calls or more, or when they last."""
    state = state_after(*batches, every=every)
    assert state.circuit is Circuit.CLOSED
    assert standing(state) == alerts


def test_a_page_is_critical_and_names_what_to_fix() -> None:
    """MODEL_CONFIG leaves the circuit closed, and is as urgent as a provider that is down."""
    [alert] = alerts_of(state_after([MODEL]))
    assert alert.severity is Severity.CRITICAL
    assert "[models]" in alert.description
    [down] = alerts_of(state_after([AUTH]))
    assert down.severity is Severity.CRITICAL
    assert "providers.openai.api_key" in down.description
    assert f"it said {AUTH}" in down.description


def test_an_open_circuit_is_one_alert() -> None:
    """Failures that opened it are no second alert; a wrong model still is."""
    state = state_after([AWAY] * 30, [MODEL])
    assert standing(state) == {AlertName.PROVIDER_DOWN: AWAY, AlertName.PROVIDER_ERRORS: MODEL}


@given(st.lists(st.lists(st.sampled_from(SIGNS_OF_LIFE), max_size=40), max_size=12))
def test_successes_and_users_errors_alone_never_open(batches: list[list[Call]]) -> None:
    """Whatever users ask for, a provider that answers stays preferred."""
    assert state_after(*batches).circuit is Circuit.CLOSED


@given(st.lists(st.tuples(calls, st.floats(0, 400)), max_size=60))
def test_what_holds_after_any_reports(batches: list[tuple[list[Call], float]]) -> None:
    """The state stays small, each alert is there once, PROVIDER_DOWN while it is not closed."""
    state = ProviderHealthState(provider="openai")
    times = accumulate((pause for _, pause in batches), initial=NOW)
    for (batch, _), now in zip(batches, times, strict=False):
        state = with_report(state, report_of(batch), now)
        alerts = alerts_of(state)
        identities = [alert.identity for alert in alerts]
        assert len(state.buckets) <= 31
        assert len(set(identities)) == len(identities)
        closed = state.circuit is Circuit.CLOSED
        assert closed is (state.opened_by is None)
        assert closed is not any(alert.name is AlertName.PROVIDER_DOWN for alert in alerts)
    later = at(state, NOW + sum(pause for _, pause in batches) + RULES.window_seconds)
    assert later.buckets == ()
    if later.circuit is Circuit.CLOSED:
        assert alerts_of(later) == ()


@given(st.lists(st.tuples(calls, st.floats(0, 100)), max_size=30))
def test_the_view_counts_what_the_window_holds(batches: list[tuple[list[Call], float]]) -> None:
    """Each call counts for 290 to 300 s; a circuit that stays closed forgets none before."""
    state, now, reported = ProviderHealthState(provider="openai"), NOW, []
    for batch, pause in batches:
        ended = [code if code in SIGNS_OF_LIFE else MODEL for code in batch]
        now += pause
        state = with_report(state, report_of(ended), now)
        reported.append((now, len(ended)))
    view = view_of(state, now)
    counted = view.successes + sum(view.failures.values())
    window = RULES.window_seconds
    assert sum(n for when, n in reported if when > now - window + RULES.slice_seconds) <= counted
    assert counted <= sum(number for when, number in reported if when > now - window)
