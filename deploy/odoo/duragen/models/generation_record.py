"""The record of another module that an image is for: `duragen.image.mixin`."""

import logging

from odoo import api, fields, models
from odoo.exceptions import UserError

from .generation_request import _FOR_OPERATORS

_logger = logging.getLogger(__name__)


class GenerationRecord(models.Model):
    """Who made the request, and informing it of the outcome."""

    _inherit = "duragen.generation.request"

    res_model = fields.Char("Made for (model)", readonly=True, copy=False)
    res_id = fields.Many2oneReference(
        "Made for (id)",
        model_field="res_model",
        readonly=True,
        copy=False,
        index="btree_not_null",
    )
    record_in_sudo = fields.Boolean(
        help="Its module asked in sudo, and is informed so: the user need not be able to write it.",
        **_FOR_OPERATORS,
    )
    record_name = fields.Char("Made for", compute="_compute_record_name")
    record_message_ids = fields.Many2many(
        "mail.message", "duragen_generation_request_mail_message_rel", **_FOR_OPERATORS
    )

    @api.depends("res_model", "res_id")
    @api.depends_context("uid", "lang", "allowed_company_ids")
    def _compute_record_name(self):
        for request in self:
            record = request._record()
            readable = record is not None and record.has_access("read")
            request.record_name = record.display_name if readable else False

    def action_open_record(self):
        """The record that this image is for. Raises UserError when it is gone or not readable."""
        self.ensure_one()
        self.check_access("read")
        record = self._record()
        if record is None or not record.has_access("read"):
            raise UserError(self.env._("It is not there any more, or not for you."))
        return {
            "type": "ir.actions.act_window",
            "res_model": record._name,
            "res_id": record.id,
            "view_mode": "form",
            "views": [(False, "form")],
        }

    def copy_data(self, default=None):
        """Who tries again does so for the same record; a user's copy has what he may write."""
        found = super().copy_data(default)
        given = default or {}
        if given.get("retry_of_id"):
            for request, vals in zip(self, found, strict=True):
                vals.update(
                    {name: request[name] for name in ("res_model", "res_id", "record_in_sudo")}
                )
        if self.env.su:
            return found
        kept = self._editable_fields() | given.keys()
        return [{name: vals[name] for name in vals.keys() & kept} for vals in found]

    def _record(self):
        """The record, as far as it is there; None without one."""
        if self.res_model not in self.env:
            return None  # none, or its module is gone
        return self.env[self.res_model].browse(self.res_id).exists() or None

    def _call_hook(self):
        """Inform the record of what became of its image, as the user who asked for it."""
        request = self._as_asked()
        record = request._record()
        if record is None or not record.has_access("write"):
            _logger.info("request %s: its record is gone, or not its user's", self.request_uuid)
        elif not hasattr(record, "_duragen_image_ready"):
            _logger.info("request %s: its model takes no images any more", self.request_uuid)
        elif self.state != "completed":
            record._duragen_image_failed(request)
        elif request.image_id:
            record._duragen_image_ready(request, request.image_id)

    def _as_asked(self):
        """This request with the rights, the company and the language that it was asked with."""
        user, company = self.user_id, self.company_id
        context = {"lang": user.lang, "tz": user.tz}
        if company in user.company_ids:
            context["allowed_company_ids"] = company.ids
        return self.with_context(**context).with_user(user).sudo(self.record_in_sudo)
