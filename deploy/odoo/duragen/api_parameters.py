"""What API users send, as the record takes it: EVT-AIG-001's names and types to Odoo's own."""

import hashlib
import json

from dateutil import tz
from dateutil.parser import isoparse
from odoo.exceptions import ValidationError

from .wire import UUID

MAX_REFERENCE_CHARACTERS = 200
CANCEL_AFTER_SECONDS = (5, 86_400)
"""The least and the most of `cancelAfter`."""

MOST_LISTED = 100
STATUS = {"requested": "pending", "started": "processing"}
"""The API's word for a state; the others are the same."""

_STATES = {STATUS.get(state, state): state for state in ("requested", "started")}
_STATES |= {state: state for state in ("completed", "failed", "canceled")}
_PARAMETERS = {
    "prompt": "prompt",
    "negativePrompt": "negative_prompt",
    "resolution": "resolution",
    "seed": "seed",
    "inferenceSteps": "inference_steps",
    "cfgScale": "cfg_scale",
    "campaignId": "campaign_uuid",
}
_TEXTS = ("prompt", "negativePrompt", "resolution", "campaignId")
_NUMBERS = (("inferenceSteps", int), ("cfgScale", (int, float)), ("seed", int))


def vals_of(env, params):
    """The record's values. Raises ValidationError, naming the parameter."""
    if not isinstance(params, dict):
        raise ValidationError(env._("The parameters must be an object."))
    _check_types(env, params)
    vals = {ours: params[name] for name, ours in _PARAMETERS.items() if params.get(name)}
    if params.get("seed") is not None:
        vals["seed"] = str(params["seed"])
    model_uuid = str(params.get("modelId") or "")
    if not UUID.fullmatch(model_uuid):
        raise ValidationError(env._("modelId: must be a UUID"))
    model = env["duragen.ai.model"].sudo().search([("model_uuid", "=ilike", model_uuid)], limit=1)
    if not model:
        raise ValidationError(env._("modelId: there is no such model"))
    return {**vals, "model_id": model.id, "origin": "api"}


def _check_types(env, params):
    if unknown := sorted({*params} - {*_PARAMETERS, "modelId"}):
        raise ValidationError(env._("%s: there is no such parameter", unknown[0][:40]))
    for name in _TEXTS:
        if params.get(name) is not None and not isinstance(params[name], str):
            raise ValidationError(env._("%s: must be a text", name))
    for name, kinds in _NUMBERS:
        value = params.get(name)
        if value is not None and (isinstance(value, bool) or not isinstance(value, kinds)):
            raise ValidationError(env._("%s: must be a number", name))
        if value == 0 and name != "seed":  # the record's own word for none
            raise ValidationError(env._("%s: must be above 0", name))


def reference_of(requests, given):
    """A caller's own id for a request, as the record keeps it. Raises ValidationError."""
    clean = requests._clean({"client_reference": str(given or "")})
    reference = clean["client_reference"] or ""
    if len(reference) > MAX_REFERENCE_CHARACTERS:
        # Cut short, two references with the same beginning would be one request.
        raise ValidationError(
            requests.env._("clientReference: at most %s characters", MAX_REFERENCE_CHARACTERS)
        )
    return reference or False


def seconds_of(env, cancel_after):
    """`cancelAfter` as whole seconds, None without one. Raises ValidationError."""
    if cancel_after is None or cancel_after is False:
        return None
    least, most = CANCEL_AFTER_SECONDS
    whole = isinstance(cancel_after, int) and not isinstance(cancel_after, bool)
    if not whole or not least <= cancel_after <= most:
        raise ValidationError(
            env._(
                "cancelAfter: must be %(least)s to %(most)s whole seconds", least=least, most=most
            )
        )
    return cancel_after


def digest_of(params):
    """SHA-256 of what was asked for: two bodies that mean the same have the same.

    For parameters that `vals_of` has taken.
    """
    given = {name: value for name, value in params.items() if value not in (None, "")}
    for name in given.keys() & {"modelId", "campaignId"}:
        given[name] = str(given[name]).lower()
    if "cfgScale" in given:
        given["cfgScale"] = float(given["cfgScale"])
    text = json.dumps(given, sort_keys=True, ensure_ascii=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def limit_of(env, given):
    """How many a page has. Raises ValidationError."""
    if given is None:
        return 20
    whole = isinstance(given, int) and not isinstance(given, bool)
    if not whole or not 1 <= given <= MOST_LISTED:
        raise ValidationError(env._("limit: must be 1 to %s", MOST_LISTED))
    return given


def filters_of(env, filters):
    """The domain of the filters that narrow the list down."""
    if (status := filters.get("status")) is not None:
        if not isinstance(status, str) or status not in _STATES:
            raise ValidationError(env._("status: must be one of %s", ", ".join(_STATES)))
        yield ("state", "=", _STATES[status])
    if (since := filters.get("since")) is not None:
        yield ("requested_at", ">=", moment_of(env, since))
    if (model_uuid := filters.get("modelId")) is not None:
        if not isinstance(model_uuid, str) or not UUID.fullmatch(model_uuid):
            raise ValidationError(env._("modelId: must be a UUID"))
        yield ("model_id.model_uuid", "=ilike", model_uuid)


def moment_of(env, text):
    """A moment of ISO 8601, in UTC as Odoo keeps it. Raises ValidationError."""
    try:
        moment = isoparse(text if isinstance(text, str) else "")
        aware = moment.replace(tzinfo=moment.tzinfo or tz.UTC)
        return aware.astimezone(tz.UTC).replace(tzinfo=None)
    except (ValueError, OverflowError):
        text = env._("since: must be a moment such as 2026-11-27T08:00:00Z")
        raise ValidationError(text) from None
