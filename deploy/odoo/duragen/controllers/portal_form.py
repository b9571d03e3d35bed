"""Between the portal's pages and the models: what the form sends, what cards and details show."""

import math
import re
import uuid
from urllib.parse import quote_plus

from odoo import fields
from odoo.exceptions import ValidationError
from odoo.http import request
from odoo.tools import format_datetime

LONGEST_PROMPT = 32_000
"""Characters. spec: EVT-AIG-001 as Duragen takes it."""

WIDE = 1.7
"""From this ratio of width to height on, a landscape is called wide: 16:9 is, 3:2 is not."""

TEXTS = ("prompt", "negative_prompt", "resolution", "seed", "client_reference")
NUMBERS = ("model_id", "inference_steps", "cfg_scale")
PENDING = ("draft", "requested", "started")
_REFERENCE = re.compile(r"[0-9A-Za-z-]{8,64}", re.ASCII)
_SIZE = re.compile(r"(\d{1,5})x(\d{1,5})", re.ASCII)

BLANK_CARD = {
    "id": 0,
    "name": "",
    "prompt": "",
    "model": "",
    "resolution": "1024x1024",
    "about": "",
    "ratio": 1,
    "state": "requested",
    "phase": "pending",
    "stateLabel": "",
    "stateHint": "",
    "imageUrl": False,
    "thumbnailUrl": False,
    "downloadUrl": False,
    "userMessage": "",
    "retrySuggestion": False,
    "retryLabel": "",
    "cancelRequested": False,
    "cancelWarning": "",
    "charged": True,
    "price": 0,
}


class FieldError(ValidationError):
    """One field of the form has a wrong value; `field` is its name."""

    def __init__(self, field, message):
        super().__init__(message)
        self.field = field


def clean(text):
    """A text that the database can hold: no NUL, no lone surrogates."""
    return str(text or "").replace("\0", "").encode("utf-8", "ignore").decode().strip()


def whole_or_none(text):
    """A whole number above 0 that can be a record's id, else None."""
    text = str(text or "")
    fits = text.isascii() and text.isdigit() and len(text) <= 10
    return int(text) if fits and 0 < int(text) < 2**31 else None


def submitted(post):
    """The form as `submit_generation` takes it. Raises FieldError; the model checks bounds."""
    values = {name: clean(post.get(name)) for name in TEXTS}
    if not values["prompt"]:
        raise FieldError("prompt", request.env._("Describe the image that you want."))
    if len(values["prompt"]) > LONGEST_PROMPT:
        raise FieldError(
            "prompt", request.env._("The description is too long: at most 32,000 characters.")
        )
    model = whole_or_none(post.get("model_id"))
    if not model:
        raise FieldError("model_id", request.env._("Choose a model."))
    values["model_id"] = model
    values["inference_steps"] = int(_number(post, "inference_steps", whole=True))
    values["cfg_scale"] = _number(post, "cfg_scale")
    if not _REFERENCE.fullmatch(values["client_reference"]):
        values["client_reference"] = False
    return {**values, "origin": "portal"}


def _number(post, name, *, whole=False):
    text = clean(post.get(name)).replace(",", ".") or "0"
    pattern = r"\d{1,6}" if whole else r"\d{1,6}(\.\d{0,6})?"
    if not re.fullmatch(pattern, text, re.ASCII):
        whole_fault = request.env._("Steps must be a whole number.")
        raise FieldError(
            name, whole_fault if whole else request.env._("The guidance must be a number.")
        )
    return float(text)


def kept(post):
    """What the user typed, so that a refusal does not lose it."""
    kept = {name: clean(post.get(name))[:LONGEST_PROMPT] for name in (*TEXTS, *NUMBERS)}
    return {**kept, "model_id": whole_or_none(post.get("model_id"))}


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


def card(record):
    """What the page and its script know of one request: portal_values() and what the form needs."""
    # Whoever may see a request may also see the model that it was made with.
    extra = record.sudo()
    values = record.portal_values()
    like = values_like(record)
    return {
        **values,
        "phase": phase(values["state"]),
        "about": f"{values['model']} · {size_label(values['resolution'])}",
        "ratio": ratio(values["resolution"]),
        "retryLabel": credits_label(extra.model_id.price),
        "form": like,
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
        (request.env._("Price"), credits_label(found.price)),
    ]
    moments = {name: found[f"{name}_at"] for name in ("requested", "started", "ended")}
    return {
        "rows": [(label, value) for label, value in rows if value],
        "moments": {
            name: {
                "iso": _iso(moment),
                "text": format_datetime(record.env, moment) if moment else "",
            }
            for name, moment in moments.items()
        },
    }


def composer(values, error=None):
    """All that the form shows: models, sizes, options, what is filled in, the balance."""
    models, left = [_model(each) for each in _models()], balance()
    chosen = next((each for each in models if each["id"] == values.get("model_id")), None)
    chosen = chosen or (models[0] if models else None)
    sizes = list(dict.fromkeys(size for each in models for size in each["sizes"]))
    size = values.get("resolution")
    if chosen and size not in chosen["sizes"]:
        size = chosen["sizes"][0]
    return {
        "models": models,
        "chosen": chosen,
        "sizes": [_size(each) for each in sizes],
        "size": size,
        "values": {
            **dict.fromkeys((*TEXTS, *NUMBERS), ""),
            **values,
            "client_reference": uuid.uuid4(),
        },
        "error": error,
        "balance": left,
        "short": all(each["price"] > left for each in models),
        "longest": LONGEST_PROMPT,
        "max_steps": max((each["max_steps"] for each in models), default=0),
        "allowed": {name for each in models for name in each["options"].split()},
        "more": any(
            values.get(name) for name in ("negative_prompt", "seed", "inference_steps", "cfg_scale")
        ),
    }


def examples():
    """Prompts to begin with."""
    prompts = [
        request.env._("A lighthouse on a cliff at dawn, watercolour"),
        request.env._("A fox asleep in tall grass, soft morning light"),
        request.env._("An old tram climbing a narrow street in the rain"),
    ]
    return [
        {"prompt": each, "url": f"/my/images?prompt={quote_plus(each)}#create"} for each in prompts
    ]


def balance():
    """The user's credits in the company that he is in."""
    return request.env["duragen.account"]._balance_of(request.env.user, request.env.company)


def credits_label(price):
    """1 credit, 2 credits."""
    return request.env._("1 credit") if price == 1 else request.env._("%s credits", price)


def _models():
    return request.env["duragen.ai.model"].sudo()._available(request.env.company)


def _model(model):
    options = ("negative_prompt", "seed", "steps", "cfg_scale")
    return {
        "id": model.id,
        "name": model.name,
        "description": model.description or "",
        "price": model.price,
        "price_label": credits_label(model.price),
        "sizes": model._sizes(),
        "options": " ".join(name for name in options if model[f"allow_{name}"]),
        "max_steps": model.max_steps,
    }


def _size(text):
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


def _iso(moment):
    return fields.Datetime.to_string(moment).replace(" ", "T") + "Z" if moment else False
