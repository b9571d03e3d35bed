"""The portal's pages, /my/images. The models decide; the record rules say who sees what."""

from odoo import http
from odoo.addons.portal.controllers.portal import CustomerPortal
from odoo.addons.portal.controllers.portal import pager as portal_pager
from odoo.exceptions import AccessError, UserError
from odoo.http import request

from ..exceptions import CreditsError, QuotaError
from . import portal_form as form

REQUESTS = "duragen.generation.request"
PER_PAGE = 12
MOST_ASKED_AT_ONCE = 50
LARGEST_ID = 2**31 - 1
"""PostgreSQL's largest id. A larger one in an address finds no record: 404, not a server error."""

SHOWN = {
    "all": [],
    "images": [("state", "=", "completed")],
    "open": [("state", "in", ["requested", "started"])],
}


class ImagesPortal(CustomerPortal):
    """What a portal user (or an employee) sees and does under /my/images."""

    def _prepare_home_portal_values(self, counters):
        values = super()._prepare_home_portal_values(counters)
        # The page itself names no counters and shows this one at once; /my/counters names some.
        if not counters or "duragen_image_count" in counters:
            images = [*_mine(), *SHOWN["images"]]
            values["duragen_image_count"] = request.env[REQUESTS].search_count(images)
        return values

    @http.route(
        ["/my/images", "/my/images/page/<int:page>"], type="http", auth="user", website=True
    )
    def portal_my_images(self, page=1, show="all", like=None, prompt=None, **_ignored):
        """The form, what is being made, and the gallery."""
        show = show if show in SHOWN else "all"
        requests = request.env[REQUESTS]
        domain = [*_mine(), *SHOWN[show]]
        total = requests.search_count(domain)
        pager = portal_pager(
            "/my/images",
            total,
            page=page,
            step=PER_PAGE,
            url_args={} if show == "all" else {"show": show},
        )
        records = requests.search(domain, limit=PER_PAGE, offset=pager["offset"])
        refused = request.session.pop("duragen_refused", None) or {}
        source = self._readable(form.whole_or_none(like)) if like else None
        values = refused.get("values") or form.values_like(source) or {"prompt": form.clean(prompt)}
        return request.render(
            "duragen.portal_my_images",
            {
                **self._prepare_portal_layout_values(),
                "page_name": "duragen_images",
                **_titled(request.env._("Images")),
                "composer": form.composer(values, refused.get("error")),
                "cards": [form.card(record) for record in records],
                "blank": form.BLANK_CARD,
                "examples": form.examples(),
                "total": total,
                "show": show,
                "pager": pager,
            },
        )

    @http.route("/my/images/<int:request_id>", type="http", auth="user", website=True)
    def portal_my_image(self, request_id, **_ignored):
        """One generation: the whole image, its parameters, what happened when."""
        record = self._readable(request_id)
        if not record:
            raise request.not_found()
        return request.render(
            "duragen.portal_my_image",
            {
                **self._prepare_portal_layout_values(),
                "page_name": "duragen_image",
                **_titled(record.name),
                "card": form.card(record),
                "details": form.details(record),
            },
        )

    @http.route("/my/images/state", type="http", auth="user", website=True)
    def portal_images_state(self, ids="", **_ignored):
        """What the page may have missed: the requests that it names, and the newest."""
        asked = [form.whole_or_none(text) for text in str(ids).split(",")[:MOST_ASKED_AT_ONCE]]
        requests = request.env[REQUESTS]
        newest = requests.search(_mine(), limit=PER_PAGE)
        named = requests.search([*_mine(), ("id", "in", [found for found in asked if found])])
        return request.make_json_response(
            {
                "balance": form.balance(),
                "requests": [
                    form.card(each) for each in (newest | named).sorted("id", reverse=True)
                ],
            },
            headers=[("Cache-Control", "no-store")],
        )

    @http.route("/my/images/submit", type="http", auth="user", methods=["POST"], website=True)
    def portal_images_submit(self, **post):
        """Ask for an image; the same `client_reference` again is the same request."""
        return self._act(
            lambda: request.env[REQUESTS].submit_generation(form.submitted(post)), post
        )

    @http.route(
        "/my/images/<int:request_id>/cancel",
        type="http",
        auth="user",
        methods=["POST"],
        website=True,
    )
    def portal_image_cancel(self, request_id, **post):
        """Cancel the request, if it is still open."""
        record = self._mine_or_404(request_id)

        def cancel():
            record.action_cancel()
            return record

        return self._act(cancel, post)

    @http.route(
        "/my/images/<int:request_id>/retry",
        type="http",
        auth="user",
        methods=["POST"],
        website=True,
    )
    def portal_image_retry(self, request_id, **post):
        """Ask for the same image once more, in a new request."""
        record = self._mine_or_404(request_id)
        return self._act(lambda: record.browse(record.action_retry()["res_id"]), post)

    def _readable(self, request_id):
        """The record, or None. A user who may not see it does not learn that it exists."""
        if not request_id or request_id > LARGEST_ID:
            return None
        record = request.env[REQUESTS].browse(request_id).exists()
        try:
            record.check_access("read")
        except AccessError:
            return None
        return record or None

    def _mine_or_404(self, request_id):
        record = self._readable(request_id)
        if not record or record.user_id != request.env.user:
            raise request.not_found()
        return record

    def _act(self, action, post):
        """Run `action` and answer: JSON for the page's script, a redirect for a form without it."""
        wants_json = "application/json" in request.httprequest.headers.get("Accept", "")
        try:
            # A refusal leaves nothing half done behind.
            with request.env.cr.savepoint():
                record = action()
                made = {"ok": True, "request": form.card(record), "balance": form.balance()}
        except UserError as error:
            status, refusal = _refusal(error)
            if not wants_json:
                request.session["duragen_refused"] = {
                    "error": refusal,
                    "values": form.kept(post) if "prompt" in post else None,
                }
                return request.redirect("/my/images#create")
            wait = [("Retry-After", str(error.retry_after))] if status == 429 else []
            answer = {"ok": False, "error": refusal, "balance": form.balance()}
            return request.make_json_response(answer, headers=wait, status=status)
        return (
            request.make_json_response(made)
            if wants_json
            else request.redirect("/my/images#gallery")
        )


def _mine():
    # Only the backend has drafts: the portal submits at once what was written.
    return [("user_id", "=", request.env.uid), ("state", "!=", "draft")]


def _titled(title):
    # The window's title, by its two names: in Odoo's own layout, and in a website's layout.
    return {"title": title, "additional_title": title}


def _refusal(error):
    """The status and {"title", "message", "field"?} of a refusal by a model."""
    refusal = {"message": str(error.args[0]) if error.args else ""}
    if isinstance(error, CreditsError):
        return 402, {**refusal, "title": request.env._("Not enough credits")}
    if isinstance(error, QuotaError):
        return 429, {**refusal, "title": request.env._("That is all for now")}
    field = getattr(error, "field", None)
    return 422, {
        **refusal,
        "title": request.env._("Please look at this again"),
        **({"field": field} if field else {}),
    }
