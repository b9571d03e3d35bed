"""The settings page, and the table that it has for Duragen."""

import re
from pathlib import Path

import pytest
from playwright.sync_api import expect

from deploy.local.real_odoo.configure import ADMIN
from tests.odoo.browser import PATIENCE_MS, chromium, is_logged_in
from tests.odoo.lone import SECRET, TOKEN, Lone, RpcError
from workers.settings import Settings

SETTINGS = "res.config.settings"
PARAMETERS, OF = "ir.config_parameter", "duragen."
STORAGE = '[storage]\nbucket = "images"\n'


def _read(block: str, folder: Path, patch: pytest.MonkeyPatch) -> Settings:
    file = folder / "duragen.toml"
    file.write_text(STORAGE + block)
    patch.setenv("DURAGEN_CONFIG", str(file))
    return Settings.read()


def _as_before(lone: Lone) -> None:
    before = {"callback_token": TOKEN, "signing_secret": SECRET}
    before["gateway_key"] = False
    before |= {"previous_callback_token": False, "previous_signing_secret": False}
    for name, value in before.items():
        lone.admin(PARAMETERS, "set_param", OF + name, value)


def test_a_worker_reads_the_table(
    lone: Lone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pasted below the storage, it has all that callbacks need; also with new secrets."""
    page = lone.admin(SETTINGS, "create", {})
    opened = lone.admin(SETTINGS, "action_duragen_copy_block", [page])
    [shown] = lone.admin(opened["res_model"], "read", [opened["res_id"]], ["block", "secret"])
    [odoo] = _read(shown["block"], tmp_path, monkeypatch).odoo
    assert (odoo.origin, odoo.tokens, odoo.signing_secrets) == (lone.odoo.url, (TOKEN,), (SECRET,))
    assert not shown["secret"]
    made = ("action_duragen_new_token", "action_duragen_new_signing_secret")
    try:
        for method in made:
            opened = lone.admin(SETTINGS, method, [page])
        [shown] = lone.admin(opened["res_model"], "read", [opened["res_id"]], ["block", "secret"])
        [odoo] = _read(shown["block"], tmp_path, monkeypatch).odoo
        assert odoo.signing_secrets == (shown["secret"], SECRET)
        assert odoo.tokens[1:] == (TOKEN,)
    finally:
        _as_before(lone)


@pytest.mark.timeout(900)  # the first page compiles Odoo's assets of the backend
def test_an_administrator_makes_a_secret_and_copies_the_table(lone: Lone) -> None:
    """Two presses; what is on the clipboard is what is saved, also when the page is saved then."""
    lone.admin(PARAMETERS, "set_param", f"{OF}gateway_key", "dk_one")  # the page demands it
    try:
        with chromium() as browser:
            context = browser.new_context(locale="en-US")
            context.grant_permissions(["clipboard-read", "clipboard-write"])
            is_logged_in(context, lone.odoo, ADMIN)
            page = context.new_page()
            page.set_default_timeout(PATIENCE_MS)
            page.goto(f"{lone.odoo.url}/odoo/action-duragen.res_config_settings_action")
            page.get_by_role("button", name="Generate a Signing Secret").click()
            dialog = page.get_by_role("dialog")
            expect(dialog.locator("[name=secret]")).to_contain_text("whsec_")
            # An Odoo 18 of April 2025 leaves our words out: it says "Copy".
            dialog.locator("[name=block] button").filter(has_text="Copy").click()
            copied = page.evaluate("navigator.clipboard.readText()")
            dialog.get_by_role("button", name="Close", exact=True).last.click()
            expect(dialog).to_have_count(0)
            page.locator("[name=duragen_gateway_key] input").fill("dk_another")
            with page.expect_response(re.compile("/execute")):
                page.get_by_role("button", name="Save").first.click()
        [row] = lone.admin(PARAMETERS, "search_read", [("key", "=", f"{OF}signing_secret")])
        assert copied.startswith(f'[[odoo]]\norigin = "{lone.odoo.url}"')
        assert f'signing_secret = "{row["value"]}"' in copied
        assert f'previous_signing_secret = "{SECRET}"' in copied
    finally:
        _as_before(lone)


def test_users_get_no_secrets(lone: Lone) -> None:
    """Neither the table nor a new one, nor the dialog."""
    for method in ("copy_block", "new_token", "new_signing_secret"):
        with pytest.raises(RpcError) as raised:
            lone.user(SETTINGS, f"action_duragen_{method}", [])
        assert raised.value.kind == "odoo.exceptions.AccessError"
    with pytest.raises(RpcError) as raised:
        lone.user("duragen.copy.settings", "create", {"shown": "signing_secret"})
    assert raised.value.kind == "odoo.exceptions.AccessError"
