"""Updating a database of version 1.0.0: texts were called `*_id` there."""

import re
import uuid
from collections.abc import Callable
from typing import Any

from deploy.local.real_odoo.site import OdooSite
from tests.deploy.addon import ADDON

RENAMED: dict[str, dict[str, str]] = {
    "duragen_generation_request": {
        "request_id": "request_uuid",
        "correlation_id": "correlation_uuid",
        "campaign_id": "campaign_uuid",
    },
    "duragen_webhook_endpoint": {"public_id": "webhook_code"},
    "duragen_webhook_delivery": {"message_id": "message_code"},
}
ROWS = (
    "INSERT INTO duragen_ai_model (name, model_uuid, resolutions, price)"
    " VALUES ('{{\"en_US\": \"M\"}}', '{model}', '1x1', 1);"
    "INSERT INTO duragen_generation_request"
    " (request_uuid, correlation_uuid, campaign_uuid, user_id, company_id, model_id, state,"
    " resolution, origin, prompt)"
    " SELECT '{request}', '{correlation}', '{campaign}', 2, 1, max(id), 'draft',"
    " '1x1', 'backend', 'a fox'"
    " FROM duragen_ai_model;"
    "INSERT INTO duragen_webhook_endpoint (webhook_code, user_id, company_id, payload, url)"
    " VALUES ('{endpoint}', 2, 1, 'full', 'https://example.com');"
    "INSERT INTO duragen_webhook_delivery"
    " (message_code, delivery_uuid, endpoint_id, request_id, event, state, happened_at)"
    " SELECT '{message}', '{delivery}', max(e.id), max(r.id), 'generation.completed', 'waiting',"
    " now()"
    " FROM duragen_webhook_endpoint e, duragen_generation_request r"
)
READ = (
    "SELECT r.request_uuid, r.correlation_uuid, r.campaign_uuid, r.prompt, e.webhook_code,"
    " d.message_code, d.request_id = r.id"
    " FROM duragen_generation_request r, duragen_webhook_endpoint e, duragen_webhook_delivery d"
)
INDEXES = "SELECT indexdef FROM pg_indexes WHERE tablename LIKE 'duragen%' ORDER BY indexname"
COLUMNS = (
    "SELECT table_name, column_name FROM information_schema.columns"
    " WHERE table_name LIKE 'duragen%' ORDER BY table_name, column_name"
)


def test_rows_indexes_and_values_survive(
    site: OdooSite, new_database: Callable[[str], str]
) -> None:
    """The columns are renamed, not made anew: nothing is lost, and nothing is left over."""
    database = new_database("migrated")

    def sql(text: str) -> str:
        return site.postgres.sql(database, text)

    names = ("model", "request", "correlation", "campaign", "endpoint", "message", "delivery")
    ids: dict[str, Any] = {name: str(uuid.uuid4()) for name in names}
    sql(ROWS.format(**ids))
    before = [sql(each) for each in (READ, INDEXES, COLUMNS)]
    for table, columns in RENAMED.items():
        for old, new in columns.items():
            sql(f"ALTER TABLE {table} RENAME COLUMN {new} TO {old}")
    version = sql("SELECT latest_version FROM ir_module_module WHERE name = 'duragen'")
    earlier = re.sub(r"\.1\.1\.0$", ".1.0.0", version)
    assert earlier != version
    sql(f"UPDATE ir_module_module SET latest_version = '{earlier}' WHERE name = 'duragen'")
    said = site.install(database, "duragen")
    assert [sql(each) for each in (READ, INDEXES, COLUMNS)] == before
    assert ids["request"] in before[0]
    assert not re.search(r" \d+ WARNING \S+ \S*duragen", said), said
    assert sql("SELECT latest_version FROM ir_module_module WHERE name = 'duragen'") == version


def test_the_script_knows_all_that_was_renamed() -> None:
    """This test's list is the script's."""
    script = (ADDON / "migrations/1.1.0/pre-migrate.py").read_text()
    for table, columns in RENAMED.items():
        for name in (table, *columns, *columns.values()):
            assert f'"{name}"' in script
