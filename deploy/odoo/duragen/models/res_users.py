"""How a user wants to hear that an image is ready, or that there is none."""

from odoo import fields, models

NEWS = [
    ("none", "Nothing"),
    ("inbox", "A notification in Odoo"),
    ("email", "An email"),
    ("activity", "An activity"),
]
_FOR_GUESTS = ("none", "email")


class ResUsers(models.Model):
    """The choice, in each user's own preferences."""

    _inherit = "res.users"

    duragen_news = fields.Selection(
        NEWS,
        "When an image is ready",
        default="inbox",
        help="How you hear that your image is ready, or that there is none. Portal users get"
        " nothing or an email.",
    )

    @property
    def SELF_READABLE_FIELDS(self):  # noqa: N802  # Odoo's name
        """Everybody reads his own choice."""
        return [*super().SELF_READABLE_FIELDS, "duragen_news"]

    @property
    def SELF_WRITEABLE_FIELDS(self):  # noqa: N802  # Odoo's name
        """Everybody makes his own choice."""
        return [*super().SELF_WRITEABLE_FIELDS, "duragen_news"]

    def _duragen_news_choices(self):
        """What this user may choose: [(value, label)], in the language of the context."""
        self.ensure_one()
        found = self._fields["duragen_news"]._description_selection(self.env)
        return [each for each in found if not self.share or each[0] in _FOR_GUESTS]

    def _duragen_news(self):
        """What holds for this user; a portal user who has not chosen an email gets nothing."""
        chosen = self.sudo().duragen_news
        return chosen if chosen and (not self.sudo().share or chosen in _FOR_GUESTS) else "none"
