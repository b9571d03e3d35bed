"""Fields of other modules: how they let users write them, and what may be given for them."""

import math

from odoo import api, fields, models
from odoo.exceptions import AccessError, ValidationError

from .generation_request import EDITABLE
from .generation_submission import SUBMITTED


class GenerationExtras(models.Model):
    """What another module extends; its names then count everywhere that ours do."""

    _inherit = "duragen.generation.request"

    @api.model
    def _editable_fields(self):
        """What users write on a draft, and submit; the addon itself writes everything else.

        A module adds its own: `return super()._editable_fields() | {"shelf"}`.
        """
        return EDITABLE

    @api.model
    def _extra_values(self):
        """What `submit_generation` takes as well, and no user writes on a draft; as above."""
        return SUBMITTED

    @api.model
    def _clean_extra(self, name, value):
        """The value for another module's field. Raises ValidationError for what does not fit.

        It comes from outside and is written in sudo. A module whose field is of another kind says
        here what it takes.
        """
        field = self._fields[name]
        if value is None or value is False:
            return False
        check = getattr(self, f"_clean_{field.type}", None)
        if check is None:
            raise ValidationError(self.env._("%s: cannot be given here", name))
        return check(field, value)

    def _clean_char(self, field, value):
        if not isinstance(value, str):
            raise ValidationError(self.env._("%s: must be a text", field.name))
        return value.replace("\0", "").encode("utf-8", "replace").decode() or False

    _clean_text = _clean_char

    def _clean_float(self, field, value):
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not number or not abs(value) < 2**31 or math.isnan(value):
            raise ValidationError(self.env._("%s: must be a number", field.name))
        return value

    _clean_monetary = _clean_float

    def _clean_integer(self, field, value):
        if self._clean_float(field, value) != int(value):
            raise ValidationError(self.env._("%s: must be a whole number", field.name))
        return int(value)

    def _clean_boolean(self, field, value):
        if value is not True:  # False was taken before
            raise ValidationError(self.env._("%s: must be true or false", field.name))
        return value

    def _clean_selection(self, field, value):
        if not isinstance(value, str) or value not in field.get_values(self.env):
            raise ValidationError(self.env._("%s: is none of the choices", field.name))
        return value

    def _clean_date(self, field, value):
        try:
            return fields.Date.to_date(value)
        except (TypeError, ValueError):
            raise ValidationError(self.env._("%s: must be a day", field.name)) from None

    def _clean_datetime(self, field, value):
        return self._moment(field.name, value)

    def _clean_many2one(self, field, value):
        """A record that the caller may read."""
        whole = isinstance(value, int) and not isinstance(value, bool) and 0 < value < 2**31
        found = self.env[field.comodel_name].browse(value if whole else []).exists()
        try:
            found.check_access("read")
        except AccessError:
            found = found.browse()
        if not found:
            raise ValidationError(self.env._("%s: there is no such record", field.name))
        return found.id
