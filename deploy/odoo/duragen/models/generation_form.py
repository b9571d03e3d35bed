"""What the backend's form shows of a draft: what its model takes, what it costs, what is left."""

from odoo import api, fields, models
from odoo.exceptions import UserError

from ..sizes import size_choice
from ..wording import credits_in_words, price_in_words

# Each parameter, and the field of the model that says whether it takes it.
PARAMETERS = {
    "negative_prompt": "allow_negative_prompt",
    "seed": "allow_seed",
    "inference_steps": "allow_steps",
    "cfg_scale": "allow_cfg_scale",
}

# Of the palette of Odoo's calendar.
COLORS = {"failed": 1, "requested": 2, "started": 4, "completed": 10}


class GenerationForm(models.Model):
    """The form of a request, which offers what its model takes and no more."""

    _inherit = "duragen.generation.request"

    model_description = fields.Text("About the model", related="model_id.description")
    allow_negative_prompt = fields.Boolean(related="model_id.allow_negative_prompt")
    allow_seed = fields.Boolean(related="model_id.allow_seed")
    allow_steps = fields.Boolean(related="model_id.allow_steps")
    allow_cfg_scale = fields.Boolean(related="model_id.allow_cfg_scale")
    max_steps = fields.Integer(related="model_id.max_steps")
    size_choices = fields.Json(compute="_compute_size_choices")
    price_now = fields.Integer("Price now", related="model_id.price")
    balance = fields.Integer("Credits left", compute="_compute_offer")
    submit_label = fields.Char(compute="_compute_offer")
    retry_label = fields.Char(compute="_compute_offer")
    shortage = fields.Char(
        compute="_compute_offer", help="Why it cannot be paid for; empty when it can."
    )
    color = fields.Integer(compute="_compute_color", help="By its state, for the calendar.")

    @api.model
    def default_get(self, fields_list):
        """The model is the one that the user had last, or else the first."""
        found = super().default_get(fields_list)
        if "model_id" in fields_list and not found.get("model_id"):
            found["model_id"] = self._usual_model().id
        return found

    def _usual_model(self):
        available = self.env["duragen.ai.model"].sudo()._available(self.env.company)
        his = [("user_id", "=", self.env.uid), ("requested_at", "!=", False)]
        his += [("model_id", "in", available.ids)]
        last = self.sudo().search(his, order="requested_at desc", limit=1)
        return last.model_id or available[:1]

    @api.depends("model_id.resolutions")
    @api.depends_context("lang")
    def _compute_size_choices(self):
        for request in self:
            model = request.model_id.sudo()
            sizes = model._sizes() if model else []
            request.size_choices = [size_choice(self.env, size) for size in sizes]

    @api.depends("model_id.price", "state", "user_id", "company_id")
    @api.depends_context("lang")
    def _compute_offer(self):
        accounts = self.env["duragen.account"]
        for request in self:
            price = request.price_now
            left = 0
            if self._may_see_balance(request):
                left = accounts._balance_of(request.user_id, request.company_id)
            request.balance = left
            request.submit_label = self.env._(
                "Generate · %(price)s · you have %(left)s",
                price=credits_in_words(self.env, price) if price else self.env._("free"),
                left=left,
            )
            request.retry_label = self.env._("Try Again · %s", price_in_words(self.env, price))
            short = request.state == "draft" and bool(request.model_id) and 0 < price > left
            request.shortage = short and self.env._(
                "This costs %(price)s, and you have %(left)s. Choose another model, or ask"
                " for more.",
                price=credits_in_words(self.env, price),
                left=left,
            )

    def _may_see_balance(self, request):
        """A form may name anybody: it says what is one's own, and managers see all."""
        manager = self.env.su or self.env.user.has_group("duragen.group_manager")
        return request.user_id == self.env.user or (
            manager and request.company_id in self.env.companies
        )

    @api.depends("state")
    def _compute_color(self):
        for request in self:
            request.color = COLORS.get(request.state, 0)

    @api.onchange("model_id")
    def _onchange_model_id(self):
        """What the model does not take is hidden, so it must not be sent either."""
        for name, allowed in PARAMETERS.items():
            if self.model_id and not self.model_id[allowed]:
                self[name] = False

    def action_download(self):
        """The image as a file."""
        self.ensure_one()
        if not self.image_id:
            raise UserError(self.env._("There is no image to download."))
        return self.image_id.action_download()
