"""The form of /my/images: what it offers, what it sends, what it keeps after a refusal."""

import re
import uuid
from urllib.parse import quote_plus

from odoo.exceptions import ValidationError
from odoo.http import request

from ..sizes import size_choice
from .portal_words import credits_label, price_label

LONGEST_PROMPT = 32_000
"""Characters. spec: EVT-AIG-001 as Duragen takes it."""

MANY_MODELS = 4
"""More than these do not fit into a column beside the words: they get the form's whole width."""

TEXTS = ("prompt", "negative_prompt", "resolution", "seed", "client_reference")
NUMBERS = ("model_id", "inference_steps", "cfg_scale")
_OPTIONS = ("negative_prompt", "seed", "inference_steps", "cfg_scale")
_REFERENCE = re.compile(r"[0-9A-Za-z-]{8,64}", re.ASCII)


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
    number = price_or_none(text)
    return number or None


def price_or_none(text):
    """The same, from 0 on."""
    text = str(text or "")
    fits = text.isascii() and text.isdigit() and len(text) <= 10
    return int(text) if fits and int(text) < 2**31 else None


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


def shown_price(post):
    """The price of the chosen model as the page showed it; None when the form has none."""
    return price_or_none(post.get(f"price_{whole_or_none(post.get('model_id'))}"))


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
        "many": len(models) > MANY_MODELS,
        "chosen": chosen,
        "sizes": [size_choice(request.env, each) for each in sizes],
        "size": size,
        "values": {
            **dict.fromkeys((*TEXTS, *NUMBERS), ""),
            **values,
            "client_reference": uuid.uuid4(),
        },
        "error": error,
        "balance": left,
        "balance_label": credits_label(left),
        "short": all(each["price"] > max(left, 0) for each in models),
        "asked": has_asked(),
        "longest": LONGEST_PROMPT,
        "max_steps": max((each["max_steps"] for each in models), default=0),
        "allowed": {name for each in models for name in each["options"].split()},
        "more": any(values.get(name) for name in _OPTIONS),
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


def has_asked():
    """Whether the user waits for a manager's answer to his question for credits."""
    return request.env["duragen.account"]._has_asked(request.env.user, request.env.company)


def _models():
    return request.env["duragen.ai.model"].sudo()._available(request.env.company)


def _model(model):
    options = ("negative_prompt", "seed", "steps", "cfg_scale")
    return {
        "id": model.id,
        "name": model.name,
        "description": model.description or "",
        "price": model.price,
        "price_label": price_label(model.price),
        "sizes": model._sizes(),
        "options": " ".join(name for name in options if model[f"allow_{name}"]),
        "max_steps": model.max_steps,
    }
