"""Submission: validate, price, quota and balance, reserve, all in the caller's transaction."""

import uuid
from functools import partial

from odoo import api, fields, models
from odoo.exceptions import UserError, ValidationError

from ..after_commit import start_after_commit
from ..exceptions import ConflictError, PriceError
from ..wire import UUID
from ..wording import price_in_words
from .generation_request import EDITABLE, OPEN_STATES, ORIGINS, ratio_of

MAX_PROMPT_CHARACTERS = 32_000
MAX_SEED = 2**63 - 1
MAX_CFG_SCALE = 50
# The bounds of Duragen's EVT-AIG-001.

# A caller over RPC gets records as a list of ids: always on Odoo 19, on 18 with this decorator.
_returned_as_ids = api.returns("self") if hasattr(api, "returns") else lambda method: method

SUBMITTED = frozenset({"origin", "client_reference", "cancel_at", "correlation_uuid"})
"""What `submit_generation` takes beside them."""

_VALUES = EDITABLE | SUBMITTED
_NUMBERS = frozenset({"inference_steps", "cfg_scale"})
_TEXTS = _VALUES - _NUMBERS - {"model_id", "origin", "cancel_at"}


class GenerationSubmission(models.Model):
    """From the draft to the request that Duragen must receive."""

    _inherit = "duragen.generation.request"

    @api.model
    @_returned_as_ids
    def submit_generation(self, vals, shown_price=None):
        """Create a request for the current user and submit it, in one go; returns the record.

        Over RPC it is a list of one id.

        `vals` holds what a person writes (`prompt`, `model_id`, `resolution`, …), `origin`,
        `cancel_at` (it is canceled then), `correlation_uuid` (a UUID) and `client_reference`: with
        the same reference again, the request that exists is returned. `shown_price` is what the
        caller has agreed to: a higher price is refused, a lower one taken.
        Raises ValidationError, PriceError, CreditsError, QuotaError, ConflictError; then nothing
        was written.
        """
        return self._submit_generation(vals, shown_price)

    def _submit_generation(self, vals, shown_price=None, **ours):
        """As `submit_generation`; `ours` are fields that no caller of that may set."""
        unknown = vals.keys() - self._editable_fields() - self._extra_values()
        if unknown:
            raise ValidationError(self.env._("Unknown: %s", ", ".join(sorted(unknown))))
        vals = self._clean(vals)
        user, company = self.env.user, self.env.company
        model = self.env["duragen.ai.model"].sudo().browse(_whole(vals.get("model_id"))).exists()
        if not model:
            raise ValidationError(self.env._("Choose a model."))
        vals["model_id"] = model.id
        vals["resolution"] = vals.get("resolution") or model._sizes()[0]
        if not vals.get("prompt"):
            raise ValidationError(self.env._("Write a prompt."))
        reference = vals.get("client_reference")
        if reference:
            known = [("user_id", "=", user.id), ("client_reference", "=", reference)]
            if found := self.sudo().search(known, limit=1):
                return found._unless_other(vals).with_env(self.env)
            # Of two at once the later one waits here; Odoo then runs it again and finds the first.
            accounts = self.env["duragen.account"]
            accounts._of(user, company)
            accounts._take_turns(user)
        vals = {**vals, **ours, "user_id": user.id, "company_id": company.id}
        # A caller who turns the refusal into an answer must not commit half of it.
        with self.env.cr.savepoint():
            made = self.sudo().create(vals)
            made._submit(shown_price)
        return made.with_env(self.env)

    def _unless_other(self, vals):
        """This request. Raises ConflictError when `vals` asks for another image than this one."""
        for name in self._editable_fields() & vals.keys() - {"aspect_ratio"}:
            made = self[name].id if self._fields[name].relational else self[name]
            if _plain(vals[name]) != _plain(made):
                raise ConflictError(
                    self.env._("This reference belongs to another request: %s differs.", name)
                )
        return self

    def _clean(self, vals):
        """The values as the database takes them. Raises ValidationError for another type."""
        clean = {
            **vals,
            **{name: self._clean_extra(name, vals[name]) for name in vals.keys() - _VALUES},
        }
        for name in _TEXTS & vals.keys():
            value = str(vals[name]) if name == "seed" and vals[name] is not False else vals[name]
            if value and not isinstance(value, str):
                raise ValidationError(self.env._("%s: must be a text", name))
            # PostgreSQL's texts hold no NUL, and lone surrogates are not Unicode.
            text = (value or "").replace("\0", "").encode("utf-8", "replace").decode()
            clean[name] = text or False
        for name in _NUMBERS & vals.keys():
            value = vals[name] or 0
            number = isinstance(value, (int, float)) and not isinstance(value, bool)
            if not number or not abs(value) < 2**31:
                raise ValidationError(self.env._("%s: must be a number", name))
            if name == "inference_steps" and value != int(value):
                raise ValidationError(self.env._("%s: must be a whole number", name))
        if correlation_uuid := clean.pop("correlation_uuid", None):
            if not UUID.fullmatch(correlation_uuid):
                raise ValidationError(self.env._("%s: must be a UUID", "correlation_uuid"))
            clean["correlation_uuid"] = correlation_uuid.lower()
        if vals.get("cancel_at"):
            clean["cancel_at"] = self._moment("cancel_at", vals["cancel_at"])
        if vals.get("origin", "backend") not in [name for name, _label in ORIGINS]:
            raise ValidationError(self.env._("Unknown: %s", vals["origin"]))
        return clean

    def _moment(self, name, value):
        try:
            return fields.Datetime.to_datetime(value)
        except (TypeError, ValueError):
            raise ValidationError(self.env._("%s: must be a moment", name)) from None

    def action_submit(self):
        """Submit drafts: all, or none. What the form showed is the context's `shown_price`.

        Raises ValidationError, PriceError, CreditsError, QuotaError.
        """
        for request in self._owned():
            request._lock()
            if request.state != "draft":
                raise UserError(self.env._("It has been submitted already."))
            request._submit(self.env.context.get("shown_price"))
        return True

    def action_retry(self, shown_price=None):
        """Ask for the same image once more, in a new request with its own ids; opens it.

        `shown_price` as in `submit_generation`.
        """
        self.ensure_one()
        old = self._owned()
        # A second click, as after a lost answer, finds the request that the first one made.
        old._lock()
        if old.state not in ("failed", "canceled"):
            raise UserError(self.env._("Only what failed or was canceled can be tried again."))
        if old.erased_at:
            raise UserError(self.env._("Its words were erased."))
        open_ones = [("retry_of_id", "=", old.id), ("state", "in", OPEN_STATES)]
        if again := self.sudo().search(open_ones, limit=1):
            return again._opened()
        again = old.copy(
            {
                "user_id": old.user_id.id,
                "company_id": old.company_id.id,
                "retry_of_id": old.id,
                "origin": old.origin,
            }
        )
        again._submit(shown_price)
        return again._opened()

    def _opened(self):
        return {
            "type": "ir.actions.act_window",
            "res_model": self._name,
            "res_id": self.id,
            "view_mode": "form",
            "views": [(False, "form")],
        }

    def _submit(self, shown_price=None):
        """Reserve the price, write the event; start after the commit. `self`: one draft, sudo."""
        self.ensure_one()
        self._check_values()
        self.env["duragen.quota"]._check(self.user_id, self.company_id)
        price, now = self._agreed_price(shown_price), fields.Datetime.now()
        account = self.env["duragen.account"]._of(self.user_id, self.company_id)
        if len(self.user_id._get_company_ids()) > 1:
            # The rate holds over all of them, and each has an account of its own.
            account._take_turns(self.user_id)
        account._book("reserve", -price, request=self)
        self.write(
            {
                "state": "requested",
                "price": price,
                "charged": True,
                "counted": True,
                "user_uuid": self._user_uuid(),
                "requested_at": now,
                "next_start_at": now,
            }
        )
        self.event = self._event()
        # Only a try: the process may die right here. The outbox starts what is left.
        self.env.cr.postcommit.add(partial(start_after_commit, self.env.registry, self.id))

    def _agreed_price(self, shown):
        """The price now. Raises PriceError when a lower one was shown."""
        price = self.model_id.price
        if shown is None or shown is False:
            return price
        if not isinstance(shown, int):
            raise ValidationError(self.env._("%s: must be a whole number", "shown_price"))
        if price > shown:
            text = self.env._(
                "The price has changed: it is now %s. Press the button again to agree.",
                price_in_words(self.env, price),
            )
            raise PriceError(text, price)
        return price

    def _user_uuid(self):
        """The user's id on the wire, where it must be a UUID: the same one each time."""
        database = self.env["ir.config_parameter"].sudo().get_param("database.uuid")
        return str(uuid.uuid5(uuid.UUID(database), f"res.users,{self.user_id.id}"))

    def _event(self):
        event = {
            "requestId": self.request_uuid,
            "correlationId": self.correlation_uuid,
            "userId": self.user_uuid,
            "prompt": self.prompt,
            "modelId": self.model_id.model_uuid.lower(),
            "resolution": self.resolution,
            "aspectRatio": self.aspect_ratio,
            "callbackUrl": self.env["duragen.connection"]._callback_url(),
            "negativePrompt": self.negative_prompt or None,
            "seed": int(self.seed) if self.seed else None,
            "inferenceSteps": self.inference_steps or None,
            "cfgScale": self.cfg_scale or None,
            "campaignId": self.campaign_uuid or None,
            "cancelAt": f"{self.cancel_at.isoformat()}Z" if self.cancel_at else None,
        }
        return {name: value for name, value in event.items() if value is not None}

    def _check_values(self):
        """Raise ValidationError with one friendly line per fault."""
        faults = [*self._prompt_faults(), *self._size_faults(), *self._parameter_faults()]
        if faults:
            raise ValidationError("\n".join(faults))

    def _prompt_faults(self):
        self.prompt = (self.prompt or "").strip()
        if not self.prompt:
            yield self.env._("Write a prompt.")
        if max(len(self.prompt), len(self.negative_prompt or "")) > MAX_PROMPT_CHARACTERS:
            yield self.env._("A prompt has at most %s characters.", MAX_PROMPT_CHARACTERS)

    def _size_faults(self):
        model = self.model_id
        if model not in self.env["duragen.ai.model"].sudo()._available(self.company_id):
            yield self.env._("This model is not available.")
        if self.resolution not in model._sizes():
            yield self.env._(
                "%(model)s makes no images of %(size)s.", model=model.name, size=self.resolution
            )
        # In the event both must agree: the resolution's own ratio always does.
        self.aspect_ratio = ratio_of(self.resolution)

    def _parameter_faults(self):
        model = self.model_id
        for value, allowed, label in (
            (self.negative_prompt, model.allow_negative_prompt, self.env._("a negative prompt")),
            (self.seed, model.allow_seed, self.env._("a seed")),
            (self.inference_steps, model.allow_steps, self.env._("steps")),
            (self.cfg_scale, model.allow_cfg_scale, self.env._("a guidance scale")),
        ):
            if value and not allowed:
                yield self.env._(
                    "%(model)s does not take %(parameter)s.", model=model.name, parameter=label
                )
        seed = (self.seed or "").strip()
        digits = seed.isascii() and seed.isdigit() and len(seed) <= 19
        if seed and not (digits and int(seed) <= MAX_SEED):
            yield self.env._("The seed must be a whole number from 0 to %s.", MAX_SEED)
        else:
            self.seed = str(int(seed)) if seed else False
        if not 0 <= self.inference_steps <= model.max_steps:
            yield self.env._("The steps must be 1 to %s.", model.max_steps)
        if not 0 <= self.cfg_scale <= MAX_CFG_SCALE:
            yield self.env._("The guidance scale must be 0 to %s.", MAX_CFG_SCALE)
        if self.campaign_uuid and not UUID.fullmatch(self.campaign_uuid):
            yield self.env._("The campaign must be a UUID.")


def _plain(value):
    """One spelling of a value: no blanks around it, no leading zeros, one empty text."""
    text = str(value or "").strip()
    return str(int(text)) if text.isascii() and text.isdigit() and len(text) < 20 else text


def _whole(value):
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    text = str(value or "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0
