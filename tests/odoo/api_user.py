"""An API user of a real Odoo: a new colleague, with a key that he made in his preferences."""

import asyncio
from itertools import count
from typing import Self

import httpx

from deploy.local.real_odoo.beside import Beside
from deploy.local.real_odoo.configure import USER, api_key, browse
from tests.developers.world import Developer
from tests.odoo.desk import Desk
from tests.odoo.newcomers import admin_of, newcomer

_fresh = count(1)


class ApiUser(Developer):
    """Calls the gateway as `Developer` does; `desk` looks into Odoo, `session` is logged in."""

    desk: Desk
    session: httpx.Client

    @classmethod
    async def of(cls, beside: Beside, http: httpx.AsyncClient, credits_left: int = 5) -> Self:
        """Somebody who was not there before, with so many credits."""
        name = f"developer{next(_fresh)}"
        return await asyncio.to_thread(cls._of, beside, http, name, credits_left)

    @classmethod
    def _of(cls, beside: Beside, http: httpx.AsyncClient, name: str, credits_left: int) -> Self:
        user, who = newcomer(beside.odoo, name, *USER.groups)
        admin = admin_of(beside.odoo)
        [account] = admin.execute("duragen.account", "search_read", [("user_id", "=", user)]) or [
            {"balance": int(admin.env["ir.config_parameter"].get_param("duragen.initial_credits"))}
        ]
        wizard = {"user_id": user, "credits": credits_left - account["balance"]}
        made = admin.execute("duragen.grant.credits", "create", wizard)
        admin.execute("duragen.grant.credits", "action_grant", [made])
        session = browse(beside.odoo, who)
        developer = cls(beside.stack, http, str(user), api_key(session, who))
        developer.desk, developer.session = Desk(beside), session
        return developer

    async def balance(self) -> int:
        """Credits that are left."""
        [[balance]] = self.desk.sql(
            f"SELECT balance FROM duragen_account WHERE user_id = {self.user_id}"
        )
        return int(balance)

    def ledger(self, job_id: str) -> list[list[str]]:
        """Kind and effect of each of a job's entries, in their order."""
        return self.desk.sql(
            "SELECT entry.kind, entry.delta FROM duragen_credit_entry entry"
            " JOIN duragen_generation_request asked ON asked.id = entry.request_id"
            f" WHERE asked.request_uuid = '{job_id}' ORDER BY entry.id"
        )
