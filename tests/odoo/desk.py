"""An Odoo and its stack as a test of what breaks sees them: calls, rows, and what was paid."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from typing import Any

import httpx

from deploy.local.real_odoo.beside import Beside
from deploy.local.real_odoo.configure import ADMIN
from deploy.local.real_odoo.server import RealOdoo
from deploy.local.real_odoo.site import OdooFailedError
from deploy.local.sandbox.images.protocols import OPENAI_MODEL_ID
from tests.odoo.lone import REQUEST, Rpc, RpcError
from tests.odoo.people import PATIENCE_SECONDS

NOW = "date_trunc('second', now() AT TIME ZONE 'UTC')"
"""As Odoo writes it: a moment within this second would not have come yet for its 18th version."""
CAPTURED = [["reserve", "-1"], ["capture", "0"]]


class Desk:
    """An administrator of the Odoo under test, and a view into its database."""

    def __init__(self, beside: Beside) -> None:
        self.odoo, self.stack = beside
        self.admin = _admin(beside.odoo)

    def sql(self, text: str) -> list[list[str]]:
        """Rows of a query."""
        said = self.odoo.site.postgres.sql(self.odoo.database, text)
        return [line.split("|") for line in said.splitlines()]

    @contextmanager
    def set_up(self, **values: str) -> Iterator[None]:
        """Settings of the addon, as they were when the block has ended."""
        table = "ir.config_parameter"
        keys = {f"duragen.{name}": value for name, value in values.items()}
        before = {key: self.admin(table, "get_param", key) for key in keys}
        for key, value in keys.items():
            self.admin(table, "set_param", key, value)
        try:
            yield
        finally:
            for key, old in before.items():
                self.admin(table, "set_param", key, old)

    def saves_settings(self) -> None:
        """As the button of the page does."""
        page = self.admin("res.config.settings", "create", {})
        self.admin("res.config.settings", "execute", [page])

    @property
    def outcome_queue(self) -> str:
        """Where this Odoo listens at the broker."""
        [[uuid]] = self.sql("SELECT value FROM ir_config_parameter WHERE key = 'database.uuid'")
        return f"odoo.outcomes.{uuid}"

    def asks(self) -> dict[str, Any]:
        """A request that is started, or could not be.

        After a start that reached no server, Odoo leaves the next ones to the outbox for a while.
        """
        made = self.submits()
        if made["state"] == "requested":
            self.runs("cron_start")
        return made

    def submits(self) -> dict[str, Any]:
        """A submitted request's record."""
        found = self.admin(
            "duragen.ai.model", "search", [("model_uuid", "=", str(OPENAI_MODEL_ID))]
        )
        vals = {"prompt": "a red fox", "model_id": found[0], "resolution": "256x256"}
        made = self.admin(REQUEST, "submit_generation", vals)
        names = ["request_uuid", "correlation_uuid", "state"]
        [row] = self.admin(REQUEST, "read", made, names)
        record: dict[str, Any] = row
        return record

    def runs(self, cron: str) -> None:
        """One run of a cron, also when it is running just now."""
        [[number]] = self.sql(f"SELECT res_id FROM ir_model_data WHERE name = '{cron}'")

        def ran() -> bool:
            with suppress(RpcError):
                self.admin("ir.cron", "method_direct_trigger", [int(number)])
                return True
            return False

        until(ran)

    def outbox_takes(self, made: dict[str, Any]) -> None:
        """A run of the outbox that finds it due, whatever was tried before."""
        self.sql(
            f"UPDATE duragen_generation_request SET next_start_at = {NOW}"
            f" WHERE id = {made['id']} AND next_start_at IS NOT NULL"
        )
        self.runs("cron_start")
        assert self.state(made) != "requested"

    def outbox_passes_on(self, made: dict[str, Any]) -> None:
        """Runs of the outbox that find its cancellation due, until it has been passed on."""
        until(lambda: self._is_passed_on(made))

    def _is_passed_on(self, made: dict[str, Any]) -> bool:
        self.outbox_takes(made)
        where = f"id = {made['id']} AND next_start_at IS NULL"
        return bool(self.sql(f"SELECT 1 FROM duragen_generation_request WHERE {where}"))

    def state(self, made: dict[str, Any]) -> str:
        """Read in the database, where no server of Odoo need be there."""
        [[state]] = self.sql(
            f"SELECT state FROM duragen_generation_request WHERE id = {made['id']}"
        )
        return state

    def ended(
        self, made: dict[str, Any], state: str, help_on: Callable[[], None] | None = None
    ) -> None:
        """Wait for a state. `help_on` is called from time to time."""

        def there() -> bool:
            if self.state(made) == state:
                return True
            if help_on:
                help_on()
            return False

        until(there)

    def assert_made_once(self, made: dict[str, Any]) -> None:
        """One image that is the right one, one capture, one call that was paid for."""
        assert self.ledger(made) == CAPTURED
        rows = self.sql(
            f"SELECT sha256, has_data FROM duragen_generated_image WHERE request_id = {made['id']}"
        )
        assert rows == [[self.known(made)["image"]["sha256"], "t"]]
        assert self.paid(made) == 1

    def ledger(self, made: dict[str, Any]) -> list[list[str]]:
        """Kind and effect of each entry."""
        return self.sql(
            "SELECT kind, delta FROM duragen_credit_entry"
            f" WHERE request_id = {made['id']} ORDER BY id"
        )

    def known(self, made: dict[str, Any]) -> dict[str, Any]:
        """What the orchestrator says of it."""
        key = {"Authorization": f"Bearer {self.stack.secrets.api_key}"}
        url = f"{self.stack.gateway_url}/v1/generations/{made['request_uuid']}"
        found: dict[str, Any] = httpx.get(url, headers=key, trust_env=False).json()
        return found

    def stack_has(self, made: dict[str, Any], state: str) -> None:
        """Wait until the orchestrator says so."""
        until(lambda: self.known(made).get("state") == state)

    def paid(self, made: dict[str, Any]) -> int:
        """How many calls the image service was paid for."""
        paid: int = self.calls(made)["paid"]
        return paid

    def calls(self, made: dict[str, Any]) -> dict[str, Any]:
        """What the image service has seen of it."""
        params = {"correlation_id": made["correlation_uuid"]}
        url = f"{self.stack.images_url}/_sandbox/calls"
        found: dict[str, Any] = httpx.get(url, params=params, trust_env=False).json()
        return found

    @contextmanager
    def images_taking(self, seconds: float) -> Iterator[None]:
        """The image service is slow until the block ends."""
        url = f"{self.stack.images_url}/_sandbox/faults"
        before = httpx.get(url, trust_env=False).json()
        httpx.put(url, json={"latency_seconds": seconds}, trust_env=False).raise_for_status()
        try:
            yield
        finally:
            same = {"latency_seconds": before["latency_seconds"]}
            httpx.put(url, json=same, trust_env=False).raise_for_status()

    @contextmanager
    def held(self, made: dict[str, Any]) -> Iterator[None]:
        """No other session writes the request's row until the block ends."""
        mark = f"held {made['id']}"
        text = (
            f"BEGIN; SELECT 1 FROM duragen_generation_request WHERE id = {made['id']} FOR UPDATE;"
            f" SELECT pg_sleep(120) /* {mark} */; COMMIT"
        )

        def hold() -> None:
            with suppress(OdooFailedError):  # it is ended below
                self.odoo.site.postgres.sql(self.odoo.database, text)

        holding = threading.Thread(target=hold)
        holding.start()
        mine = f"query LIKE '%pg_sleep%{mark} %' AND pid <> pg_backend_pid()"
        until(lambda: self.sql(f"SELECT 1 FROM pg_stat_activity WHERE {mine} AND state = 'active'"))
        try:
            yield
        finally:
            self.sql(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {mine}")
            holding.join()

    def someone_waits_for_a_row(self) -> bool:
        """Whether a server of this Odoo stands at a lock."""
        where = f"datname = '{self.odoo.database}' AND wait_event_type = 'Lock'"
        return bool(self.sql(f"SELECT 1 FROM pg_stat_activity WHERE {where}"))


@cache
def _admin(odoo: RealOdoo) -> Rpc:
    return Rpc(odoo, ADMIN)


def until(so: Callable[[], Any]) -> None:
    """Ask until it is so."""
    give_up = time.monotonic() + PATIENCE_SECONDS
    while not so():
        assert time.monotonic() < give_up, "it never was so"
        time.sleep(0.1)


@contextmanager
def hole() -> Iterator[tuple[str, threading.Event]]:
    """A port that takes connections and never says a word; the event is set at the first."""
    called, kept = threading.Event(), []
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def accept() -> None:
            with suppress(OSError):
                while True:
                    kept.append(listening.accept()[0])
                    called.set()

        threading.Thread(target=accept, daemon=True).start()
        yield f"127.0.0.1:{listening.getsockname()[1]}", called
        listening.shutdown(socket.SHUT_RDWR)
    for each in kept:
        each.close()
