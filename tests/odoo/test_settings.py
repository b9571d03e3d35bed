"""The settings page, and the table that it has for Duragen."""

from pathlib import Path

import pytest

from tests.odoo.lone import SECRET, TOKEN, Lone, RpcError
from workers.settings import Settings

SETTINGS = "res.config.settings"
STORAGE = '[storage]\nbucket = "images"\n'


def _read(block: str, folder: Path, patch: pytest.MonkeyPatch) -> Settings:
    file = folder / "duragen.toml"
    file.write_text(STORAGE + block)
    patch.setenv("DURAGEN_CONFIG", str(file))
    return Settings.read()


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
        before = {"callback_token": TOKEN, "signing_secret": SECRET}
        before |= {"previous_callback_token": False, "previous_signing_secret": False}
        for name, value in before.items():
            lone.admin("ir.config_parameter", "set_param", f"duragen.{name}", value)


def test_users_get_no_secrets(lone: Lone) -> None:
    """Neither the table nor a new one, nor the dialog."""
    for method in ("copy_block", "new_token", "new_signing_secret"):
        with pytest.raises(RpcError) as raised:
            lone.user(SETTINGS, f"action_duragen_{method}", [])
        assert raised.value.kind == "odoo.exceptions.AccessError"
    with pytest.raises(RpcError) as raised:
        lone.user("duragen.copy.settings", "create", {"shown": "signing_secret"})
    assert raised.value.kind == "odoo.exceptions.AccessError"
