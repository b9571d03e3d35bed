"""The module in docs/odoo-modules.md, taken from the page, installed and run."""

import base64
import io
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PIL import Image

from deploy.local.real_odoo.places import OUR_ADDONS
from deploy.local.real_odoo.server import RealOdoo, Serving
from deploy.local.real_odoo.site import OdooSite
from tests.odoo.desk import NOW
from tests.odoo.lone import REQUEST, Lone, Rpc, RpcError, completed, failed

PAGE = Path(__file__).parents[2] / "docs" / "odoo-modules.md"
FILE = re.compile(r"^`(product_pictures/[\w./]+)`\n\n```\w+\n(.*?)^```", re.MULTILINE | re.DOTALL)
SHELVES = re.compile(r"^```python\n(class GenerationRequest.*?)^```", re.MULTILINE | re.DOTALL)
PRODUCT = "product.template"
MORE = """
    place_id = fields.Many2one("res.partner")
    tag_ids = fields.Many2many("res.partner")

    def _extra_values(self):
        return super()._extra_values() | {"place_id", "tag_ids"}


class ProductTemplate(models.Model):
    _inherit = "product.template"

    def action_wish(self):
        self.sudo()._duragen_generate()
"""


@pytest.fixture(scope="module")
def addons(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the page's module, and one with fields of its own on the request."""
    folder = tmp_path_factory.mktemp("addons")
    for parent in folder.parents[:3]:
        parent.chmod(0o755)  # the server is another user
    folder.chmod(0o755)
    page = PAGE.read_text()
    [fields] = SHELVES.findall(page)
    files = dict(FILE.findall(page))
    files["shelves/__manifest__.py"] = repr({"name": "Shelves", "depends": ["product_pictures"]})
    files["shelves/__init__.py"] = f"from odoo import fields, models\n\n\n{fields}{MORE}"
    for name, text in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    return folder


@pytest.fixture(scope="module")
def shop(site: OdooSite, new_database: Callable[[str], str], addons: Path) -> Iterator[Lone]:
    """An Odoo with both modules."""
    everything = (OUR_ADDONS, addons)
    database = new_database("shop")
    site.install(database, "product_pictures", "shelves", addons=everything)
    how = Serving(cron_threads=0, addons=everything)
    with Lone.on(RealOdoo(site, database, print, how)) as lone:
        group = lone.admin("ir.model.data", "search_read", [("name", "=", "group_product_manager")])
        groups = (
            "group_ids" if lone.admin("res.users", "fields_get", ["group_ids"]) else "groups_id"
        )
        for who in (lone.user,):
            lone.admin("res.users", "write", [who.uid], {groups: [(4, group[0]["res_id"])]})
        yield lone


def picture() -> bytes:
    """A small PNG."""
    made = io.BytesIO()
    Image.new("RGB", (8, 9), "teal").save(made, "PNG")
    return made.getvalue()


def product(shop: Lone, name: str = "A teapot") -> int:
    """A new product of the user."""
    made = shop.user(PRODUCT, "create", [{"name": name}])
    return int(made[0])


def asks(shop: Lone, product_id: int, who: Rpc | None = None) -> int:
    """The request that the product's button makes."""
    (who or shop.user)(PRODUCT, "action_duragen_picture", [product_id])
    domain = [("res_model", "=", PRODUCT), ("res_id", "=", product_id)]
    found: list[int] = shop.admin(REQUEST, "search", domain, order="id desc", limit=1)
    return found[0]


def delivers(shop: Lone, request: int, data: bytes | None = None) -> None:
    """The image, or a failure when there is none; and what follows it."""
    record = shop.reads(request)
    event = failed(record) if data is None else completed(record, data)
    assert shop.delivers(event).status_code == 200
    runs_cron(shop)


def chatter(shop: Lone, product_id: int) -> list[dict[str, object]]:
    """Notes on the product with their attachments."""
    domain = [("model", "=", PRODUCT), ("res_id", "=", product_id), ("body", "ilike", "image")]
    found: list[dict[str, object]] = shop.admin(
        "mail.message", "search_read", domain, ["body", "attachment_ids"], order="id"
    )
    return found


def waits(shop: Lone, request: int) -> dict[str, object]:
    """What is noted for managers."""
    names = ["hook_waits", "follow_attempts", "follow_error"]
    [row] = shop.admin(REQUEST, "read", [request], names)
    return {name: row[name] for name in names}


def passes_on(shop: Lone) -> None:
    """The next run of the cron, without the pause."""
    shop.sql(
        f"UPDATE duragen_generation_request SET next_follow_at = {NOW}"
        " WHERE next_follow_at IS NOT NULL"
    )
    runs_cron(shop)


def runs_cron(shop: Lone) -> None:
    """It is due at once after each outcome; this Odoo runs none by itself."""
    [cron] = shop.admin("ir.model.data", "search_read", [("name", "=", "cron_follow")], ["res_id"])
    shop.admin("ir.cron", "method_direct_trigger", [cron["res_id"]])


def test_a_product_gets_its_picture(shop: Lone) -> None:
    """From the button to `image_1920`, with a note in the chatter; it is charged as any other."""
    teapot = product(shop)
    request = asks(shop, teapot)
    [row] = shop.admin(REQUEST, "read", [request], ["prompt", "user_id", "record_name", "state"])
    assert row["prompt"] == "A teapot, a product photo on a white background"
    assert (row["record_name"], row["user_id"][0]) == ("A teapot", shop.user.uid)
    delivers(shop, request, picture())
    [kept] = shop.user(PRODUCT, "read", [teapot], ["image_1920"])
    assert base64.b64decode(kept["image_1920"])[:8] == picture()[:8]
    [note] = chatter(shop, teapot)
    assert note["attachment_ids"]
    assert shop.reads(request)["charged"]
    assert waits(shop, request)["hook_waits"] is False


def test_each_outcome_is_passed_on_once(shop: Lone) -> None:
    """A failure, an image after it, and both again."""
    teapot = product(shop)
    request = asks(shop, teapot)
    for _ in range(2):
        delivers(shop, request)
    [note] = chatter(shop, teapot)
    assert "There is no image" in str(note["body"])
    for _ in range(2):
        delivers(shop, request, picture())
    passes_on(shop)
    assert len(chatter(shop, teapot)) == 2


def test_a_fault_of_the_module_loses_nothing(shop: Lone) -> None:
    """The outcome stands; the hook is repeated until it works, and managers see why not."""
    teapot = product(shop)
    request = asks(shop, teapot)
    rule = f"CHECK (id != {teapot} OR write_date < '2020-01-01') NOT VALID"
    shop.sql(f"ALTER TABLE product_template ADD CONSTRAINT in_the_way {rule}")
    delivers(shop, request, picture())
    passes_on(shop)
    noted = waits(shop, request)
    assert (shop.reads(request)["state"], noted["hook_waits"]) == ("completed", True)
    assert noted["follow_attempts"] == 2
    assert "in_the_way" in str(noted["follow_error"])
    assert chatter(shop, teapot) == [], "what the hook wrote is undone as a whole"
    shop.sql("ALTER TABLE product_template DROP CONSTRAINT in_the_way")
    passes_on(shop)
    assert len(chatter(shop, teapot)) == 1
    assert waits(shop, request) == {
        "hook_waits": False,
        "follow_attempts": 0,
        "follow_error": False,
    }


def test_a_record_that_is_gone(shop: Lone) -> None:
    """The image is there all the same, and nothing waits for the record."""
    teapot = product(shop)
    request = asks(shop, teapot)
    shop.user(PRODUCT, "unlink", [teapot])
    delivers(shop, request, picture())
    assert shop.reads(request)["image_ids"]
    assert waits(shop, request)["hook_waits"] is False


def test_whoever_may_not_write_the_record(shop: Lone) -> None:
    """Neither asks for an image for it, nor writes it by one that was asked for before."""
    other = shop.someone(10)
    group = shop.admin("ir.model.data", "search_read", [("name", "=", "group_product_manager")])
    groups = "group_ids" if shop.admin("res.users", "fields_get", ["group_ids"]) else "groups_id"
    teapot = product(shop)
    request = asks(shop, teapot, other)
    shop.admin("res.users", "write", [other.uid], {groups: [(3, group[0]["res_id"])]})
    delivers(shop, request, picture())
    [kept] = shop.user(PRODUCT, "read", [teapot], ["image_1920"])
    assert not kept["image_1920"]
    assert waits(shop, request)["hook_waits"] is False
    with pytest.raises(RpcError) as raised:
        other(PRODUCT, "action_duragen_picture", [teapot])
    assert raised.value.kind.endswith("AccessError")


def test_a_module_may_ask_in_sudo(shop: Lone) -> None:
    """As for a shop's visitor: he may not write the product, and pays for its picture."""
    visitor = shop.someone(10)
    group = shop.admin("ir.model.data", "search_read", [("name", "=", "group_product_manager")])
    groups = "group_ids" if shop.admin("res.users", "fields_get", ["group_ids"]) else "groups_id"
    shop.admin("res.users", "write", [visitor.uid], {groups: [(3, group[0]["res_id"])]})
    teapot = product(shop)
    before = shop.balance(visitor)
    visitor(PRODUCT, "action_wish", [teapot])
    [request] = shop.admin(REQUEST, "search", [("res_id", "=", teapot)])
    delivers(shop, request, picture())
    [kept] = shop.user(PRODUCT, "read", [teapot], ["image_1920"])
    assert kept["image_1920"]
    assert shop.balance(visitor) < before


def test_trying_again_is_for_the_same_record(shop: Lone) -> None:
    """And nobody chooses the record from outside, at a submission, a draft or a copy."""
    teapot = product(shop)
    request = asks(shop, teapot)
    delivers(shop, request)
    again = shop.user(REQUEST, "action_retry", [request])["res_id"]
    delivers(shop, again, picture())
    [kept] = shop.user(PRODUCT, "read", [teapot], ["image_1920"])
    assert kept["image_1920"]
    vals = {"prompt": "x", "model_id": shop.model, "res_model": PRODUCT, "res_id": teapot}
    for method, argument in (("submit_generation", vals), ("create", [vals])):
        with pytest.raises(RpcError):
            shop.user(REQUEST, method, argument)
    [copied] = shop.user(REQUEST, "copy", [request])
    [row] = shop.admin(REQUEST, "read", [copied], ["res_id"])
    assert not row["res_id"]


def test_erasing_takes_the_note_along(shop: Lone) -> None:
    """The product keeps its picture: that is its own."""
    teapot = product(shop)
    request = asks(shop, teapot)
    delivers(shop, request, picture())
    [note] = chatter(shop, teapot)
    shop.user(REQUEST, "action_erase_words", [request])
    assert chatter(shop, teapot) == []
    assert not shop.admin("ir.attachment", "search", [("id", "in", note["attachment_ids"])])
    [kept] = shop.user(PRODUCT, "read", [teapot], ["image_1920"])
    assert kept["image_1920"]


def test_fields_of_another_module(shop: Lone) -> None:
    """They are written by users on drafts, and at a submission; what does not fit is refused."""
    vals = {"prompt": "a fox", "model_id": shop.model, "resolution": "256x256"}
    [draft] = shop.user(REQUEST, "create", [{**vals, "shelf": "A"}])
    shop.user(REQUEST, "write", [draft], {"shelf": "B"})
    with pytest.raises(RpcError) as raised:
        shop.user(REQUEST, "write", [draft], {"place_id": 1})
    assert raised.value.kind.endswith("AccessError")
    [made] = shop.user(REQUEST, "submit_generation", {**vals, "shelf": "C", "place_id": 1})
    [row] = shop.admin(REQUEST, "read", [made], ["shelf", "place_id"])
    assert (row["shelf"], row["place_id"][0]) == ("C", 1)
    wrong = ({"shelf": 7}, {"shelf": ["x"]}, {"place_id": 2**40}, {"place_id": "1"})
    for values in (*wrong, {"tag_ids": [[0, 0, {"name": "made in sudo"}]]}, {"unheard_of": 1}):
        with pytest.raises(RpcError) as raised:
            shop.user(REQUEST, "submit_generation", {**vals, **values})
        assert raised.value.kind.endswith("ValidationError"), json.dumps(values)
