"""For API users: their webhooks, one method per operation; answers as the other methods of the API.

An endpoint is {"id", "url", "description", "events", "payload", "enabled", "disabledWhy",
"failingSince", "createdAt"}; its secret is in the answers of `webhook_create` and `webhook_rotate`
alone. A delivery is {"id", "messageId", "event", "jobId", "status", "attempts", "lastAttemptAt",
"lastStatus", "lastMilliseconds", "lastAnswer", "createdAt"}.
"""

from odoo import api, fields, models
from odoo.exceptions import ValidationError

from ..api_parameters import limit_of, moment_of
from ..exceptions import ConflictError
from ..wire import UUID
from .api import NotFoundRefusal, companies_of
from .generation_portal import iso
from .webhook_endpoint import EVENTS, PREVIOUS_LASTS

MOST_REDELIVERED = 1_000
_TEXTS = {"url": 2_048, "description": 200}
_CHOICES = {"payload": ["full", "thin"], "enabled": [True, False]}


class ApiWebhooks(models.AbstractModel):
    """Create, list, change, rotate, test, delete; deliveries, and sending them again."""

    _inherit = "duragen.api"

    @api.model
    def webhook_create(self, api_key, vals):
        """A new endpoint, with its secret; 422, and 409 when there are ten."""
        return self._answered(api_key, lambda api, user: api._created(user, vals))

    @api.model
    def webhook_list(self, api_key):
        """All endpoints of this user: {"ok", "webhooks"}."""

        def listed(api, user):
            return {"webhooks": [_shown(each) for each in api._endpoints(user).search([])]}

        return self._answered(api_key, listed)

    @api.model
    def webhook_get(self, api_key, webhook_id):
        """One of them; 404."""
        return self._answered(api_key, lambda api, user: _shown(api._endpoint(user, webhook_id)))

    @api.model
    def webhook_update(self, api_key, webhook_id, vals):
        """Change some of its fields; 404, 422."""

        def updated(api, user):
            endpoint = api._endpoint(user, webhook_id)
            endpoint.sudo().write(_vals(api.env, vals))
            return _shown(endpoint)

        return self._answered(api_key, updated)

    @api.model
    def webhook_delete(self, api_key, webhook_id):
        """Delete it: what is under way is dropped; 404."""

        def deleted(api, user):
            api._endpoint(user, webhook_id).sudo().unlink()
            return {"id": str(webhook_id).lower()}

        return self._answered(api_key, deleted)

    @api.model
    def webhook_rotate(self, api_key, webhook_id):
        """A new secret, in the answer; the one before signs as well for a day; 404."""

        def rotated(api, user):
            endpoint = api._endpoint(user, webhook_id)
            endpoint.sudo().action_rotate()
            until = iso(fields.Datetime.now() + PREVIOUS_LASTS)
            secret = endpoint.sudo().secret
            return {**_shown(endpoint), "secret": secret, "previousSecretUntil": until}

        return self._answered(api_key, rotated)

    @api.model
    def webhook_test(self, api_key, webhook_id):
        """Send `webhook.test`; the delivery; 404, 409 when it is switched off."""

        def tested(api, user):
            endpoint = api._on(api._endpoint(user, webhook_id))
            made = api.env["duragen.webhook.delivery"]._made(endpoint, "webhook.test")
            return _delivery(made)

        return self._answered(api_key, tested)

    @api.model
    def webhook_deliveries(self, api_key, webhook_id, filters=None):
        """The latest deliveries, {"ok", "deliveries", "next"}, as `list_requests`; 404, 422."""
        return self._answered(
            api_key, lambda api, user: api._deliveries(user, webhook_id, filters or {})
        )

    @api.model
    def webhook_redeliver(self, api_key, webhook_id, what):
        """Send again {"delivery": id}, or all since {"since": moment}: {"ok", "count"}; 404."""
        return self._answered(api_key, lambda api, user: api._redelivered(user, webhook_id, what))

    def _endpoints(self, user):
        endpoints = self.env["duragen.webhook.endpoint"].with_user(user).sudo(False)
        return endpoints.with_context(lang=user.lang, allowed_company_ids=companies_of(user))

    def _endpoint(self, user, webhook_id):
        wanted = str(webhook_id).lower()
        named = [("webhook_code", "=", wanted), ("user_id", "=", user.id)]
        found = UUID.fullmatch(wanted) and self._endpoints(user).search(named, limit=1)
        if not found:
            raise NotFoundRefusal(self.env._("There is no such webhook."))
        return found

    def _on(self, endpoint):
        if not endpoint.enabled:
            raise ConflictError(self.env._("It is switched off."))
        return endpoint

    def _created(self, user, vals):
        vals = _vals(self.env, vals)
        if not vals.get("url"):
            raise ValidationError(self.env._("url: is missing"))
        endpoints = self._endpoints(user).with_company(user.company_id)
        endpoints._check_room(user, 1)
        own = {"user_id": user.id, "company_id": user.company_id.id}
        made = endpoints.sudo().create({**vals, **own}).with_user(user).sudo(False)
        return {**_shown(made), "secret": made.sudo().secret}

    def _deliveries(self, user, webhook_id, filters):
        endpoint = self._endpoint(user, webhook_id)
        limit = limit_of(self.env, filters.get("limit"))
        deliveries = self.env["duragen.webhook.delivery"].sudo()
        domain = [("endpoint_id", "=", endpoint.id)]
        if after := filters.get("after"):
            last = deliveries.search([*domain, _named(after)], limit=1)
            if not last:
                raise ValidationError(self.env._("after: is not the `next` of a page"))
            domain.append(("id", "<", last.id))
        found = deliveries.search(domain, order="id desc", limit=limit + 1)
        more = found[limit - 1].delivery_uuid if len(found) > limit else None
        return {"deliveries": [_delivery(each) for each in found[:limit]], "next": more}

    def _redelivered(self, user, webhook_id, what):
        endpoint = self._on(self._endpoint(user, webhook_id))
        what = what if isinstance(what, dict) else {}
        domain = [("endpoint_id", "=", endpoint.id)]
        if what.get("delivery"):
            domain.append(_named(what["delivery"]))
        elif what.get("since"):
            domain += [
                ("happened_at", ">=", moment_of(self.env, what["since"])),
                ("state", "!=", "waiting"),
            ]
        else:
            raise ValidationError(self.env._("delivery or since: is missing"))
        deliveries = self.env["duragen.webhook.delivery"].sudo()
        found = deliveries.search(domain, order="id", limit=MOST_REDELIVERED)
        if what.get("delivery") and not found:
            raise NotFoundRefusal(self.env._("There is no such delivery."))
        if what.get("delivery"):
            deliveries._made(endpoint, found.event, found.request_id, found.message_code)
            return {"count": 1}
        # Of one that was sent several times, once; what is on its way already, not again.
        latest = {each.message_code: each for each in found}
        under_way = [("endpoint_id", "=", endpoint.id), ("state", "in", ("waiting", "sending"))]
        for each in deliveries.search([*under_way, ("message_code", "in", list(latest))]):
            latest.pop(each.message_code, None)
        # Not one hook for each: the caller would wait for a thousand calls.
        deliveries._written(
            endpoint, [(each.event, each.request_id, each.message_code) for each in latest.values()]
        )
        self.env.ref("duragen.cron_start").sudo()._trigger()
        return {"count": len(latest)}


def _named(delivery_uuid):
    """The condition for one delivery; what is no UUID names none."""
    wanted = str(delivery_uuid).lower()
    return ("delivery_uuid", "=", wanted if UUID.fullmatch(wanted) else "")


def _vals(env, given):
    """The record's values. Raises ValidationError, naming the field."""
    if not isinstance(given, dict):
        raise ValidationError(env._("The webhook must be an object."))
    vals = {}
    for name, most in _TEXTS.items():
        if name in given:
            if not isinstance(given[name], str) or len(given[name]) > most:
                raise ValidationError(env._("%s: must be a text", name))
            vals[name] = given[name].replace("\0", "").encode("utf-8", "replace").decode()
    if "events" in given:
        events = given["events"]
        known = isinstance(events, list) and all(isinstance(e, str) for e in events)
        if not known or not set(events) <= EVENTS.keys():
            raise ValidationError(env._("events: must be some of %s", ", ".join(EVENTS)))
        vals |= {field: event in events for event, field in EVENTS.items()}
    for name, allowed in _CHOICES.items():
        if name in given:
            value = given[name]
            if value not in allowed or type(value) is not type(allowed[0]):
                raise ValidationError(
                    env._(
                        "%(name)s: must be one of %(allowed)s",
                        name=name,
                        allowed=", ".join(map(str, allowed)),
                    )
                )
            vals[name] = value
    return vals


def _shown(endpoint):
    return {
        "id": endpoint.webhook_code,
        "url": endpoint.url,
        "description": endpoint.description or "",
        "events": [event for event, field in EVENTS.items() if endpoint[field]],
        "payload": endpoint.payload,
        "enabled": endpoint.enabled,
        "disabledWhy": endpoint.disabled_why or None,
        "failingSince": iso(endpoint.failing_since) or None,
        "createdAt": iso(endpoint.create_date.replace(microsecond=0)),
    }


def _delivery(delivery):
    return {
        "id": delivery.delivery_uuid,
        "messageId": delivery.message_code,
        "event": delivery.event,
        "jobId": delivery.request_id.request_uuid or None,
        "status": delivery.state,
        "attempts": delivery.attempts,
        "lastAttemptAt": iso(delivery.last_at) or None,
        "lastStatus": delivery.last_status or None,
        "lastMilliseconds": delivery.last_milliseconds if delivery.last_at else None,
        "lastAnswer": delivery.last_answer or "",
        "createdAt": iso(delivery.happened_at),
    }
