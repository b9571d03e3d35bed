"""Keys of the settings: several owners share one gateway, and no Odoo."""

import pytest
from pydantic import ValidationError

from starter.gateway.settings import GatewayKey, GatewayProcess
from tests.starter.entry_points import gateway_key

ACMES, OTHERS = "https://odoo.acme.example", "https://odoo.other.example"


def key(name: str, *callbacks: str, owner: str | None = None) -> GatewayKey:
    """A key of its own."""
    return gateway_key(name, f"key-of-{name}", callbacks=callbacks, owner=owner)


def refusal(*keys: GatewayKey) -> str:
    """What is said of these keys at the start."""
    with pytest.raises(ValidationError) as caught:
        GatewayProcess(keys=keys)
    [fault] = caught.value.errors()
    assert fault["loc"] == ("keys",)
    return str(fault["msg"])


@pytest.mark.parametrize(
    "second", [key("other", OTHERS), key("operator", owner="")], ids=["owner", "operator"]
)
def test_one_of_several_owners_says_where_its_outcomes_go(second: GatewayKey) -> None:
    """Without `callbacks` it could name an Odoo that is another owner's."""
    said = refusal(key("acme"), second)
    assert "'acme' needs callbacks" in said
    assert 'callbacks = ["https://odoo.example.com"]' in said


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (ACMES, ACMES),
        (ACMES, f"{ACMES}/duragen/v1/callback"),
        (f"{ACMES}/duragen/v1/callback/", "https://ODOO.acme.example:443"),
        (f"{ACMES}/duragen", f"{ACMES}/duragen/v1"),
    ],
    ids=["same", "below", "spelt otherwise", "longer"],
)
@pytest.mark.parametrize("owner", ["other", ""], ids=["owner", "operator"])
def test_two_owners_share_no_odoo(one: str, other: str, owner: str) -> None:
    """Whose outcome it is could not be known there."""
    said = refusal(key("acme", OTHERS, one), key("second", other, owner=owner))
    assert "'acme'" in said
    assert "'second'" in said
    assert "odoo.acme.example" in said
    refusal(key("second", other, owner=owner), key("acme", OTHERS, one))


@pytest.mark.parametrize(
    "keys",
    [
        (key("acme"),),
        (key("acme"), key("acme-2", owner="acme")),
        (key("acme", ACMES), key("acme-2", f"{ACMES}/duragen", owner="acme")),
        (key("acme", ACMES), key("other", OTHERS), key("operator", owner="")),
        (key("acme", f"{ACMES}/a"), key("other", f"{ACMES}/ab"), key("third", f"{ACMES}:8443")),
    ],
    ids=["one", "a rotation", "a narrower one", "two tenants and operators", "other places"],
)
def test_what_is_apart_is_taken(keys: tuple[GatewayKey, ...]) -> None:
    """Keys of one owner may overlap, operators' need not be bound."""
    assert GatewayProcess(keys=keys).keys == keys


def test_a_key_is_one_callers() -> None:
    """Two with one hash would be one key: the first one's name, owner and limits."""
    same = gateway_key("second", "key-of-first", callbacks=(OTHERS,))
    said = refusal(key("first", ACMES), same)
    assert "'first' and 'second' have the same sha256" in said
    assert "duragen gateway --new-key" in said
    assert same.sha256 not in said


def test_an_owner_is_no_name_of_ours() -> None:
    """`generations/check-*` in the store is what the worker may delete."""
    with pytest.raises(ValidationError, match="check-"):
        key("check-in")
