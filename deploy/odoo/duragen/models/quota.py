"""How many submissions a user may make: in a minute, a day, a month."""

from datetime import timedelta

from dateutil.relativedelta import relativedelta
from odoo import api, fields, models
from odoo.exceptions import ValidationError

from ..exceptions import QuotaError
from ..wording import quota_in_words, room_again

PERIODS = [("day", "Day"), ("month", "Month")]
RATE_SECONDS = 60


class Quota(models.Model):
    """At most `limit` submissions a period (UTC). A user's own row wins over the one for everybody.

    Each one counts, whatever it costs in the end, but for what failed by our fault or was canceled
    when the image service cannot have been paid for it: the request's `counted` says so.
    """

    _name = "duragen.quota"
    _inherit = "duragen.guarded"
    _description = "Generation Quota"
    _order = "company_id, period, user_id"

    name = fields.Char(compute="_compute_name")
    user_id = fields.Many2one(
        "res.users", ondelete="cascade", help="Empty: everybody without a quota of his own."
    )
    company_id = fields.Many2one(
        "res.company", required=True, default=lambda self: self.env.company, ondelete="cascade"
    )
    period = fields.Selection(PERIODS, required=True, default="day")
    limit = fields.Integer(required=True, default=50)
    active = fields.Boolean(default=True)

    def init(self):
        """One row per user (or for everybody), company and period."""
        self.env.cr.execute(
            "CREATE UNIQUE INDEX IF NOT EXISTS duragen_quota_unique ON duragen_quota"
            " (company_id, period, coalesce(user_id, 0)) WHERE active"
        )

    @api.depends("user_id", "period", "limit")
    def _compute_name(self):
        labels = dict(self._fields["period"]._description_selection(self.env))
        for quota in self:
            who = quota.user_id.name or self.env._("Everybody")
            quota.name = f"{who}: {quota.limit} / {labels.get(quota.period, '')}"

    @api.constrains("limit")
    def _check_limit(self):
        if any(quota.limit < 0 for quota in self):
            raise ValidationError(self.env._("The limit must not be negative."))

    @api.model
    def _standing(self, user, company):
        """For each period with a limit: {"period", "limit", "used", "resets_in"} (seconds)."""
        now = fields.Datetime.now()
        theirs = [("company_id", "=", company.id), ("user_id", "in", [user.id, False])]
        # The usual order would join companies and users.
        rows = self.sudo().search(theirs, order="id")
        found = []
        for period, _label in PERIODS:
            of_period = rows.filtered_domain([("period", "=", period)])
            quota = of_period.filtered("user_id") or of_period
            if quota:
                begin, end = _bounds(period, now)
                found.append(
                    {
                        "period": period,
                        "limit": quota[0].limit,
                        "used": self._used(user, company, begin),
                        "resets_in": int((end - now).total_seconds()) + 1,
                    }
                )
        return found

    def _used(self, user, company, begin):
        return (
            self.env["duragen.generation.request"]
            .sudo()
            .search_count(
                [
                    ("user_id", "=", user.id),
                    ("company_id", "=", company.id),
                    ("counted", "=", True),
                    ("requested_at", ">=", begin),
                ]
            )
        )

    @api.model
    def _check(self, user, company):
        """Raise QuotaError when the user has no submission left, or asks too fast."""
        self._check_rate(user)
        for each in self._standing(user, company):
            if each["used"] >= each["limit"]:
                figures = {"used": each["used"], "limit": each["limit"]}
                text = self.env._(
                    "Your quota of today is used up (%(used)s of %(limit)s).", **figures
                )
                if each["period"] == "month":
                    text = self.env._(
                        "Your quota of this month is used up (%(used)s of %(limit)s).", **figures
                    )
                text = f"{text} {room_again(self.env, each['resets_in'])}"
                raise QuotaError(text, each["resets_in"], each["limit"])

    @api.model
    def _in_words(self, user, company):
        """Each quota that holds for the user, as {"text", "used_up"}: for people."""
        return [
            {"text": quota_in_words(self.env, each), "used_up": each["used"] >= each["limit"]}
            for each in self._standing(user, company)
        ]

    def _check_rate(self, user):
        """Whatever the submissions of the last minute came to, and however they came."""
        # The parameter's name is from when it held for the API alone.
        limit = self.env["duragen.connection"]._number("api_rate_per_minute")
        since = fields.Datetime.now() - timedelta(seconds=RATE_SECONDS)
        requests = self.env["duragen.generation.request"].sudo()
        asked = [("user_id", "=", user.id), ("requested_at", ">", since)]
        # The one that must be a minute old before there is room again.
        nth = {"order": "requested_at desc, id desc", "offset": max(limit, 1) - 1, "limit": 1}
        last = requests.search_fetch(asked, ["requested_at"], **nth)
        if last or limit < 1:
            wait = int(((last.requested_at or since) - since).total_seconds()) + 1
            text = self.env._("Too many requests: the limit is %s a minute.", limit)
            raise QuotaError(f"{text} {room_again(self.env, wait)}", wait, limit)

    @api.model
    def _limits(self, user, company):
        """The rate and the quotas, as {"name", "limit", "remaining", "reset" (seconds)}."""
        rate = self.env["duragen.connection"]._number("api_rate_per_minute")
        since = fields.Datetime.now() - timedelta(seconds=RATE_SECONDS)
        requests = self.env["duragen.generation.request"].sudo()
        asked = requests.search_count([("user_id", "=", user.id), ("requested_at", ">", since)])
        quotas = (
            _left(each["period"], each["limit"], each["used"], each["resets_in"])
            for each in self._standing(user, company)
        )
        return [_left("minute", rate, asked, RATE_SECONDS), *quotas]


def _left(name, limit, used, reset):
    return {"name": name, "limit": limit, "remaining": max(limit - used, 0), "reset": reset}


def _bounds(period, now):
    day = now.replace(hour=0, minute=0, second=0, microsecond=0)
    if period == "day":
        return day, day + timedelta(days=1)
    month = day.replace(day=1)
    return month, month + relativedelta(months=1)
