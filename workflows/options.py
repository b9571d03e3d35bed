"""Timeouts and retry policies, each with its reason. Figures marked "spec" are requirements."""

from datetime import timedelta

from temporalio.common import RetryPolicy

from contracts.errors import DeliveryError

PROVIDER_RETRY = RetryPolicy(
    initial_interval=timedelta(seconds=5), backoff_coefficient=1, maximum_attempts=3
)
# spec: event-driven-architecture, Retry Policies: AI service, 2 retries, fixed, 5 s.

COLLECT_RETRY = RetryPolicy(initial_interval=timedelta(seconds=5), backoff_coefficient=1)
# Asking after a job costs nothing, and the job is paid for: until the deadline. Fixed 5 s as above.

NEW_JOB_PAUSE = timedelta(seconds=5)
# Before a failed job is submitted anew. spec: as PROVIDER_RETRY.

ODOO_RETRY = RetryPolicy(
    initial_interval=timedelta(seconds=1),
    backoff_coefficient=2,
    maximum_attempts=4,
    non_retryable_error_types=[DeliveryError.ODOO_REFUSED],
)
# spec: event-driven-architecture, Retry Policies: callback, 3 retries, initial 1 s, factor 2.

NOTIFY_RETRY = RetryPolicy(initial_interval=timedelta(seconds=1), maximum_attempts=4)
# As the callback's; a notification that cannot be sent must not hold the generation up for long.

HEARTBEAT_TIMEOUT = timedelta(seconds=15)
# Three of the worker's heartbeat intervals (5 s): one may be late, a dead worker is soon noticed.

PLAN_TIMEOUT = timedelta(seconds=10)
# A look-up in memory; the rest is for a worker that is busy.

STORE_ALLOWANCE = timedelta(seconds=90)
# Beside the service's own time: waiting for a store that is away (60 s) and writing to it.

DELIVER_TIMEOUT = timedelta(seconds=75)
# spec: the callback's timeout is 60 s; the rest is for the link and a slow machine.

NOTIFY_TIMEOUT = timedelta(seconds=30)

STOP_TIMEOUT = timedelta(seconds=30)
STOP_ALLOWANCE = timedelta(minutes=2)
STOP_RETRY = RetryPolicy(initial_interval=timedelta(seconds=5), maximum_attempts=3)
# Stopping a job that nobody waits for: a kindness; the job's own deadline ends it all the same.

PARK_FIRST_PAUSE = timedelta(minutes=1)
PARK_LONGEST_PAUSE = timedelta(hours=1)
# A parked delivery tries again by itself: after 1 min, doubling up to 1 h.

LONG_HISTORY_EVENTS = 1_000
# Then what may live for months goes on in a fresh history; the server's limit is 51,200. A parked
# delivery adds some 17 events an hour, so this is two days and more of them.


def park_pause(rounds: int) -> timedelta:
    """How long a delivery waits that has been tried in so many rounds."""
    doublings = min(max(rounds - 1, 0), 16)  # beyond the longest pause, and no overflow after years
    return min(PARK_FIRST_PAUSE * (1 << doublings), PARK_LONGEST_PAUSE)


HEALTH_WINDOW_SECONDS = 300.0
HEALTH_SLICE_SECONDS = 10.0
# Seconds. spec: event-driven-architecture, Performance Metrics: error rates "over 5 mins". Calls
# are kept in 30 slices of it, which bounds the state whatever the rate.

FREQUENT_ERRORS = 0.05
FREQUENT_REFUSALS = 0.25
FEWEST_CALLS_TO_WARN = 20
# Shares of calls. spec, ibid.: "> 5%". Users' refused prompts are ordinary until they are many;
# below 20 calls one failure would be an alert.

LASTING_SECONDS = 120.0
# Seconds between the first and the last 429 in the window: then it is no peak any more.

FAILURES_IN_A_ROW = 8
SHARE_TO_OPEN = 0.5
FEWEST_CALLS_TO_OPEN = 10
# A circuit opens when nothing works: 8 failures in a row are three generations with their retries,
# and happen by chance once in 15,000 calls when 30 % fail.

REFUSALS_TO_OPEN = 0.1
# Share of refused keys and empty accounts among all calls: below it, one worker of many is set up
# wrongly, and the others go on.

COOL_DOWN = timedelta(seconds=30)
# Between two probes of a provider whose circuit is open; before that nothing closes it, so that one
# worker in trouble among others does not make it flap.

LONGEST_OPEN_SECONDS = 600.0
# Seconds. Then a few generations try, whatever the probe says: a look-up may be refused for ever
# where calls are not.

PROBE_TIMEOUT = timedelta(seconds=20)
ALERT_TIMEOUT = timedelta(seconds=20)
ALERT_ALLOWANCE = timedelta(seconds=60)
# An Alertmanager that is away must not hold up who watches; the next round tells it again.

ALERT_REFRESH = timedelta(seconds=60)
ALERT_LASTS = timedelta(seconds=200)
# A standing alert is raised again each minute, and ends by itself when that failed three times:
# nobody is told for hours of what may long be over.

WATCH_EVERY = timedelta(seconds=30)
# How often what waits for a person is counted.

FAILED_WINDOW = timedelta(minutes=5)
# Failed generations raise an alert for as long as the last of them is not older.
