"""The catalogue: which models people may choose, with what parameters, at what price."""

import re

from odoo import api, fields, models
from odoo.exceptions import ValidationError

from ..wire import UUID

_RESOLUTION = re.compile(r"(\d{1,5})x(\d{1,5})", re.ASCII)
MIN_SIDE_PIXELS, MAX_SIDE_PIXELS = 64, 4_096
# The bounds of Duragen's EVT-AIG-001: it refuses a request outside of them.


class AiModel(models.Model):
    """One `modelId` of Duragen's settings, as people see it."""

    _name = "duragen.ai.model"
    _inherit = "duragen.guarded"
    _description = "AI Model"
    _order = "sequence, id"

    name = fields.Char(required=True, translate=True)
    model_uuid = fields.Char(
        "Model ID", required=True, copy=False, help="The modelId in Duragen's settings, a UUID."
    )
    description = fields.Text(translate=True, help="Shown to people who choose among models.")
    price = fields.Integer("Price (credits)", required=True, default=1)
    active = fields.Boolean(default=True)
    sequence = fields.Integer(default=10)
    resolutions = fields.Text(
        required=True,
        default="1024x1024",
        help="One WIDTHxHEIGHT a line, in pixels; the first is the default.",
    )
    allow_negative_prompt = fields.Boolean()
    allow_seed = fields.Boolean(default=True)
    allow_steps = fields.Boolean()
    allow_cfg_scale = fields.Boolean()
    max_steps = fields.Integer(default=50, help="At most 200.")
    company_ids = fields.Many2many("res.company", string="Companies", help="Empty: all companies.")
    request_count = fields.Integer(compute="_compute_request_count")

    def init(self):
        """Unique by index: constraints are declared in one way on Odoo 18 and in another on 19."""
        self.env.cr.execute(
            "CREATE UNIQUE INDEX IF NOT EXISTS duragen_ai_model_uuid_unique"
            " ON duragen_ai_model (lower(model_uuid))"
        )

    @api.depends_context("uid")
    def _compute_request_count(self):
        requests = self.env["duragen.generation.request"]
        for model in self:
            model.request_count = requests.search_count([("model_id", "in", model.ids)])

    @api.constrains("model_uuid", "price", "max_steps", "resolutions")
    def _check_values(self):
        for model in self:
            if not UUID.fullmatch(model.model_uuid or ""):
                raise ValidationError(
                    self.env._("The model ID must be a UUID, as in Duragen's settings.")
                )
            if model.price < 0:
                raise ValidationError(self.env._("The price must not be negative."))
            if not 1 <= model.max_steps <= 200:
                raise ValidationError(self.env._("The maximum number of steps must be 1 to 200."))
            model._sizes()

    def _sizes(self):
        """The resolutions as a list of texts, the default first. Raises ValidationError."""
        self.ensure_one()
        found = [line.strip() for line in (self.resolutions or "").splitlines() if line.strip()]
        if not found:
            raise ValidationError(self.env._("Give at least one resolution."))
        for text in found:
            match = _RESOLUTION.fullmatch(text)
            sides = [int(side) for side in match.groups()] if match else [0]
            if not all(MIN_SIDE_PIXELS <= side <= MAX_SIDE_PIXELS for side in sides):
                raise ValidationError(
                    self.env._(
                        "%(text)s is no resolution: write WIDTHxHEIGHT, both %(least)s to %(most)s",
                        text=text,
                        least=MIN_SIDE_PIXELS,
                        most=MAX_SIDE_PIXELS,
                    )
                )
        return found

    @api.model
    def _available(self, company):
        """The models that people of this company may choose."""
        return self.search(["|", ("company_ids", "=", False), ("company_ids", "in", company.ids)])
