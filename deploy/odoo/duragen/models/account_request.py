"""Asking for more credits: one activity for a manager, until credits are granted."""

from markupsafe import escape
from odoo import models
from odoo.exceptions import UserError

from ..wording import credits_in_words

ACTIVITY = "duragen.activity_credits"


class AccountRequest(models.Model):
    """An account on which a manager can be asked for credits."""

    _name = "duragen.account"
    _inherit = ["duragen.account", "mail.thread", "mail.activity.mixin"]

    def _ask_for_credits(self, user, company):
        """Make an activity for a manager of the company; False when one is open already.

        Raises UserError when the company has nobody who could grant credits.
        """
        account = self._of(user, company)
        # Of two at once the later one runs again, and finds the first one's activity.
        account._take_turns(user)
        if account._is_asked():
            return False
        manager = account._granter()
        if not manager or not self.env.ref(ACTIVITY, raise_if_not_found=False):
            raise UserError(self.env._("There is nobody here who can grant credits."))
        asked = account.with_context(lang=manager.lang)
        asked.activity_schedule(
            ACTIVITY,
            user_id=manager.id,
            summary=asked.env._("%s asks for more credits", user.name),
            note=escape(
                asked.env._("The account has %s.", credits_in_words(asked.env, account.balance))
            ),
        )
        return True

    def _has_asked(self, user, company):
        """Whether the user waits for an answer."""
        return self._find(user, company)._is_asked()

    def _is_asked(self):
        return bool(self._requests_for_credits())

    def _requests_for_credits(self):
        kind = self.env.ref(ACTIVITY, raise_if_not_found=False)
        if not kind:  # somebody has deleted it
            return self.env["mail.activity"].sudo()
        open_ones = [("res_model", "=", self._name), ("res_id", "in", self.ids)]
        of_kind = [*open_ones, ("activity_type_id", "=", kind.id)]
        return self.env["mail.activity"].sudo().search(of_kind)

    def _granter(self):
        """A manager who works in this company; an administrator where there is no other."""
        group = self.env.ref("duragen.group_manager").sudo()
        members = "all_user_ids" if "all_user_ids" in group._fields else "users"
        managers = group[members].filtered(
            lambda user: user.active and not user.share and self.company_id in user.company_ids
        )
        return managers.sorted(lambda user: (user.has_group("base.group_system"), user.id))[:1]

    def _book(self, kind, delta, request=None, note=None):
        """Likewise; a grant answers who has asked."""
        entry = super()._book(kind, delta, request=request, note=note)
        if kind == "grant" and delta > 0:
            self._requests_for_credits().action_feedback()
        return entry
