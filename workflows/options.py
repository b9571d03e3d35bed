"""Timeouts and retry policies, each below its reason. Figures marked "spec" are requirements."""

from datetime import timedelta

from temporalio.common import RetryPolicy

from contracts.errors import DeliveryError

# spec: event-driven-architecture, Retry Policies: AI service, 2 retries, fixed, 5 s.
PROVIDER_RETRY = RetryPolicy(
    initial_interval=timedelta(seconds=5), backoff_coefficient=1, maximum_attempts=3
)

# Asking after a job costs nothing, and the job is paid for: until the deadline. Fixed 5 s as above.
COLLECT_RETRY = RetryPolicy(initial_interval=timedelta(seconds=5), backoff_coefficient=1)

# Before a failed job is submitted again. spec: as PROVIDER_RETRY.
NEW_JOB_PAUSE = timedelta(seconds=5)

# spec: event-driven-architecture, Retry Policies: callback, 3 retries, initial 1 s, factor 2.
ODOO_RETRY = RetryPolicy(
    initial_interval=timedelta(seconds=1),
    backoff_coefficient=2,
    maximum_attempts=4,
    non_retryable_error_types=[DeliveryError.ODOO_REFUSED],
)

# As the callback's; a notification that cannot be sent must not hold the generation up for long.
NOTIFY_RETRY = RetryPolicy(initial_interval=timedelta(seconds=1), maximum_attempts=4)

# Three of the worker's heartbeat intervals (5 s): one may be late, a dead worker is soon noticed.
HEARTBEAT_TIMEOUT = timedelta(seconds=15)

# A look-up in memory; the rest is for a worker that is busy.
PLAN_TIMEOUT = timedelta(seconds=10)

# Beside the service's own time: waiting for a store that is away (60 s) and writing to it.
STORE_ALLOWANCE = timedelta(seconds=90)

# spec: the callback's timeout is 60 s; the rest is for the link and a slow machine.
DELIVER_TIMEOUT = timedelta(seconds=75)

# The notification service has 20 s (`activities.notify`); the rest is for a slow machine.
NOTIFY_TIMEOUT = timedelta(seconds=30)

# Stopping a job that is no longer needed is a kindness; the job's own deadline ends it anyway.
STOP_TIMEOUT = timedelta(seconds=30)
STOP_ALLOWANCE = timedelta(minutes=2)
STOP_RETRY = RetryPolicy(initial_interval=timedelta(seconds=5), maximum_attempts=3)

# A parked delivery is tried again by itself: after 1 min, doubling up to 1 h.
PARK_FIRST_PAUSE = timedelta(minutes=1)
PARK_LONGEST_PAUSE = timedelta(hours=1)

# Then a workflow that may live for months continues as new; the server's limit is 51,200. A parked
# delivery adds some 17 events an hour, so this is two days and more of them.
LONG_HISTORY_EVENTS = 1_000


def park_pause(rounds: int) -> timedelta:
    """How long a delivery waits that has been tried in so many rounds."""
    doublings = min(max(rounds - 1, 0), 16)  # beyond the longest pause, and no overflow after years
    return min(PARK_FIRST_PAUSE * (1 << doublings), PARK_LONGEST_PAUSE)


# spec: event-driven-architecture, Performance Metrics: error rates "over 5 mins". Calls are kept in
# 30 slices of the window, which bounds the state whatever the rate.
HEALTH_WINDOW_SECONDS = 300.0
HEALTH_SLICE_SECONDS = 10.0

# Shares of calls. spec, ibid.: "> 5%". Users' refused prompts are ordinary until they are many;
# below 20 calls one failure would be an alert.
FREQUENT_ERRORS = 0.05
FREQUENT_REFUSALS = 0.25
FEWEST_CALLS_TO_WARN = 20

# Between the first and the last 429 in the window: then it is no peak any more.
LASTING_SECONDS = 120.0

# A circuit opens when nothing works: 8 failures in a row are three generations with their retries,
# and happen by chance once in 15,000 calls when 30 % fail.
FAILURES_IN_A_ROW = 8
SHARE_TO_OPEN = 0.5
FEWEST_CALLS_TO_OPEN = 10

# Share of refused keys and empty accounts among all calls: below it, one worker of many has wrong
# settings, and the others go on.
REFUSALS_TO_OPEN = 0.1

# Between two probes of a provider whose circuit is open; before that nothing closes it, so that one
# worker in trouble among others does not make it flap.
COOL_DOWN = timedelta(seconds=30)

# Then a few generations try, whatever the probe says: a look-up may be refused for ever where calls
# are not.
LONGEST_OPEN_SECONDS = 600.0

# A look-up has 10 s (`activities.providers.probing`); the rest is for a slow machine.
PROBE_TIMEOUT = timedelta(seconds=20)

# An Alertmanager that is away must not hold up the workflow that raises alerts; its next round
# sends them again.
ALERT_TIMEOUT = timedelta(seconds=20)
ALERT_ALLOWANCE = timedelta(seconds=60)

# A firing alert is sent again each minute, and ends by itself when that failed three times, so that
# no alert outlives its reason for hours.
ALERT_REFRESH = timedelta(seconds=60)
ALERT_LASTS = timedelta(seconds=200)

# How often the backlog is counted.
COUNT_EVERY = timedelta(seconds=30)

# Failed generations raise an alert for as long as the last of them is not older.
FAILED_WINDOW = timedelta(minutes=5)
