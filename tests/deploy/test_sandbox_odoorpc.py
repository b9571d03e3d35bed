"""The sandbox Odoo through the real odoorpc."""

import asyncio
from typing import Any

import httpx
import odoorpc
import pytest

from deploy.local.sandbox.odoo.rpc import MODEL
from deploy.local.sandbox.serving import HOST
from deploy.local.stack.config import ODOO_DATABASE, ODOO_LOGIN
from deploy.local.stack.local_stack import LocalStack

Json = dict[str, Any]


@pytest.fixture
def client(sandboxes: LocalStack) -> Any:
    """odoorpc, connected but not logged in."""
    return odoorpc.ODOO(HOST, port=sandboxes.ports.odoo, timeout=10)


@pytest.fixture
def session(client: Any, sandboxes: LocalStack) -> Any:
    """odoorpc, logged in."""
    client.login(ODOO_DATABASE, ODOO_LOGIN, sandboxes.secrets.odoo_password)
    return client


def test_login(session: Any) -> None:
    """A login works as with Odoo 18."""
    assert session.version == "18.0"
    assert session.env.context["lang"] == "en_US"
    assert MODEL in session.env


def test_wrong_password(client: Any) -> None:
    """A wrong password is refused."""
    with pytest.raises(odoorpc.error.RPCError, match="Wrong login ID or password"):
        client.login(ODOO_DATABASE, ODOO_LOGIN, "wrong")


async def test_apply_event(session: Any, odoo: httpx.AsyncClient, completed: Json) -> None:
    """`apply_event` books the event once, as the callback does."""
    apply_event = session.env[MODEL].apply_event
    answers = [await asyncio.to_thread(apply_event, completed) for _ in range(2)]
    assert [answer["status"] for answer in answers] == ["applied", "repeated"]
    record = (await odoo.get(f"/_sandbox/requests/{completed['requestId']}")).json()
    assert [entry["kind"] for entry in record["ledger"]] == ["capture"]
    assert {delivery["channel"] for delivery in record["deliveries"]} == {"odoorpc"}


def test_password_is_checked_at_each_call(session: Any, completed: Json) -> None:
    """A password that was changed meanwhile is AccessDenied, in Odoo's own form."""
    session._password = "changed"  # odoorpc has no other way to it
    with pytest.raises(odoorpc.error.RPCError) as caught:
        session.env[MODEL].apply_event(completed)
    assert caught.value.info["data"]["name"] == "odoo.exceptions.AccessDenied"


def test_invalid_event(session: Any, completed: Json) -> None:
    """What breaks the contract is a ValidationError."""
    with pytest.raises(odoorpc.error.RPCError) as caught:
        session.env[MODEL].apply_event(completed | {"hashValue": ""})
    assert caught.value.info["data"]["name"] == "odoo.exceptions.ValidationError"


@pytest.mark.parametrize(
    ("model", "method", "name"),
    [("no.such.model", "search", "builtins.KeyError"), (MODEL, "x", "builtins.AttributeError")],
)
def test_unknown_names(session: Any, model: str, method: str, name: str) -> None:
    """Models and methods that do not exist are errors as Odoo has them."""
    with pytest.raises(odoorpc.error.RPCError) as caught:
        session.execute(model, method)
    assert caught.value.info["data"]["name"] == name


async def test_broken_odoo(session: Any, odoo: httpx.AsyncClient, completed: Json) -> None:
    """A fault meets the event and not the login."""
    apply_event = session.env[MODEL].apply_event
    await odoo.put("/_sandbox/faults", json={"jsonrpc_error": True, "times": 1})
    with pytest.raises(odoorpc.error.RPCError, match="sandbox fault"):
        await asyncio.to_thread(apply_event, completed)
    assert (await asyncio.to_thread(apply_event, completed))["status"] == "applied"
