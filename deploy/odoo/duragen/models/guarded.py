"""Odoo 18 computes a form's fields for whoever asks, also for those who may not open the form."""

from odoo import models


class Guarded(models.AbstractModel):
    """What all of the addon's models that have forms inherit from."""

    _name = "duragen.guarded"
    _description = "A Form for Those Who May Open It"

    def onchange(self, values, field_names, fields_spec):
        """Odoo's own, after the check that Odoo makes itself from 19 on. Raises AccessError."""
        self.check_access("write" if self else "create")
        return super().onchange(values, field_names, fields_spec)
