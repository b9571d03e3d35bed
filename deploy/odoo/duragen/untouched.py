"""What a new record begins with, whoever makes it."""

from odoo import models


def untouched(records, editable=frozenset()):
    """The stored fields' own defaults as explicit values, but for those in `editable`.

    Otherwise Odoo would take them from the caller's context (`default_state`) or from the defaults
    that every user may keep for himself, also for fields that the caller may not write.
    """
    return {
        name: field.convert_to_write(field.default(records), records) if field.default else False
        for name, field in records._fields.items()
        if field.store and not field.compute and name not in editable | set(models.MAGIC_COLUMNS)
    }
