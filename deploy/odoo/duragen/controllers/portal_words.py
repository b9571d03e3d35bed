"""The words of the pages under /my/images in the page's language, for templates and script."""

from odoo.http import request

from ..wording import credits_in_words, price_in_words


def page_values():
    """What every page of ours needs: its language, and the words that its script shows.

    Without a website Odoo's layout has no language: scripts would stay English, and a screen
    reader would read every language as English. With one, the website's own values win.
    """
    language = request.env["res.lang"]._get_data(code=request.env.lang)
    direction = language.direction or "ltr"
    tag = tag_of(request.env.lang or "en_US")
    return {"html_data": {"lang": tag, "dir": direction}, "direction": direction, "words": words()}


def tag_of(code):
    """A language of Odoo's as browsers name it: "sr@latin" is "sr-Latn"."""
    return code.replace("_", "-").replace("@latin", "-Latn")


def words():
    """One dict that templates read and that the script finds as JSON in `data-words`.

    What a card says is made of these and of the request's facts, wherever it is made.
    """
    states = request.env["duragen.generation.request"]._fields["state"]
    return {
        "states": dict(states._description_selection(request.env)),
        "hints": {
            "draft": request.env._("Not submitted yet."),
            "requested": request.env._("Waiting for its turn."),
            "started": request.env._("Your image is being made."),
            "completed": request.env._("Your image is ready."),
            "failed": request.env._("There is no image this time."),
            "canceled": request.env._("It was canceled."),
        },
        "beingCanceled": request.env._("Being canceled…"),
        "charged": request.env._("It was charged."),
        "uncharged": request.env._("Nothing was charged."),
        "cancel": request.env._("Cancel"),
        "canceling": request.env._("Canceling…"),
        "warning": request.env._(
            "The image service may already be paid for it. Your credits are then charged (%s)."
        ),
        "retry": request.env._("Try again · %s"),
        "favorite": request.env._("Add to favourites"),
        "unfavorite": request.env._("Remove from favourites"),
        "credit": request.env._("1 credit"),
        "credits": request.env._("%s credits"),
        "free": request.env._("Free"),
        "elapsed": request.env._("%s so far"),
        "long": request.env._("This takes longer than usual. You may leave: we keep it for you."),
        "ready": request.env._("(%s ready)"),
    }


def hint(card, said):
    """What a card says below its title while it is being made; the script has the same rule."""
    if card["cancelRequested"] and card["phase"] == "pending":
        return said["beingCanceled"]
    return said["hints"][card["state"]]


def warning(card, said):
    """What its user must know before he cancels."""
    return said["warning"] % card["cancelPrice"] if card["cancelPrice"] else ""


def charge(card, said):
    """What a card without an image has cost, unless its message says so, or it is free anyway."""
    if card["costSaid"] or not card["price"]:
        return ""
    return said["charged"] if card["charged"] else said["uncharged"]


def credits_label(number):
    """1 credit, 2 credits."""
    return credits_in_words(request.env, number)


def price_label(price):
    """The same for a price, which may be free."""
    return price_in_words(request.env, price)
