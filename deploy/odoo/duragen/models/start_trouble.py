"""Starts that fail for long: one activity for managers, and one alert, for as long as it lasts."""

import logging
from datetime import timedelta

from markupsafe import escape
from odoo import api, fields, models

from .. import alerting

_logger = logging.getLogger(__name__)

PATIENCE = timedelta(minutes=5)
"""So long may the outbox fail to start a request before anybody is called. A restart or a
deployment of Temporal or the gateway is over by then. Counted in time and not in tries: during an
outage each run of the outbox tries only one of those that wait."""

ALERT_LASTS = timedelta(minutes=5)
"""An alert ends by itself when it is not sent again. The outbox sends it each minute, or each
second minute while calls to Duragen take their time: two of them may fail."""

RESOLVED_AGO = timedelta(minutes=1)
"""A resolved alert ended so long ago: an end that is ahead of Alertmanager's clock is none."""

TODO = "mail.mail_activity_data_todo"


class StartTrouble(models.Model):
    """A time in which Odoo could not start generations. At most one has not ended."""

    _name = "duragen.start.trouble"
    _description = "Trouble with Starts"
    _inherit = ["duragen.guarded", "mail.thread", "mail.activity.mixin"]
    _order = "id desc"

    began_at = fields.Datetime(
        "Since", required=True, readonly=True, help="The first start that failed and still waits."
    )
    ended_at = fields.Datetime("Until", readonly=True)
    waiting = fields.Integer(readonly=True, help="Generations that waited when it was last looked.")
    last_error = fields.Char(readonly=True, help="Why the one that waits longest was not started.")
    alert_until = fields.Datetime(
        "Alert until", readonly=True, help="Until when the alert stands that was sent last."
    )

    def init(self):
        """One that has not ended, also when two processes look at once."""
        self.env.cr.execute(
            "CREATE UNIQUE INDEX IF NOT EXISTS duragen_start_trouble_one_open"
            " ON duragen_start_trouble ((ended_at IS NULL)) WHERE ended_at IS NULL"
        )

    @api.depends_context("lang")
    def _compute_display_name(self):
        for trouble in self:
            trouble.display_name = self.env._("Generations are not started")

    @api.model
    def _watch(self):
        """Look at what waits, then inform Alertmanager; each commits by itself and never raises.

        In transactions of its own: the caller's sees nothing that the outbox has just started.
        """
        for step in ("_look", "_inform_alertmanager"):
            try:
                with self.env.registry.cursor() as cr:
                    env = api.Environment(cr, api.SUPERUSER_ID, {})
                    getattr(env[self._name], step)()
            except Exception:
                _logger.exception("%s failed; the next run of the outbox tries again", step)

    @api.model
    def _look(self):
        """Begin a trouble, bring it up to date, or end it when no start fails any more."""
        requests = self.env["duragen.generation.request"]
        fails = [("state", "=", "requested"), ("failing_since", "!=", False)]
        longest = requests.search(fails, order="failing_since, id", limit=1)
        trouble = self.search([("ended_at", "=", False)], limit=1)
        if not longest:
            trouble._end()
            return
        found = {
            "waiting": requests.search_count([("state", "=", "requested")]),
            "last_error": longest.start_error,
        }
        if trouble:
            trouble.write(found)
        elif longest.failing_since <= fields.Datetime.now() - PATIENCE:
            self.create({"began_at": longest.failing_since, **found})._ask_manager()

    def _ask_manager(self):
        manager = self._manager()
        if not manager:
            _logger.warning("generations are not started, and there is no manager to ask")
            return
        trouble = self.with_context(lang=manager.lang)
        note = trouble.env._(
            "Odoo has not been able to start generations for %(minutes)s minutes; %(waiting)s wait."
            " Nothing is lost: Odoo tries again each minute. Last error: %(error)s. The connection"
            " test in Duragen's settings says what to do.",
            minutes=PATIENCE // timedelta(minutes=1),
            waiting=self.waiting,
            error=self.last_error,
        )
        summary = trouble.env._("Generations are not started")
        trouble.activity_schedule(TODO, user_id=manager.id, summary=summary, note=escape(note))

    def _manager(self):
        """Who is asked: the first manager, an administrator only where there is no other."""
        group = self.env.ref("duragen.group_manager")
        members = "all_user_ids" if "all_user_ids" in group._fields else "users"
        managers = group[members].filtered(lambda user: user.active and not user.share)
        return managers.sorted(lambda user: (user.has_group("base.group_system"), user.id))[:1]

    def _end(self):
        """Mark the activity as done, with a note; one that was done already gets the note alone."""
        for trouble in self:
            trouble.ended_at = fields.Datetime.now()
            activities = trouble.activity_ids
            language = activities[:1].user_id.lang or self._manager().lang
            note = trouble.with_context(lang=language).env._(
                "No start fails any more: those that waited are started, or were taken back."
            )
            if activities:
                activities.action_feedback(feedback=note)
            else:
                trouble.message_post(body=note)

    @api.model
    def _inform_alertmanager(self):
        """Raise the alert again while a trouble lasts; resolve it when the trouble has ended."""
        connection = self.env["duragen.connection"]
        address, now = connection._setting("alertmanager_url"), fields.Datetime.now()
        if not address or connection._is_copy():
            return
        current = self.search([("ended_at", "=", False)], limit=1)
        ended = self.search([("ended_at", "!=", False), ("alert_until", ">", now)])
        if not current and not ended:
            return
        # The labels of all are the same: to resolve an ended one would end the current one's alert.
        trouble = current or ended[:1]
        until = now + ALERT_LASTS if current else now - RESOLVED_AGO
        try:
            token = connection._setting("alertmanager_token")
            alerting.send(address, token, [trouble._alert(until)])
        except alerting.AlertingError as error:
            _logger.warning("Alertmanager did not get the alert on starts: %r", error)
            return
        ended.alert_until = False
        current.alert_until = until

    def _alert(self, until):
        """The alert as Alertmanager takes it, labelled as those of Duragen's workers."""
        minutes = (fields.Datetime.now() - self.began_at) // timedelta(minutes=1)
        odoo = self.env["ir.config_parameter"].sudo().get_param("web.base.url")
        return {
            "labels": {
                "alertname": "DuragenStartsFailing",
                "severity": "critical",
                "service": "duragen",
                "errorType": "NOT_STARTED",
                "source": "duragen",
                # Several Odoos may share one Alertmanager, and must not resolve each other's.
                "database": self.env.cr.dbname,
            },
            "annotations": {
                "summary": f"Odoo starts no generations: {self.waiting} wait, {minutes} min",
                "description": "Nothing is lost: Odoo tries again each minute."
                " *Test the Connection* in Duragen's settings there and `duragen doctor` say what"
                f" to do. Last error: {self.last_error}",
            },
            "startsAt": _utc(min(self.began_at, until)),
            "endsAt": _utc(until),
            "generatorURL": f"{odoo}/odoo/action-duragen.start_trouble_action/{self.id}",
        }


def _utc(moment):
    return moment.isoformat(timespec="milliseconds") + "Z"
