"""What cards and the detail page show of a request."""

from odoo import fields
from odoo.http import request
from odoo.tools import format_datetime

from ..sizes import ratio, size_label
from .portal_words import price_label

PENDING = ("draft", "requested", "started")

BLANK_CARD = {
    "id": 0,
    "name": "",
    "prompt": "",
    "resolution": "1024x1024",
    "about": "",
    "ratio": 1,
    "state": "requested",
    "phase": "pending",
    "imageUrl": False,
    "thumbnailUrl": False,
    "downloadUrl": False,
    "message": "",
    "costSaid": False,
    "retrySuggestion": False,
    "retryPrice": 0,
    "retryLabel": "",
    "cancelRequested": False,
    "cancelPrice": 0,
    "charged": True,
    "price": 0,
    "favorite": False,
    "createdAt": False,
}


def card(record):
    """What the page and its script know of one request: its facts, and what only we can say."""
    # Whoever may see a request may also see the model that it was made with.
    extra = record.sudo()
    facts = record.portal_values()
    return {
        **facts,
        "phase": phase(facts["state"]),
        "about": f"{extra.model_id.name} · {size_label(request.env, facts['resolution'])}",
        "ratio": ratio(facts["resolution"]),
        "message": extra.friendly_message or "",
        "costSaid": extra._says_its_cost(),
        "retryPrice": extra.model_id.price,
        "retryLabel": price_label(extra.model_id.price),
        "favorite": extra.favorite,
        "form": values_like(record),
    }


def values_like(record):
    """The form's values, taken from a request; empty without one."""
    if not record:
        return {}
    found = record.sudo()
    return {
        "prompt": found.prompt or "",
        "negative_prompt": found.negative_prompt or "",
        "model_id": found.model_id.id,
        "resolution": found.resolution or "",
        "seed": found.seed or "",
        "inference_steps": found.inference_steps or "",
        "cfg_scale": _short(found.cfg_scale),
    }


def phase(state):
    """pending, completed, failed or canceled: what the card looks like."""
    return "pending" if state in PENDING else state


def details(record):
    """The parameters and the times of the detail page, in the user's language and time zone."""
    found = record.sudo()
    like = values_like(record)
    rows = [
        (request.env._("Model"), found.model_id.name),
        (request.env._("Size"), size_label(request.env, found.resolution)),
        (request.env._("Left out"), like["negative_prompt"]),
        (request.env._("Seed"), like["seed"]),
        (request.env._("Steps"), like["inference_steps"]),
        (request.env._("Guidance"), like["cfg_scale"]),
        (request.env._("Price"), price_label(found.price)),
    ]
    moments = {name: found[f"{name}_at"] for name in ("requested", "started", "ended")}
    return {
        "rows": [(label, value) for label, value in rows if value],
        "moments": {name: moment_values(record.env, moment) for name, moment in moments.items()},
    }


def moment_values(env, moment):
    """A moment for a `time` element: {"iso", "text"}."""
    iso = fields.Datetime.to_string(moment).replace(" ", "T") + "Z" if moment else False
    return {"iso": iso, "text": format_datetime(env, moment) if moment else ""}


def _short(number):
    return f"{number:g}" if number else ""
