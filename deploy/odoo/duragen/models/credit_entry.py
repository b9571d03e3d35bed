"""The ledger: grants, reservations, captures, releases. Append-only, in the database too."""

from odoo import api, fields, models
from odoo.exceptions import UserError

KINDS = [
    ("grant", "Grant"),
    ("reserve", "Reservation"),
    ("capture", "Capture"),
    ("release", "Release"),
]

_STAYS = """
CREATE OR REPLACE FUNCTION duragen_credit_entry_stays() RETURNS trigger AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND (NEW.account_id, NEW.request_id, NEW.kind, NEW.delta, NEW.note)
        IS NOT DISTINCT FROM (OLD.account_id, OLD.request_id, OLD.kind, OLD.delta, OLD.note) THEN
        RETURN NEW;  -- who made it may be forgotten, what was booked may not
    END IF;
    RAISE EXCEPTION 'the credit ledger is append-only';
END $$ LANGUAGE plpgsql;
DROP TRIGGER IF EXISTS duragen_credit_entry_stays ON duragen_credit_entry;
CREATE TRIGGER duragen_credit_entry_stays
    BEFORE UPDATE OR DELETE ON duragen_credit_entry
    FOR EACH ROW EXECUTE FUNCTION duragen_credit_entry_stays();
DROP TRIGGER IF EXISTS duragen_credit_entry_all_stay ON duragen_credit_entry;
CREATE TRIGGER duragen_credit_entry_all_stay
    BEFORE TRUNCATE ON duragen_credit_entry
    FOR EACH STATEMENT EXECUTE FUNCTION duragen_credit_entry_stays();
"""


class CreditEntry(models.Model):
    """One line of the ledger; `delta` is its effect on the balance.

    A reservation takes the price, a release gives it back, a capture makes the reservation final
    and moves nothing, unless it had been released before.
    """

    _name = "duragen.credit.entry"
    _inherit = "duragen.guarded"
    _description = "Credit Entry"
    _order = "id desc"
    _rec_name = "kind"

    account_id = fields.Many2one(
        "duragen.account", required=True, readonly=True, ondelete="restrict", index=True
    )
    # Computed before the row is written: otherwise each entry would be written twice.
    user_id = fields.Many2one(related="account_id.user_id", store=True, precompute=True)
    company_id = fields.Many2one(related="account_id.company_id", store=True, precompute=True)
    request_id = fields.Many2one("duragen.generation.request", readonly=True, ondelete="restrict")
    kind = fields.Selection(KINDS, required=True, readonly=True)
    kind_shown = fields.Char("Booking", compute="_compute_kind_shown")
    delta = fields.Integer("Credits", required=True, readonly=True)
    note = fields.Char(readonly=True)

    def init(self):
        """One entry per request and kind, and no entry changes, whoever writes to the table."""
        self.env.cr.execute(
            "CREATE UNIQUE INDEX IF NOT EXISTS duragen_credit_entry_request_kind_unique"
            " ON duragen_credit_entry (request_id, kind) WHERE request_id IS NOT NULL"
        )
        self.env.cr.execute(_STAYS)

    @api.depends("kind", "delta")
    @api.depends_context("lang")
    def _compute_kind_shown(self):
        """The kind in words: a grant of less than nothing is none."""
        labels = dict(self._fields["kind"]._description_selection(self.env))
        for entry in self:
            back = entry.kind == "grant" and entry.delta < 0
            entry.kind_shown = self.env._("Taken back") if back else labels.get(entry.kind)

    def write(self, vals):
        """Refuse: a wrong entry is corrected by another one."""
        # Its own computed fields arrive here as well when the entry is made.
        if vals.keys() - {"user_id", "company_id"}:
            raise UserError(
                self.env._("The credit ledger is append-only: add another entry instead.")
            )
        return super().write(vals)

    def _lines(self):
        """Entries of one account, the newest first, as its user reads them.

        {"at", "text", "note", "name", "url", "delta", "after"}: `after` is the balance after it.
        """
        below = [("account_id", "in", self.account_id.ids), ("id", "<=", max(self.ids, default=0))]
        [[after]] = self._read_group(below, aggregates=["delta:sum"])
        lines = []
        for entry in self:
            made = entry.request_id
            shown = made and not made.erased_at
            lines.append(
                {
                    "at": entry.create_date,
                    "text": entry._in_words(),
                    "note": entry.note or "",
                    "name": made.name if shown else "",
                    "url": f"/my/images/{made.id}" if shown else "",
                    "delta": f"{entry.delta:+d}" if entry.delta else "0",
                    "after": after,
                }
            )
            after -= entry.delta
        return lines

    @api.model
    def _telling(self):
        """The domain of what its user reads: a hold that became final is one line, not two."""
        silent = [("kind", "=", "capture"), ("delta", "=", 0), ("note", "in", (False, ""))]
        return ["!", "&", "&", *silent]

    def _in_words(self):
        if self.kind == "grant":
            granted = self.delta >= 0
            return self.env._("Granted") if granted else self.env._("Taken back")
        if self.kind == "capture":
            held = not self.delta
            return self.env._("Charged, from what was held") if held else self.env._("Charged")
        if self.kind == "release":
            return self.env._("Given back")
        made = self.request_id
        final = made.entry_ids.filtered_domain(["!", *self._telling()])
        if not (final and made.charged):
            return self.env._("Held for an image")
        done = made.state == "completed"
        return self.env._("Charged for an image") if done else self.env._("Charged")

    @api.ondelete(at_uninstall=False)
    def _never(self):
        raise UserError(self.env._("The credit ledger is append-only: add another entry instead."))
