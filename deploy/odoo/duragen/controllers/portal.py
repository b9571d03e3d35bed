"""The portal's pages, /my/images. The models decide; the record rules say who sees what."""

from odoo import http
from odoo.addons.portal.controllers.portal import CustomerPortal
from odoo.addons.portal.controllers.portal import pager as portal_pager
from odoo.http import request

from . import portal_cards as cards
from . import portal_form as form
from .portal_answers import REQUESTS, readable, speak_as_the_page
from .portal_words import charge, hint, page_values, warning

PER_PAGE = 12
MOST_FAILURES = 5
MOST_ASKED_AT_ONCE = 50


class ImagesPortal(CustomerPortal):
    """What a portal user (or an employee) sees under /my/images."""

    def _prepare_home_portal_values(self, counters):
        values = super()._prepare_home_portal_values(counters)
        # The page itself names no counters and shows this one at once; /my/counters names some.
        if not counters or "duragen_image_count" in counters:
            requests = request.env[REQUESTS]
            images = requests._gallery_domain("images")
            values["duragen_image_count"] = requests.search_count(images)
        return values

    @http.route(
        ["/my/images", "/my/images/page/<int:page>"], type="http", auth="user", website=True
    )
    def portal_my_images(self, page=1, show="all", search="", like=None, prompt=None, **_ignored):
        """The form, what failed, and the gallery."""
        requests = request.env[REQUESTS]
        show = show if show in requests._gallery_filters() else "all"
        search = form.clean(search)[:100]
        domain = requests._gallery_domain(show, search)
        total = requests.search_count(domain)
        kept = {"show": show if show != "all" else "", "search": search}
        pager = portal_pager(
            "/my/images",
            total,
            page=page,
            step=PER_PAGE,
            url_args={name: value for name, value in kept.items() if value},
        )
        records = requests.search(domain, limit=PER_PAGE, offset=pager["offset"])
        newest = pager["page"]["num"] <= 1 and show == "all" and not search
        failures = requests._unread_failures(MOST_FAILURES) if newest else requests
        refused = request.session.pop("duragen_refused", None) or {}
        source = readable(form.whole_or_none(like)) if like else None
        values = refused.get("values") or cards.values_like(source)
        values = values or {"prompt": form.clean(prompt)}
        return request.render(
            "duragen.portal_my_images",
            {
                **self._prepare_portal_layout_values(),
                **page_values(),
                **_rules(),
                "page_name": "duragen_images",
                **_titled(request.env._("Images")),
                "composer": form.composer(values, refused.get("error")),
                "cards": [cards.card(record) for record in records],
                "lines": [cards.card(record) for record in failures],
                "blank": cards.BLANK_CARD,
                "blank_line": {**cards.BLANK_CARD, "state": "failed", "phase": "failed"},
                "examples": form.examples(),
                "is_newest": newest,
                "show": show,
                "search": search,
                "news": _news(request.env.user),
                "pager": pager,
            },
        )

    @http.route("/my/images/<int:request_id>", type="http", auth="user", website=True)
    def portal_my_image(self, request_id, **_ignored):
        """One generation: the whole image, its parameters, what happened when."""
        record = readable(request_id)
        if not record or record.erased_at:
            raise request.not_found()
        refused = request.session.pop("duragen_refused", None) or {}
        return request.render(
            "duragen.portal_my_image",
            {
                **self._prepare_portal_layout_values(),
                **page_values(),
                **_rules(),
                "page_name": "duragen_image",
                **_titled(record.name),
                "card": cards.card(record),
                "details": cards.details(record),
                "error": refused.get("error"),
                "owns": record.user_id == request.env.user,
            },
        )

    @http.route("/my/images/state", type="http", auth="user", website=True)
    def portal_images_state(self, ids="", **_ignored):
        """What the page may have missed: the requests that it names, and the newest."""
        speak_as_the_page()
        asked = [form.whole_or_none(text) for text in str(ids).split(",")[:MOST_ASKED_AT_ONCE]]
        requests = request.env[REQUESTS]
        mine = requests._of_user()
        newest = requests.search([*mine, ("dismissed", "=", False)], limit=PER_PAGE)
        named = requests.search([*mine, ("id", "in", [found for found in asked if found])])
        return request.make_json_response(
            {
                "balance": form.balance(),
                "requests": [
                    cards.card(each) for each in (newest | named).sorted("id", reverse=True)
                ],
            },
            headers=[("Cache-Control", "no-store")],
        )


def _news(user):
    return {"choices": user._duragen_news_choices(), "chosen": user._duragen_news()}


def _rules():
    # How a card's facts become words, for the templates; the script has the same three.
    return {"hint": hint, "warning": warning, "charge": charge}


def _titled(title):
    # The window's title, by its two names: in Odoo's own layout, and in a website's layout.
    return {"title": title, "additional_title": title}
