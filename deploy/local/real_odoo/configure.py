"""Sets a real Odoo up for a stack, over its own API: settings, models, people."""

from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from http.client import HTTPException
from typing import Any
from urllib.parse import urlsplit
from urllib.request import ProxyHandler, build_opener
from uuid import UUID

import httpx
import odoorpc

from deploy.local.real_odoo.server import RealOdoo
from deploy.local.sandbox.images.protocols import FLUX_MODEL_ID, OPENAI_MODEL_ID
from deploy.local.stack.config import BUCKET, ODOO_LOGIN, TWO_ROUTES_MODEL_ID, Secrets
from deploy.local.stack.local_stack import LocalStack

CREDITS = 1_000
"""What everybody is granted at the first request."""
_PATIENCE_SECONDS = 60


@dataclass(frozen=True)
class Login:
    """Somebody who can log in. The passwords are as easy as their names: it is all on loopback."""

    login: str
    password: str
    groups: tuple[str, ...] = ()
    """XML ids."""


ADMIN = Login("admin", "admin")
MANAGER = Login("manager", "manager", ("base.group_user", "duragen.group_manager"))
USER = Login("user", "user", ("base.group_user", "duragen.group_user"))
PORTAL = Login("portal", "portal", ("base.group_portal",))
PEOPLE = (ADMIN, MANAGER, USER, PORTAL)

MODELS: Mapping[UUID, tuple[str, str]] = {
    FLUX_MODEL_ID: ("FLUX.2 pro", "1024x1024\n1024x768\n768x1024\n256x256"),
    OPENAI_MODEL_ID: ("GPT Image 2.5 flare", "1024x1024\n1536x1024\n1024x1536\n256x256"),
    TWO_ROUTES_MODEL_ID: ("flare, else FLUX.2", "1024x1024\n256x256"),
}
"""The stack's models, as the addon's catalogue has them."""


def technical_user(known: Secrets) -> Login:
    """The user of a worker whose delivery is `odoorpc`."""
    groups = ("base.group_user", "duragen.group_gateway")
    return Login(ODOO_LOGIN, known.odoo_password, groups)


def connect(odoo: RealOdoo, who: Login = ADMIN) -> Any:
    """A session of odoorpc's; it waits until the database is loaded."""
    url = urlsplit(odoo.url)
    session = odoorpc.ODOO(
        url.hostname or "",
        port=url.port or 0,
        timeout=_PATIENCE_SECONDS,
        opener=build_opener(ProxyHandler({})),  # no proxy between two processes of one machine
    )
    with suppress(HTTPException):  # the first call may find a worker that is being replaced
        session.login(odoo.database, who.login, who.password)
        return session
    session.login(odoo.database, who.login, who.password)
    return session


def browse(odoo: RealOdoo, who: Login) -> httpx.Client:
    """An HTTP client with the cookie of somebody who has logged in."""
    client = httpx.Client(base_url=odoo.url, trust_env=False, timeout=_PATIENCE_SECONDS)
    params = {"db": odoo.database, "login": who.login, "password": who.password}
    answer = client.post("/web/session/authenticate", json={"params": params})
    if "error" in answer.raise_for_status().json():
        raise ValueError(f"Odoo does not let {who.login} in: see {odoo.log}")
    return client


def api_key(session: httpx.Client, who: Login) -> str:
    """A new key of an internal user's, made as the dialog of the preferences makes one."""
    table = "res.users.apikeys.description"
    made = _called(session, table, "create", {"name": "a program of mine"})
    check = _called(session, table, "make_key", [made])
    proof = {"password": who.password}
    # Odoo 18 reads it from the record, 19 from the context.
    _called(session, check["res_model"], "write", [check["res_id"]], proof)
    shown = _called(session, check["res_model"], "run_check", [check["res_id"]], context=proof)
    key: str = shown["context"]["default_key"]
    return key


def _called(session: httpx.Client, model: str, method: str, *args: Any, **kwargs: Any) -> Any:
    params = {"model": model, "method": method, "args": args, "kwargs": kwargs}
    answer = session.post(f"/web/dataset/call_kw/{model}/{method}", json={"params": params})
    return answer.raise_for_status().json()["result"]


def configure(
    odoo: RealOdoo, stack: LocalStack, *, start_path: str = "temporal", image_storage: str = "odoo"
) -> None:
    """Makes the addon of `odoo` use `stack`; done again it changes what is different."""
    session = connect(odoo)
    chosen = {"duragen.start_path": start_path, "duragen.image_storage": image_storage}
    set_parameters(session, parameters(odoo, stack) | chosen)
    _models(session)
    _people(session, (MANAGER, USER, PORTAL, technical_user(stack.secrets)))


def parameters(odoo: RealOdoo, stack: LocalStack) -> dict[str, str]:
    """The addon's settings for `stack`, but for the two that are a matter of choice."""
    known = stack.secrets
    return {
        "web.base.url": odoo.url,
        "web.base.url.freeze": "True",  # whoever logs in under another name does not change it
        "duragen.temporal_address": stack.temporal_address,
        "duragen.temporal_namespace": "default",
        "duragen.temporal_ui_url": stack.ui_url,
        "duragen.gateway_url": stack.gateway_url,
        "duragen.gateway_key": known.api_key,
        "duragen.callback_base_url": odoo.url,
        "duragen.callback_token": known.odoo_token,
        "duragen.signing_secret": known.odoo_signing_secret,
        "duragen.s3_bucket": BUCKET,
        "duragen.s3_endpoint_url": stack.s3_url,
        "duragen.s3_access_key_id": known.s3_access_key,
        "duragen.s3_secret_access_key": known.s3_secret_key,
        "duragen.initial_credits": str(CREDITS),
    }


def set_parameters(session: Any, values: Mapping[str, str]) -> None:
    """Writes system parameters, those that are new in one call: each empties Odoo's caches."""
    table = session.env["ir.config_parameter"]
    rows = table.search_read([("key", "in", list(values))], ["key", "value"])
    known = {row["key"]: (row["id"], row["value"]) for row in rows}
    if fresh := [{"key": k, "value": v} for k, v in values.items() if k not in known]:
        table.create(fresh)
    for key, (record, value) in known.items():
        if value != values[key]:
            table.write([record], {"value": values[key]})


def _models(session: Any) -> None:
    table = session.env["duragen.ai.model"]
    known = {row["model_uuid"] for row in table.search_read([], ["model_uuid"])}
    table.create(
        [
            {"name": name, "model_uuid": str(model_id), "resolutions": resolutions, "price": 1}
            for model_id, (name, resolutions) in MODELS.items()
            if str(model_id) not in known
        ]
    )


def groups_field(session: Any) -> str:
    """The field of a user's groups, which has another name from Odoo 19 on."""
    fields = session.env["res.users"].fields_get(["group_ids", "groups_id"])
    return "group_ids" if "group_ids" in fields else "groups_id"


def _people(session: Any, people: Collection[Login]) -> None:
    table = session.env["res.users"]
    logins = [who.login for who in people]
    rows = table.search_read([("login", "in", logins)], ["login"])
    known = {row["login"]: row["id"] for row in rows}
    fresh = [
        {
            "name": who.login.capitalize(),
            "login": who.login,
            "password": who.password,
            groups_field(session): [(6, 0, [session.env.ref(group).id for group in who.groups])],
        }
        for who in people
        if who.login not in known
    ]
    if fresh:
        # No mail with a link to choose a password, and no address to send one to.
        quiet = {"context": {"no_reset_password": True}}
        session.execute_kw("res.users", "create", [fresh], quiet)
    for who in people:
        if who.login in known and who.login == ODOO_LOGIN:
            table.write([known[who.login]], {"password": who.password})  # another stack's is new
