"""Accounts: one user's credits in one company. The balance changes only with an entry."""

from odoo import api, fields, models

from ..exceptions import CreditsError
from ..wording import credits_in_words


class Account(models.Model):
    """Credits of one user in one company; `balance` is the sum of its entries."""

    _name = "duragen.account"
    _inherit = "duragen.guarded"
    _description = "Credit Account"
    _order = "user_id, company_id"
    _rec_name = "user_id"

    user_id = fields.Many2one("res.users", required=True, readonly=True, ondelete="restrict")
    company_id = fields.Many2one("res.company", required=True, readonly=True, ondelete="restrict")
    balance = fields.Integer(readonly=True, help="Credits that may still be spent.")
    entry_ids = fields.One2many("duragen.credit.entry", "account_id", readonly=True)

    def init(self):
        """One account per user and company, also when two transactions make it at once."""
        self.env.cr.execute(
            "CREATE UNIQUE INDEX IF NOT EXISTS duragen_account_user_company_unique"
            " ON duragen_account (user_id, company_id)"
        )

    @api.model
    def _of(self, user, company):
        """The account (sudo); if there is none yet, it is made with what new users are granted."""
        found = self._find(user, company)
        if found:
            return found
        # One transaction at a time makes a user's accounts, for another company's as well: what he
        # begins with is granted once. PostgreSQL refuses the later one, and Odoo runs it again.
        self.env.cr.execute(
            "UPDATE res_users SET write_date = write_date WHERE id = %s",
            [user.id],
            log_exceptions=False,  # whoever loses is run again: that is no error
        )
        # Not create(): when two come at once, the second must find the first's row, not fail.
        self.env.cr.execute(
            "INSERT INTO duragen_account"
            " (user_id, company_id, balance, create_uid, create_date, write_uid, write_date)"
            " VALUES (%s, %s, 0, %s, now() AT TIME ZONE 'UTC', %s, now() AT TIME ZONE 'UTC')"
            " ON CONFLICT (user_id, company_id) DO NOTHING RETURNING id",
            [user.id, company.id, self.env.uid, self.env.uid],
            log_exceptions=False,
        )
        initial = self._initial(user) if self.env.cr.fetchone() else 0
        found = self._find(user, company)
        if initial > 0:
            found._book("grant", initial, note=self.env._("Welcome"))
        return found

    def _find(self, user, company):
        domain = [("user_id", "=", user.id), ("company_id", "=", company.id)]
        # There is one at most. The usual order would join users, partners and companies for it.
        names = ["balance", "user_id", "company_id"]  # an entry has the last two as well
        return self.sudo().search_fetch(domain, names, limit=1, order="id")

    def _initial(self, user):
        """What a user begins with: granted once, in the first company that he asks in."""
        if self.sudo().search_count([("user_id", "=", user.id), ("entry_ids", "!=", False)]):
            return 0
        return self.env["duragen.connection"]._number("initial_credits")

    @api.model
    def _balance_of(self, user, company):
        """Credits that may be spent, without making an account."""
        found = self._find(user, company)
        return found.balance if found else max(0, self._initial(user))

    @api.model
    def _take_turns(self, user):
        """Let one transaction at a time go on from here for a user, in whatever company.

        It writes the row of his first account: a lock alone would let the one that waited go on
        with its old view. As it is, PostgreSQL refuses, and Odoo runs it again.
        """
        self.env.cr.execute(
            "UPDATE duragen_account SET write_date = write_date WHERE id ="
            " (SELECT min(id) FROM duragen_account WHERE user_id = %s)",
            [user.id],
            log_exceptions=False,
        )

    def _book(self, kind, delta, request=None, note=None):
        """Move the balance by `delta` and write the entry for it.

        A reservation that would leave less than 0 is refused. Concurrent bookings of one account
        take turns in the database: the later one sees the balance that the first left, or Odoo
        runs its transaction again. Raises CreditsError.
        """
        self.ensure_one()
        account = self.sudo()
        if (kind == "reserve" or delta) and not account._moved(kind, delta):
            raise CreditsError(
                self.env._(
                    "This costs %(price)s, and you have %(balance)s.",
                    price=credits_in_words(self.env, -delta),
                    balance=credits_in_words(self.env, account.balance),
                )
            )
        # Not through `entry_ids`: that would read all the entries that the account has.
        return account.env["duragen.credit.entry"].create(
            {
                "account_id": account.id,
                "request_id": request.id if request else False,
                "kind": kind,
                "delta": delta,
                "note": note,
            }
        )

    def _moved(self, kind, delta):
        """Whether the balance could be moved; a reservation must not leave less than 0.

        Not called to capture a reservation: one user's deliveries would wait here for each other.
        """
        self.flush_recordset(["balance"])
        # What is free can be had below 0, too: a late image may have led there.
        floor = 0 if kind == "reserve" and delta < 0 else None
        self.env.cr.execute(
            "UPDATE duragen_account SET balance = balance + %s, write_uid = %s,"
            " write_date = now() AT TIME ZONE 'UTC'"
            " WHERE id = %s AND (%s::int IS NULL OR balance + %s >= %s) RETURNING balance",
            [delta, self.env.uid, self.id, floor, delta, floor],
            log_exceptions=False,
        )
        moved = bool(self.env.cr.fetchone())
        self.invalidate_recordset(["balance"])
        return moved
