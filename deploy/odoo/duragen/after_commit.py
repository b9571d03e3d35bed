"""Methods in a transaction of their own, and the calls of Duragen in hooks after a commit.

What fails in such a hook is left to the outbox (`models/generation_start.py`).
"""

import logging
import time

from odoo import api
from psycopg2.extensions import TransactionRollbackError

_logger = logging.getLogger(__name__)

QUIET_SECONDS = 10.0
"""So long after a call that did not reach Duragen, submissions make none: the outbox does."""

_quiet_until = {}


def start_after_commit(registry, request_id):
    """Start a new request, in a hook after its commit; the pages of its user then show it.

    One message, that it is being made or that it waits: a second one would cost each submission
    another connection to the database server, which is Odoo's way to wake up the pages.
    """
    if is_quiet(registry) or not try_after_commit(registry, request_id, "_start"):
        try_after_commit(registry, request_id, "_shown_as_waiting")


def is_quiet(registry):
    """Whether a call has just found Duragen away: then hooks leave it to the outbox."""
    return time.monotonic() < _quiet_until.get(registry.db_name, 0)


def clear_quiet(registry):
    """Let the next hook make its call, whatever the last one found."""
    _quiet_until.pop(registry.db_name, None)


def try_unless_quiet(registry, record_id, method):
    """As `try_after_commit`; of many hooks in a row only the first waits in vain."""
    if not is_quiet(registry):
        try_after_commit(registry, record_id, method)


def try_after_commit(registry, record_id, method, model="duragen.generation.request"):
    """Call `method` of one record, in a hook after the commit; False when it failed.

    Odoo skips the hooks behind one that raises, so this never raises; the outbox tries again.
    """
    try:
        reached = in_own_transaction(registry, record_id, method, model=model)
    except TransactionRollbackError:
        _logger.info(
            "%s of %s %s is left to the outbox: another is at it", method, model, record_id
        )
        return False
    except Exception:
        _logger.exception("%s of %s %s is left to the outbox", method, model, record_id)
        return False
    if not reached:
        _quiet_until[registry.db_name] = time.monotonic() + QUIET_SECONDS
    return True


def in_own_transaction(registry, record_id, method, *args, model="duragen.generation.request"):
    """Call a method of one record as the superuser, commit, and return the method's answer."""
    with registry.cursor() as cr:
        env = api.Environment(cr, api.SUPERUSER_ID, {})
        return getattr(env[model].browse(record_id), method)(*args)
