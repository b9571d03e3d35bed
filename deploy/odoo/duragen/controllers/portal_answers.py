"""How the portal finds a record for its user, and how it answers: JSON, or a page again."""

from odoo.exceptions import AccessError, UserError
from odoo.http import request

from ..exceptions import CreditsError, PriceError, QuotaError
from . import portal_form as form
from .portal_words import tag_of

REQUESTS = "duragen.generation.request"
LARGEST_ID = 2**31 - 1
"""PostgreSQL's largest id. A larger one in an address finds no record: 404, not a server error."""


def readable(request_id):
    """The record, or None. A user who may not see it does not learn that it exists."""
    if not request_id or request_id > LARGEST_ID:
        return None
    record = request.env[REQUESTS].browse(request_id).exists()
    try:
        record.check_access("read")
    except AccessError:
        return None
    return record or None


def mine_or_404(request_id):
    """The user's own record. Raises NotFound."""
    record = readable(request_id)
    if not record or record.user_id != request.env.user:
        raise request.not_found()
    return record


def speak_as_the_page():
    """Answer the script in the language of its page, which its requests name.

    The user's own language, or a cookie that another tab has changed, may be another one.
    """
    installed = {tag_of(code): code for code, _ in request.env["res.lang"].get_installed()}
    for tag, _quality in request.httprequest.accept_languages:
        if tag in installed:
            request.update_context(lang=installed[tag])
            return


def wants_json():
    """Whether the page's script asks, not a form without it."""
    return "application/json" in request.httprequest.headers.get("Accept", "")


def act(action, post, after="/my/images#gallery"):
    """Run `action`, which returns values for the script, and answer.

    JSON for the script; for a form without it, a redirect to `after`, or to the form, which says
    why it was refused.
    """
    if wants_json():
        speak_as_the_page()
    try:
        # A refusal leaves nothing half done behind.
        with request.env.cr.savepoint():
            made = {"ok": True, **action(), "balance": form.balance()}
    except UserError as error:
        return _refused(error, post)
    return request.make_json_response(made) if wants_json() else request.redirect(after)


def _refused(error, post):
    status, refusal = refusal_of(error, post)
    if not wants_json():
        request.session["duragen_refused"] = {
            "error": refusal,
            "values": form.kept(post) if "prompt" in post else None,
        }
        return request.redirect("/my/images#create")
    wait = [("Retry-After", str(error.retry_after))] if status == 429 else []
    answer = {"ok": False, "error": refusal, "balance": form.balance()}
    return request.make_json_response(answer, headers=wait, status=status)


def refusal_of(error, post):
    """The status and {"title", "message", "field"?, "price"?} of a refusal by a model."""
    refusal = {"message": str(error.args[0]) if error.args else ""}
    if isinstance(error, CreditsError):
        return 402, {**refusal, "title": request.env._("Not enough credits")}
    if isinstance(error, PriceError):
        changed = {"price": error.price, "modelId": form.whole_or_none(post.get("model_id"))}
        return 409, {**refusal, **changed, "title": request.env._("Another price")}
    if isinstance(error, QuotaError):
        return 429, {**refusal, "title": request.env._("That is all for now")}
    field = getattr(error, "field", None)
    return 422, {
        **refusal,
        "title": request.env._("Please look at this again"),
        **({"field": field} if field else {}),
    }
