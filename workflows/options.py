"""Timeouts and retry policies, each below its reason. Figures marked "spec" are requirements."""

from datetime import timedelta

from temporalio.common import RetryPolicy

from contracts.errors import DeliveryError

# spec: event-driven-architecture, Retry Policies: AI service, 2 retries, fixed, 5 s.
# What the server cuts off may have been paid for: the workflow alone decides about another call.
# The names are the server's own for its timeouts.
PROVIDER_RETRY = RetryPolicy(
    initial_interval=timedelta(seconds=5),
    backoff_coefficient=1,
    maximum_attempts=3,
    non_retryable_error_types=["TemporalTimeout:Heartbeat", "TemporalTimeout:StartToClose"],
)

# Asking after a job costs nothing, and the job is paid for: until the deadline. Fixed 5 s as above.
COLLECT_RETRY = RetryPolicy(initial_interval=timedelta(seconds=5), backoff_coefficient=1)

# spec: event-driven-architecture, Retry Policies: callback, 3 retries, initial 1 s, factor 2.
ODOO_RETRY = RetryPolicy(
    initial_interval=timedelta(seconds=1),
    backoff_coefficient=2,
    maximum_attempts=4,
    non_retryable_error_types=[DeliveryError.ODOO_REFUSED],
)

# As the callback's; a notification that cannot be sent must not hold the generation up for long.
NOTIFY_RETRY = RetryPolicy(initial_interval=timedelta(seconds=1), maximum_attempts=4)

# A broker that is away: whoever consumes there has no other way to the outcome. A day, as the image
# that waits for its store; five minutes between two tries of thousands that wait.
PUBLISH_RETRY = RetryPolicy(
    initial_interval=timedelta(seconds=1), maximum_interval=timedelta(minutes=5)
)
PUBLISH_ALLOWANCE = timedelta(days=1)

# One message has 20 s (`peers.rabbitmq_publisher`); the rest is for a slow machine.
PUBLISH_TIMEOUT = timedelta(seconds=40)

# Three of the worker's heartbeat intervals (5 s): one may be late, a dead worker is soon noticed.
HEARTBEAT_TIMEOUT = timedelta(seconds=15)

# A note in memory and one look-up at the server; it must not hold up the next route.
REPORT_TIMEOUT = timedelta(seconds=20)
REPORT_RETRY = RetryPolicy(initial_interval=timedelta(seconds=1), maximum_attempts=2)

# A look-up in memory; the rest is for a worker that is busy.
PLAN_TIMEOUT = timedelta(seconds=10)

# Beside the service's own time: looking for an image while the store hangs (35 s), one write that
# hangs (35 s), and what is left for the disk or, where it is full, for the store once more.
STORE_ALLOWANCE = timedelta(seconds=90)

# One call to the server, which is tried again until it is made.
CANCEL_TIMEOUT = timedelta(seconds=20)

# One look-up at the store for an image that waits on a worker's disk; the next one comes by itself.
FIND_TIMEOUT = timedelta(seconds=60)
FIND_ALLOWANCE = timedelta(minutes=5)

# A job that is ready when its time is over: the copy of its image, some megabytes.
FETCH_ALLOWANCE = timedelta(seconds=30)

# spec: the callback's timeout is 60 s; the rest is for the link and a slow machine.
DELIVER_TIMEOUT = timedelta(seconds=75)

# Nobody takes a delivery, or a notification: no worker has this Odoo in its settings, or so much
# waits for it that the outcome is better parked, where it is seen.
DELIVER_QUEUE_TIMEOUT = NOTIFY_QUEUE_TIMEOUT = timedelta(minutes=2)

# One attempt: it asks a question, and comes again by itself.
ONCE = RetryPolicy(maximum_attempts=1)

# The notification service has 20 s (`activities.notify`); the rest is for a slow machine.
NOTIFY_TIMEOUT = timedelta(seconds=30)

# Stopping a job that is no longer needed is a kindness; the job's own deadline ends it anyway.
STOP_TIMEOUT = timedelta(seconds=30)
STOP_ALLOWANCE = timedelta(minutes=2)
STOP_RETRY = RetryPolicy(initial_interval=timedelta(seconds=5), maximum_attempts=3)

# A parked delivery is tried again by itself: after 1 min, doubling up to 1 h.
PARK_FIRST_PAUSE = timedelta(minutes=1)
PARK_LONGEST_PAUSE = timedelta(hours=1)

# An outcome that is held while Odoo is away is released when Odoo is back: this is a safety net.
HELD_PAUSE = timedelta(hours=1)


def park_pause(rounds: int) -> timedelta:
    """How long a delivery waits that has been tried in so many rounds."""
    doublings = min(max(rounds - 1, 0), 16)  # beyond the longest pause, and no overflow after years
    return min(PARK_FIRST_PAUSE * (1 << doublings), PARK_LONGEST_PAUSE)


# A look-up has 10 s (`activities.providers.probing`); the rest is for a slow machine.
PROBE_TIMEOUT = timedelta(seconds=20)

# A look at Odoo (10 s) and one delivery, which may wait for its turn.
PROBE_ODOO_TIMEOUT = timedelta(seconds=120)

# 50 a second: 180,000 outcomes. A release that was cut off begins again with those that are left.
RELEASE_TIMEOUT = timedelta(hours=1)
RELEASE_RETRY = RetryPolicy(initial_interval=timedelta(seconds=2), backoff_coefficient=1)

# An Alertmanager that is away must not hold up the workflow that raises alerts; its next round
# sends them again.
ALERT_TIMEOUT = timedelta(seconds=20)
ALERT_ALLOWANCE = timedelta(seconds=60)

# An alert ends by itself when sending it again (each minute) failed three times, so that no alert
# outlives its reason for hours.
ALERT_LASTS = timedelta(seconds=200)

# How often the backlog is counted.
COUNT_EVERY = timedelta(seconds=30)

# Failed generations raise an alert for as long as the last of them is not older.
FAILED_WINDOW = timedelta(minutes=5)

# Odoo has 20 s and the receiver 15 (`activities.webhooks`); the rest is for a slow machine.
WEBHOOK_TIMEOUT = timedelta(seconds=60)

# An Odoo that is away, a receiver whose turns are taken: neither is a failed attempt. A day.
WEBHOOK_RETRY = RetryPolicy(
    initial_interval=timedelta(seconds=2), maximum_interval=timedelta(minutes=5)
)
WEBHOOK_ALLOWANCE = timedelta(days=1)

# A connection test, for which a person waits: a look-up in memory, and Odoo's 5 s
# (`activities.connection`) with some for a slow machine. Together less than CONNECTION_SECONDS of
# `starter/client.py`, which ends the whole.
LOOK_UP_TIMEOUT = timedelta(seconds=3)
CALL_BACK_TIMEOUT = timedelta(seconds=6)

# An alert about something that has happened, and does not last: seen within a working day.
WEBHOOK_ALERT_LASTS = timedelta(days=1)
