"""What a user does under /my/images: each a form that works without the page's script."""

from odoo import http
from odoo.http import request

from . import portal_form as form
from .portal_answers import REQUESTS, act, mine_or_404
from .portal_cards import card

OF_ONE = "/my/images/<int:request_id>"
POSTED = {"type": "http", "auth": "user", "methods": ["POST"], "website": True}


class ImageActions(http.Controller):
    """Ask, cancel, try again, keep, clear away, delete."""

    @http.route("/my/images/submit", **POSTED)
    def portal_images_submit(self, **post):
        """Ask for an image; the same `client_reference` again is the same request."""

        def submit():
            values, price = form.submitted(post), form.shown_price(post)
            made = request.env[REQUESTS].submit_generation(values, shown_price=price)
            return {"request": card(made)}

        return act(submit, post)

    @http.route("/my/images/news", **POSTED)
    def portal_images_news(self, **post):
        """Choose how the user hears that an image is ready."""

        def choose():
            user, chosen = request.env.user, post.get("news")
            if chosen not in dict(user._duragen_news_choices()):
                raise form.FieldError("news", request.env._("Choose one of these."))
            user.duragen_news = chosen
            return {}

        return act(choose, post, after="/my/images#news")

    @http.route(f"{OF_ONE}/cancel", **POSTED)
    def portal_image_cancel(self, request_id, **post):
        """Cancel the request, if it is still open."""
        mine_or_404(request_id)

        def cancel():
            record = _again(request_id)
            record.action_cancel()
            return {"request": card(record)}

        return act(cancel, post)

    @http.route(f"{OF_ONE}/retry", **POSTED)
    def portal_image_retry(self, request_id, **post):
        """Ask for the same image once more, in a new request; the old one is cleared away."""
        mine_or_404(request_id)

        def retry():
            old = _again(request_id)
            price = form.price_or_none(post.get("shown_price"))
            made = old.browse(old.action_retry(shown_price=price)["res_id"])
            old._mark(dismissed=True)
            return {"request": card(made), "dismissed": old.id}

        return act(retry, post)

    @http.route(f"{OF_ONE}/dismiss", **POSTED)
    def portal_image_dismiss(self, request_id, **post):
        """Clear the line of a failure away; the request stays what it is."""
        mine_or_404(request_id)

        def dismiss():
            _again(request_id)._mark(dismissed=True)
            return {"dismissed": request_id}

        return act(dismiss, post)

    @http.route(f"{OF_ONE}/favorite", **POSTED)
    def portal_image_favorite(self, request_id, **post):
        """Keep the image among the favourites, or take it out: `favorite` is 1 or 0."""
        mine_or_404(request_id)

        def mark():
            record = _again(request_id)
            record._mark(favorite=post.get("favorite") == "1")
            return {"request": card(record)}

        return act(mark, post)

    @http.route(f"{OF_ONE}/delete", **POSTED)
    def portal_image_delete(self, request_id, **post):
        """Erase the words and the image; the ledger keeps its entries."""
        mine_or_404(request_id)

        def delete():
            _again(request_id).action_erase_words()
            return {"deleted": request_id}

        return act(delete, post)


def _again(request_id):
    # In the language that the answer has by now.
    return request.env[REQUESTS].browse(request_id)
