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

PARK_FIRST_PAUSE = timedelta(minutes=1)
PARK_LONGEST_PAUSE = timedelta(hours=1)
# A parked delivery tries again by itself: after 1 min, doubling up to 1 h.
