"""Generation requests: the record of one image that somebody asked for."""

import uuid
from math import gcd

from odoo import api, fields, models
from odoo.exceptions import AccessError, UserError
from odoo.tools import SQL

from ..messages import in_language
from ..untouched import untouched

STATES = [
    ("draft", "Draft"),
    ("requested", "Waiting"),
    ("started", "Generating"),
    ("completed", "Completed"),
    ("failed", "Failed"),
    ("canceled", "Canceled"),
]
OPEN_STATES = ("requested", "started")
ORIGINS = [("backend", "Backend"), ("portal", "Portal"), ("api", "API")]

# What users write; the addon itself writes everything else.
EDITABLE = frozenset(
    {
        *("prompt", "negative_prompt", "model_id", "resolution", "aspect_ratio", "seed"),
        *("inference_steps", "cfg_scale", "campaign_uuid"),
    }
)


_FOR_OPERATORS = {"readonly": True, "copy": False, "groups": "duragen.group_manager"}
"""For fields that say more than a user should read: peers' own words, addresses, ids."""


def workflow_name_of(request_uuid):
    """The id of the Temporal workflow of a request."""
    return f"generation-{request_uuid}"


def ratio_of(resolution):
    """From "1536x1024" to "3:2"; an empty text when it is not a resolution."""
    sides = (resolution or "").split("x")
    if len(sides) != 2 or not all(side.isascii() and side.isdigit() for side in sides):
        return ""
    width, height = map(int, sides)
    divisor = gcd(width, height)
    return f"{width // divisor}:{height // divisor}" if divisor else ""


class GenerationRequest(models.Model):
    """One image that somebody asked for, from the draft to the outcome.

    draft → requested (committed, credits reserved) → started (Duragen has it) → completed, failed
    or canceled. `completed` may follow `failed` and `canceled`; nothing follows `completed`.
    """

    _name = "duragen.generation.request"
    _inherit = "duragen.guarded"
    _description = "Image Generation"
    _order = "id desc"

    name = fields.Char(compute="_compute_name", store=True)
    request_uuid = fields.Char(
        "Request ID", required=True, readonly=True, copy=False, default=lambda _: str(uuid.uuid4())
    )
    correlation_uuid = fields.Char(
        "Correlation ID",
        required=True,
        readonly=True,
        copy=False,
        default=lambda _: str(uuid.uuid4()),
        help="Finds this generation in every log; it is the trace id.",
    )
    user_id = fields.Many2one(
        "res.users",
        required=True,
        readonly=True,
        index=True,
        ondelete="restrict",
        default=lambda self: self.env.user,
        copy=False,
    )
    user_uuid = fields.Char("User ID on the wire", readonly=True, copy=False)
    company_id = fields.Many2one(
        "res.company",
        required=True,
        readonly=True,
        ondelete="restrict",
        default=lambda self: self.env.company,
        copy=False,
    )
    origin = fields.Selection(ORIGINS, readonly=True, required=True, default="backend", copy=False)
    client_reference = fields.Char(
        readonly=True, copy=False, help="The caller's own id: the same one twice is one request."
    )
    reference_digest = fields.Char(
        copy=False, readonly=True, help="SHA-256 of the parameters that came with the reference."
    )
    cancel_at = fields.Datetime(
        "Deadline", readonly=True, copy=False, help="It is canceled then, wherever it stands."
    )

    prompt = fields.Text(required=True)
    negative_prompt = fields.Text()
    model_id = fields.Many2one("duragen.ai.model", required=True, index=True, ondelete="restrict")
    resolution = fields.Char(
        required=True, compute="_compute_resolution", store=True, readonly=False, precompute=True
    )
    aspect_ratio = fields.Char(
        compute="_compute_aspect_ratio", store=True, readonly=False, precompute=True
    )
    seed = fields.Char(help="A whole number; empty: the service chooses.")
    inference_steps = fields.Integer(help="0: the service's own choice.")
    cfg_scale = fields.Float(help="0: the service's own choice.")
    campaign_uuid = fields.Char("Campaign ID", help="A UUID, when the image is for a campaign.")
    event = fields.Json(help="EVT-AIG-001 as it is sent.", **_FOR_OPERATORS)

    price = fields.Integer("Price (credits)", readonly=True, copy=False)
    charged = fields.Boolean(
        readonly=True, copy=False, help="The ledger has a reservation or a capture for it."
    )
    counted = fields.Boolean(
        "Counts for quotas",
        readonly=True,
        copy=False,
        help="Every submission does, unless it failed by our fault or was canceled"
        " and cannot have been paid for.",
    )
    cost = fields.Integer(
        "Credits spent", compute="_compute_cost", store=True, help="The price while it is charged."
    )
    entry_ids = fields.One2many("duragen.credit.entry", "request_id", readonly=True)

    state = fields.Selection(
        STATES, required=True, readonly=True, default="draft", copy=False, index=True
    )
    error_code = fields.Char(readonly=True, copy=False)
    error_type = fields.Char(readonly=True, copy=False)
    error_message = fields.Text(**_FOR_OPERATORS)
    may_have_been_paid = fields.Boolean(
        readonly=True,
        copy=False,
        groups="duragen.group_manager",
        help="The image service may have charged you for it, although there is no image.",
    )
    ignored_fields = fields.Char(
        "Not used",
        readonly=True,
        copy=False,
        help="What was asked for and the image service has no place for.",
    )
    user_message = fields.Text(readonly=True, copy=False, help="As it came, in English.")
    friendly_message = fields.Text("Message", compute="_compute_friendly_message")
    retry_suggestion = fields.Boolean(readonly=True, copy=False)
    cancel_requested = fields.Boolean(readonly=True, copy=False)
    retry_of_id = fields.Many2one(
        "duragen.generation.request", readonly=True, copy=False, index="btree_not_null"
    )

    requested_at = fields.Datetime(readonly=True, copy=False)
    started_at = fields.Datetime(readonly=True, copy=False)
    ended_at = fields.Datetime(readonly=True, copy=False)
    started_where = fields.Char(help="The address that it was started at.", **_FOR_OPERATORS)
    start_attempts = fields.Integer(readonly=True, copy=False)
    next_start_at = fields.Datetime(readonly=True, copy=False)
    start_error = fields.Char(**_FOR_OPERATORS)
    check_attempts = fields.Integer(readonly=True, copy=False)
    next_check_at = fields.Datetime(readonly=True, copy=False)
    progress_note = fields.Char(help="What Duragen said when it was last asked.", **_FOR_OPERATORS)

    image_ids = fields.One2many("duragen.generated.image", "request_id", "Images", readonly=True)
    image_id = fields.Many2one("duragen.generated.image", compute="_compute_image_id")
    workflow_name = fields.Char("Workflow ID", compute="_compute_workflow")
    workflow_url = fields.Char(
        "Workflow", compute="_compute_workflow", groups="duragen.group_manager"
    )

    def init(self):
        """Unique by index, on both versions of Odoo; the crons search by the other two indexes."""
        for name, definition in {
            "request_unique": "(request_uuid)",
            "reference_unique": "(user_id, client_reference) WHERE client_reference IS NOT NULL",
            "to_start": "(next_start_at) WHERE state = 'requested'",
            "to_check": "(next_check_at) WHERE state = 'started'",
            "of_user": "(user_id, requested_at) WHERE requested_at IS NOT NULL",
        }.items():
            unique = "UNIQUE" if name.endswith("unique") else ""
            create = f"CREATE {unique} INDEX IF NOT EXISTS duragen_generation_request_{name}"
            self.env.cr.execute(SQL(f"{create} ON duragen_generation_request {definition}"))
        # Rows from before the column was there: then only what was charged counted.
        self.env.cr.execute(
            "UPDATE duragen_generation_request SET counted = charged WHERE counted IS NULL"
        )

    @api.depends("prompt")
    def _compute_name(self):
        for request in self:
            line = " ".join((request.prompt or "").split())
            request.name = line if len(line) <= 80 else line[:79].rstrip() + "…"

    @api.depends("model_id")
    def _compute_resolution(self):
        for request in self:
            sizes = request.model_id.sudo()._sizes() if request.model_id else []
            if request.resolution not in sizes:
                request.resolution = sizes[0] if sizes else False

    @api.depends("resolution")
    def _compute_aspect_ratio(self):
        for request in self:
            request.aspect_ratio = ratio_of(request.resolution)

    @api.depends("price", "charged")
    def _compute_cost(self):
        for request in self:
            request.cost = request.price if request.charged else 0

    @api.depends("user_message", "error_code")
    @api.depends_context("lang")
    def _compute_friendly_message(self):
        for request in self:
            message = request.user_message
            request.friendly_message = message and in_language(
                message, request.error_code or "", self.env._
            )

    @api.depends("image_ids")
    def _compute_image_id(self):
        for request in self:
            request.image_id = request.image_ids[:1]

    @api.depends("request_uuid")
    def _compute_workflow(self):
        connection = self.env["duragen.connection"]
        for request in self:
            request.workflow_name = workflow_name_of(request.request_uuid)
            request.workflow_url = connection._workflow_url(request.workflow_name)

    @api.model_create_multi
    def create(self, vals_list):
        """Users write a draft's content, but not who asks, what it costs and how it ends."""
        if not self.env.su:
            self.check_access("create")
            for vals in vals_list:
                self._refuse_foreign(vals)
        # In sudo: a draft begins with values that its user may not write.
        ours = untouched(self, self._editable_fields())
        whole = [{**ours, **vals} for vals in vals_list]
        made = super(GenerationRequest, self.sudo()).create(whole)
        return made.with_env(self.env)

    def write(self, vals):
        """Users change only their drafts."""
        if not self.env.su:
            self._refuse_foreign(vals)
            if any(request.state != "draft" for request in self):
                raise UserError(self.env._("It has been submitted and cannot be changed any more."))
        return super().write(vals)

    @api.ondelete(at_uninstall=False)
    def _drafts_alone(self):
        if any(request.state != "draft" for request in self):
            raise UserError(
                self.env._("Only drafts can be deleted: the others belong to the ledger.")
            )

    def action_open_workflow(self):
        """The workflow in Temporal's Web UI, in a new window."""
        self.ensure_one()
        if not self.workflow_url:
            raise UserError(self.env._("Set the address of Temporal's Web UI in the settings."))
        return {"type": "ir.actions.act_url", "url": self.workflow_url, "target": "new"}

    def _refuse_foreign(self, vals):
        foreign = vals.keys() - self._editable_fields()
        if foreign:
            names = ", ".join(sorted(foreign))
            raise AccessError(self.env._("You may not write these fields: %s", names))

    def _owned(self):
        """These records, in sudo, when the user may act on them: his own, or any for a manager.

        Raises AccessError. Record rules say only who sees a request, not who may act on it.
        """
        self.check_access("read")
        manager = self.env.su or self.env.user.has_group("duragen.group_manager")
        if not manager and any(request.user_id != self.env.user for request in self):
            raise AccessError(self.env._("Only the one who asked for it may do this."))
        return self.sudo()

    def _lock(self):
        """Hold the row until the transaction ends; what was read of it before still holds.

        When another transaction has changed it since this one began, PostgreSQL refuses (Odoo's
        transactions are REPEATABLE READ). Odoo then runs the whole request again, on the new state.
        """
        self.ensure_one()
        self.flush_recordset()
        self.env.cr.execute(
            "SELECT 1 FROM duragen_generation_request WHERE id = %s FOR UPDATE",
            [self.id],
            log_exceptions=False,  # whoever loses is run again: that is no error
        )
