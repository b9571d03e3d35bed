"""For API users: what the gateway's developer API calls, one method per operation.

The caller is a technical user of the group "Gateway"; the API key says which user is served. It is
one of Odoo's own keys (Preferences, Account Security). Every method answers with a dict:
{"ok": True, …}, or {"ok": False, "error": CODE, "httpStatus": n, "message": text, "retryAfter":
seconds or None}.
"""

from odoo import _, api, models
from odoo.exceptions import AccessError, ValidationError

from ..exceptions import ConflictError, CreditsError, QuotaError
from ..wire import UUID

SCOPE = "duragen"
"""Keys that users make in their preferences have every scope; one may be made for this alone."""

MAX_REFERENCE_CHARACTERS = 200

_PARAMETERS = {
    "prompt": "prompt",
    "negativePrompt": "negative_prompt",
    "resolution": "resolution",
    "seed": "seed",
    "inferenceSteps": "inference_steps",
    "cfgScale": "cfg_scale",
    "campaignId": "campaign_id",
}
_STATUS = {"requested": "pending", "started": "processing"}


class Api(models.AbstractModel):
    """Authenticate, check, submit, status, cancel. spec: developer-api.sequence, steps 2 to 6."""

    _name = "duragen.api"
    _description = "Developer API"

    @api.model
    def authenticate(self, api_key):
        """Whose key it is: {"ok", "userId" (UUID), "login", "companyId"}; 401 for no valid key."""
        user = self._user(api_key)
        if not user:
            return _refused("INVALID_API_KEY", 401, _("The API key is not valid."))
        requests = self.env["duragen.generation.request"].sudo()
        user_id = requests.new({"user_id": user.id})._user_uuid()
        return {"ok": True, "userId": user_id, "login": user.login, "companyId": user.company_id.id}

    @api.model
    def check(self, api_key):
        """Whether one more request would be taken now: {"ok", "balance", "quotas"}; 401, 429."""
        user = self._user(api_key)
        if not user:
            return _refused("INVALID_API_KEY", 401, _("The API key is not valid."))
        try:
            self.env["duragen.quota"]._check(user, user.company_id)
        except QuotaError as error:
            return _limited(error)
        return {
            "ok": True,
            "balance": self.env["duragen.account"]._balance_of(user, user.company_id),
            "quotas": self.env["duragen.quota"]._standing(user, user.company_id),
        }

    @api.model
    def submit(self, api_key, params, client_reference=None):
        """Check rate, quota and balance, charge and create in one transaction.

        `params` are EVT-AIG-001's names: prompt, modelId, resolution, …; {"ok", "jobId", "status",
        "price", "balance"}, or 401, 402 (credits), 422 (which parameter), 429. The same
        `client_reference` twice is one request.
        """
        user = self._user(api_key)
        if not user:
            return _refused("INVALID_API_KEY", 401, _("The API key is not valid."))
        requests = self.env["duragen.generation.request"].with_user(user)
        requests = requests.with_company(user.company_id)
        try:
            # A refusal is an answer here, not an exception: nothing of it may be committed.
            with self.env.cr.savepoint():
                vals = self._vals(params, client_reference)
                made = requests.submit_generation(vals)
        except CreditsError as error:
            return _refused("INSUFFICIENT_CREDITS", 402, error.args[0])
        except QuotaError as error:
            return _limited(error)
        except ConflictError as error:
            return _refused("CONFLICT", 409, error.args[0])
        except ValidationError as error:
            return _refused("INVALID_INPUT", 422, error.args[0])
        balance = self.env["duragen.account"]._balance_of(user, user.company_id)
        return {**self._view(made), "balance": balance}

    @api.model
    def status(self, api_key, request_id):
        """The status of a request of this key's user; 401, 404."""
        made = self._own(api_key, request_id)
        return made if isinstance(made, dict) else self._view(made)

    @api.model
    def cancel(self, api_key, request_id):
        """Cancel a request; answers as `status` does; 401, 404."""
        made = self._own(api_key, request_id)
        if isinstance(made, dict):
            return made
        made.action_cancel()
        return self._view(made)

    def _own(self, api_key, request_id):
        user = self._user(api_key)
        if not user:
            return _refused("INVALID_API_KEY", 401, _("The API key is not valid."))
        requests = self.env["duragen.generation.request"].with_user(user)
        wanted = str(request_id).lower()
        found = UUID.fullmatch(wanted) and requests.sudo().search(
            [("request_id", "=", wanted), ("user_id", "=", user.id), ("state", "!=", "draft")],
            limit=1,
        )
        if not found:
            return _refused("NOT_FOUND", 404, _("There is no such request."))
        return found.with_user(user).sudo(False)

    def _user(self, api_key):
        """The user of an API key (an empty record for none). Raises AccessError for strangers."""
        if not self.env.su and not self.env.user.has_group("duragen.group_gateway"):
            raise AccessError(_("Only the gateway's own user may serve API users."))
        users = self.env["res.users"].sudo()
        if not isinstance(api_key, str) or not (api_key.isascii() and api_key.isalnum()):
            return users
        found = self.env["res.users.apikeys"].sudo()._check_credentials(scope=SCOPE, key=api_key)
        return users.browse(found or []).filtered("active")

    def _vals(self, params, client_reference):
        if not isinstance(params, dict):
            raise ValidationError(_("The parameters must be an object."))
        texts = ("prompt", "negativePrompt", "resolution", "campaignId")
        for name in texts:
            if params.get(name) is not None and not isinstance(params[name], str):
                raise ValidationError(_("%s: must be a text", name))
        for name, kinds in (("inferenceSteps", int), ("cfgScale", (int, float)), ("seed", int)):
            value = params.get(name)
            if value is not None and (isinstance(value, bool) or not isinstance(value, kinds)):
                raise ValidationError(_("%s: must be a number", name))
        vals = {ours: params[name] for name, ours in _PARAMETERS.items() if params.get(name)}
        if params.get("seed") is not None:
            vals["seed"] = str(params["seed"])
        model_uuid = str(params.get("modelId") or "")
        if not UUID.fullmatch(model_uuid):
            raise ValidationError(_("modelId: must be a UUID"))
        models_ = self.env["duragen.ai.model"].sudo()
        model = models_.search([("model_uuid", "=ilike", model_uuid)], limit=1)
        if not model:
            raise ValidationError(_("modelId: there is no such model"))
        vals["model_id"] = model.id
        vals["origin"] = "api"
        vals["client_reference"] = self._reference(client_reference)
        return vals

    def _reference(self, given):
        requests = self.env["duragen.generation.request"]
        clean = requests._clean({"client_reference": str(given or "")})
        reference = clean["client_reference"] or ""
        if len(reference) > MAX_REFERENCE_CHARACTERS:
            # Cut short, two references with the same beginning would be one request.
            raise ValidationError(
                _("clientReference: at most %s characters", MAX_REFERENCE_CHARACTERS)
            )
        return reference or False

    def _view(self, request):
        seen = request.portal_values()
        return {
            "ok": True,
            "jobId": seen["requestId"],
            "status": _STATUS.get(seen["state"], seen["state"]),
            "price": seen["price"],
            "charged": seen["charged"],
            "cancelRequested": seen["cancelRequested"],
            "imageUrl": self._link(request),
            "error": {
                "code": seen["errorCode"],
                "message": seen["userMessage"],
                "retrySuggestion": seen["retrySuggestion"],
            }
            if seen["errorCode"]
            else None,
            "createdAt": seen["createdAt"],
            "endedAt": seen["endedAt"],
        }

    def _link(self, request):
        image = request.sudo().image_id
        return image._signed_url() if image else None


def _refused(code, status, message, retry_after=None):
    return {
        "ok": False,
        "error": code,
        "httpStatus": status,
        "message": message,
        "retryAfter": retry_after,
    }


def _limited(error):
    return _refused("LIMIT_REACHED", 429, error.args[0], error.retry_after)
