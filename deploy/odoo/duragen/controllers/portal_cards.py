"""What cards and the detail page show of a request."""

import math
import re

from odoo import fields
from odoo.http import request
from odoo.tools import format_datetime

from .portal_words import price_label

WIDE = 1.7
"""From this ratio of width to height on, a landscape is called wide: 16:9 is, 3:2 is not."""

PENDING = ("draft", "requested", "started")
_SIZE = re.compile(r"(\d{1,5})x(\d{1,5})", re.ASCII)

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
        "about": f"{extra.model_id.name} · {size_label(facts['resolution'])}",
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
        (request.env._("Size"), size_label(found.resolution)),
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


def size_values(text):
    """A size as the form offers it."""
    width, height = _sides(text)
    return {
        "value": text,
        "name": _shape(width, height),
        "pixels": f"{width}\u00a0\u00d7\u00a0{height}",
        "ratio": ratio(text),
    }


def size_label(text):
    """The shape and the pixels: Square, 1024 by 1024."""
    width, height = _sides(text)
    return f"{_shape(width, height)}, {width}\u00a0\u00d7\u00a0{height}"


def ratio(text):
    """Width by height, for CSS."""
    width, height = _sides(text)
    return round(width / height, 4)


def _sides(text):
    match = _SIZE.fullmatch(text or "")
    return tuple(max(int(side), 1) for side in match.groups()) if match else (1, 1)


def _shape(width, height):
    shape = width / height
    if math.isclose(shape, 1, rel_tol=0.02):
        return request.env._("Square")
    if shape > 1:
        return request.env._("Wide") if shape >= WIDE else request.env._("Landscape")
    return request.env._("Tall") if shape <= 1 / WIDE else request.env._("Portrait")


def _short(number):
    return f"{number:g}" if number else ""
