"""/my/credits: the balance, where it went, the quotas, and asking for more."""

from odoo import http
from odoo.addons.portal.controllers.portal import CustomerPortal
from odoo.addons.portal.controllers.portal import pager as portal_pager
from odoo.http import request

from . import portal_form as form
from .portal_answers import act
from .portal_cards import moment_values
from .portal_words import credits_label, page_values

PER_PAGE = 20


class CreditsPortal(CustomerPortal):
    """A user's own account in the company that he is in."""

    @http.route(
        ["/my/credits", "/my/credits/page/<int:page>"], type="http", auth="user", website=True
    )
    def portal_my_credits(self, page=1, **_ignored):
        """The ledger, the newest entry first."""
        user, company = request.env.user, request.env.company
        entries = request.env["duragen.credit.entry"]
        # A manager may read everybody's: this page is for one's own.
        own = [("user_id", "=", user.id), ("company_id", "=", company.id)]
        mine = [*own, *entries._telling()]
        pager = portal_pager("/my/credits", entries.search_count(mine), page=page, step=PER_PAGE)
        found = entries.search(mine, limit=PER_PAGE, offset=pager["offset"])
        refused = request.session.pop("duragen_refused", None) or {}
        title = request.env._("Credits")
        return request.render(
            "duragen.portal_my_credits",
            {
                **self._prepare_portal_layout_values(),
                **page_values(),
                "page_name": "duragen_credits",
                "title": title,
                "additional_title": title,
                "balance_label": credits_label(form.balance()),
                "entries": found._lines(),
                "moment": lambda at: moment_values(request.env, at),
                "quotas": request.env["duragen.quota"]._in_words(user, company),
                "asked": form.has_asked(),
                "error": refused.get("error"),
                "pager": pager,
            },
        )

    @http.route("/my/credits/ask", type="http", auth="user", methods=["POST"], website=True)
    def portal_credits_ask(self, **post):
        """Ask a manager for more, once until the answer."""

        def ask():
            accounts = request.env["duragen.account"]
            new = accounts._ask_for_credits(request.env.user, request.env.company)
            return {"message": _asked(new)}

        return act(ask, post, after="/my/credits")


def _asked(new):
    if new:
        return request.env._("A manager has been asked. You will see the credits here.")
    return request.env._("You have asked already. A manager will answer.")
