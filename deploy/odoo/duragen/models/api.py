"""For API users: what the gateway's developer API calls, one method per operation.

The caller is a technical user of the group "Gateway"; the API key says which user is served. It is
one of Odoo's own keys (Preferences, Account Security). Every method answers with a dict:
{"ok": True, …}, or {"ok": False, "error": CODE, "httpStatus": n, "message": text, "retryAfter":
seconds or None}. Every method refuses a key that is not valid (401 INVALID_API_KEY) and a user
who may not ask for images (403 FORBIDDEN).
"""

from datetime import timedelta

from odoo import api, fields, models
from odoo.exceptions import AccessError, ValidationError

from ..api_parameters import (
    STATUS,
    digest_of,
    filters_of,
    limit_of,
    reference_of,
    seconds_of,
    vals_of,
)
from ..exceptions import ConflictError, CreditsError, QuotaError
from ..wire import UUID

SCOPE = "duragen"
"""Keys that users make in their preferences have every scope; one may be made for this alone."""

REFERENCE_LASTS = timedelta(hours=24)
"""So long the same `client_reference` is the same request; afterwards it is free again."""

_REFUSED = {
    CreditsError: ("INSUFFICIENT_CREDITS", 402),
    ConflictError: ("CONFLICT", 409),
    ValidationError: ("INVALID_INPUT", 422),
}


class Refusal(Exception):  # noqa: N818  # it is an answer, and no fault of ours
    """A refusal on its way out of a method; `answer` is what the caller gets."""

    def __init__(self, code, status, message):
        super().__init__(message)
        self.answer = _refused(code, status, message)


class NotFoundRefusal(Refusal):
    """404, as for what never was."""

    def __init__(self, message):
        super().__init__("NOT_FOUND", 404, message)


class Api(models.AbstractModel):
    """Authenticate, check, estimate, submit, status, list, cancel.

    spec: developer-api.sequence, steps 2 to 6.
    """

    _name = "duragen.api"
    _description = "Developer API"

    @api.model
    def authenticate(self, api_key):
        """Whose key it is: {"ok", "userId" (UUID), "login", "companyId"}."""
        return self._answered(api_key, lambda api, user: api._whose(user))

    @api.model
    def check(self, api_key):
        """Whether one more request would be taken now: {"ok", "balance", "quotas", "limits"}; 429.

        `limits` has the rate and the quotas in one shape: {"name", "limit", "remaining", "reset"
        (seconds)}.
        """
        return self._answered(api_key, lambda api, user: api._checked(user))

    @api.model
    def estimate(self, api_key, params):
        """What `submit` would charge: {"ok", "price", "balance", "balanceAfter", "limits"}; 422.

        `balanceAfter` is below 0 where the credits do not suffice. Nothing is made or charged.
        """
        return self._answered(api_key, lambda api, user: api._estimated(user, params))

    @api.model
    def submit(
        self, api_key, params, client_reference=None, cancel_after=None, correlation_id=None
    ):
        """Check rate, quota and balance, charge and create in one transaction.

        `params` are EVT-AIG-001's names: prompt, modelId, resolution, …; answers as `status`, with
        "balance", "limits" and "replayed"; or 402 (credits), 409, 422 (which parameter), 429.
        The same `client_reference` within 24 hours is one request: `replayed` says that it was
        there already, 409 that it was for other parameters. `cancel_after` seconds from now it is
        canceled, wherever it stands. `correlation_id`, a UUID, is the caller's own.
        """
        given = (params, client_reference, cancel_after, correlation_id)
        return self._answered(api_key, lambda api, user: api._submitted(user, *given))

    @api.model
    def status(self, api_key, request_id):
        """A request of this key's user: {"ok", "jobId", "status", "price", …}; 404."""
        return self._answered(api_key, lambda api, user: api._view(api._own(user, request_id)))

    @api.model
    def list_requests(self, api_key, filters=None):
        """Requests of this key's user, the newest first: {"ok", "jobs", "next"}; 422.

        `filters` may hold status, since (ISO 8601), modelId, limit (1 to 100; 20) and after, which
        is the `next` of the page before; `next` is None on the last page.
        """
        return self._answered(api_key, lambda api, user: api._listed(user, filters or {}))

    @api.model
    def cancel(self, api_key, request_id):
        """Cancel a request; answers as `status` does; 404."""

        def cancel(api, user):
            made = api._own(user, request_id)
            made.action_cancel()
            return api._view(made)

        return self._answered(api_key, cancel)

    def _answered(self, api_key, work):
        """What `work(api, user)` answers for the key's user, or the refusal that it raised."""
        try:
            user = self._user(api_key)
        except Refusal as refusal:
            return refusal.answer
        return self.with_context(lang=user.lang)._served(user, work)

    def _served(self, user, work):
        """The same for a user who is known already, in the language of this environment."""
        if not self._may_ask(user):
            return _refused("FORBIDDEN", 403, self.env._("This user may not ask for images."))
        try:
            # A refusal is an answer here, not an exception: nothing of it may be committed.
            with self.env.cr.savepoint():
                return {"ok": True, **work(self, user)}
        except Refusal as refusal:
            return refusal.answer
        except QuotaError as error:
            refusal = _refused("LIMIT_REACHED", 429, error.args[0], error.retry_after)
            return {**refusal, "limit": error.limit}
        except tuple(_REFUSED) as error:
            refused = next(known for kind, known in _REFUSED.items() if isinstance(error, kind))
            return _refused(*refused, error.args[0])

    def _user(self, api_key):
        """The user of an API key. Raises Refusal, and AccessError for strangers."""
        if not self.env.su and not self.env.user.has_group("duragen.group_gateway"):
            raise AccessError(self.env._("Only the gateway's own user may serve API users."))
        invalid = Refusal("INVALID_API_KEY", 401, self.env._("The API key is not valid."))
        if not isinstance(api_key, str) or not (api_key.isascii() and api_key.isalnum()):
            raise invalid
        found = self.env["res.users.apikeys"].sudo()._check_credentials(scope=SCOPE, key=api_key)
        user = self.env["res.users"].sudo().browse(found or []).filtered("active")
        if not user:
            raise invalid
        return user

    def _may_ask(self, user):
        """Whether the user may use the API; other modules may be stricter."""
        return user.has_group("base.group_user") or user.has_group("base.group_portal")

    def _whose(self, user):
        user_id = self._requests(user).sudo().new({"user_id": user.id})._user_uuid()
        return {"userId": user_id, "login": user.login, "companyId": user.company_id.id}

    def _checked(self, user):
        quota = self.env["duragen.quota"]
        quota._check(user, user.company_id)
        return {
            "balance": self._balance(user),
            "quotas": quota._standing(user, user.company_id),
            "limits": quota._limits(user, user.company_id),
        }

    def _estimated(self, user, params):
        vals = vals_of(self.env, params)
        requests = self._requests(user).sudo()
        model = self.env["duragen.ai.model"].sudo().browse(vals["model_id"])
        vals = requests._clean({"resolution": model._sizes()[0], **vals})
        wanted = requests.new({**vals, "user_id": user.id, "company_id": user.company_id.id})
        wanted._check_values()
        balance = self._balance(user)
        return {
            "price": model.price,
            "balance": balance,
            "balanceAfter": balance - model.price,
            "limits": self.env["duragen.quota"]._limits(user, user.company_id),
        }

    def _submitted(
        self, user, params, client_reference=None, cancel_after=None, correlation_id=None
    ):  # as above
        requests = self._requests(user)
        vals, seconds = vals_of(self.env, params), seconds_of(self.env, cancel_after)
        reference, digest = reference_of(requests, client_reference), digest_of(params)
        found = reference and self._referenced(user, reference)
        if found and not found.sudo().reference_digest:  # of another way in, or of an old version
            found._unless_other(vals)
        elif found and found.reference_digest != digest:
            raise ConflictError(
                self.env._(
                    "This reference (Idempotency-Key) belongs to a request with other parameters."
                )
            )
        made = found
        if not found:
            if seconds:
                vals["cancel_at"] = fields.Datetime.now() + timedelta(seconds=seconds)
            ours = {"client_reference": reference, "correlation_uuid": correlation_id}
            made = requests.submit_generation({**vals, **ours})
            made.sudo().reference_digest = reference and digest
        return {
            **self._view(made),
            "balance": self._balance(user),
            "limits": self.env["duragen.quota"]._limits(user, user.company_id),
            "replayed": bool(found),
        }

    def _referenced(self, user, reference):
        """The request with this reference; one that is old lets go of it."""
        known = [("user_id", "=", user.id), ("client_reference", "=", reference)]
        found = self._requests(user).sudo().search(known, limit=1)
        if found and found.requested_at < fields.Datetime.now() - REFERENCE_LASTS:
            found.client_reference = False
            return None
        return found.with_user(user).sudo(False)

    def _listed(self, user, filters):
        if not isinstance(filters, dict):
            raise ValidationError(self.env._("The filters must be an object."))
        limit = limit_of(self.env, filters.get("limit"))
        domain = [
            ("user_id", "=", user.id),
            ("requested_at", "!=", False),
            *filters_of(self.env, filters),
        ]
        if after := filters.get("after"):
            last = self._found(user, after)
            if not last:
                raise ValidationError(self.env._("after: is not the `next` of a page"))
            at = last.requested_at
            same = ["&", ("requested_at", "=", at), ("id", "<", last.id)]
            domain += ["|", ("requested_at", "<", at), *same]
        requests = self._requests(user)
        found = requests.search(domain, order="requested_at desc, id desc", limit=limit + 1)
        shown = found[:limit]
        more = shown[-1:].request_uuid if len(found) > limit else None
        return {"jobs": [self._view(each) for each in shown], "next": more}

    def _own(self, user, request_id):
        found = self._found(user, request_id)
        if not found:
            raise NotFoundRefusal(self.env._("There is no such request."))
        return found

    def _found(self, user, request_id):
        wanted = str(request_id).lower()
        if not UUID.fullmatch(wanted):
            return None
        named = [("request_uuid", "=", wanted), ("user_id", "=", user.id), ("state", "!=", "draft")]
        return self._requests(user).sudo().search(named, limit=1).with_user(user).sudo(False)

    def _requests(self, user):
        """The model as this user in all his companies, first his own."""
        requests = self.env["duragen.generation.request"].with_user(user).sudo(False)
        return requests.with_context(lang=user.lang, allowed_company_ids=companies_of(user))

    def _balance(self, user):
        return self.env["duragen.account"]._balance_of(user, user.company_id)

    def _view(self, request):
        """A request as its user's programs see it."""
        seen = request.portal_values()
        return {
            "jobId": seen["requestId"],
            "correlationId": request.correlation_uuid,
            "status": STATUS.get(seen["state"], seen["state"]),
            "prompt": seen["prompt"],
            "modelId": request.model_id.sudo().model_uuid.lower(),
            "resolution": seen["resolution"],
            "price": seen["price"],
            "charged": seen["charged"],
            "cancelRequested": seen["cancelRequested"],
            "imageUrl": self._link(request),
            "error": {
                "code": seen["errorCode"],
                "message": request.friendly_message or "",
                "retrySuggestion": seen["retrySuggestion"],
            }
            if seen["errorCode"]
            else None,
            "createdAt": seen["createdAt"],
            "cancelAt": seen["cancelAt"] or None,
            "endedAt": seen["endedAt"] or None,
        }

    def _link(self, request):
        image = request.sudo().image_id
        return image._signed_url() if image else None


def companies_of(user):
    """The ids of a user's companies, first the one that is his own."""
    return [user.company_id.id, *(user.company_ids - user.company_id).ids]


def _refused(code, status, message, retry_after=None):
    return {
        "ok": False,
        "error": code,
        "httpStatus": status,
        "message": message,
        "retryAfter": retry_after,
    }
