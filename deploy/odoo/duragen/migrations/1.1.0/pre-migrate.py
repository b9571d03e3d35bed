"""Texts are no longer called `*_id`, which is the name of relations."""

from odoo.tools.sql import column_exists

RENAMED = {
    "duragen_generation_request": {
        "request_id": "request_uuid",
        "correlation_id": "correlation_uuid",
        "campaign_id": "campaign_uuid",
    },
    "duragen_webhook_endpoint": {"public_id": "webhook_code"},
    "duragen_webhook_delivery": {"message_id": "message_code"},
}


def migrate(cr, _version):
    """Rename the columns; the indexes on them stay. A column that has its name already is left."""
    for table, names in RENAMED.items():
        for old, new in names.items():
            if column_exists(cr, table, old):
                cr.execute(f'ALTER TABLE "{table}" RENAME COLUMN "{old}" TO "{new}"')
