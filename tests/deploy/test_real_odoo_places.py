"""What a real Odoo is made of is made once, also after an accident."""

from pathlib import Path

import pytest

from deploy.local.real_odoo.places import OdooUnavailableError, made_once, room_below


def _writes(folder: Path) -> None:
    (folder / "piece").write_text("whole")


def test_made_once(tmp_path: Path) -> None:
    """What this recipe has made is not made again."""
    assert made_once(tmp_path / "it", "recipe", _writes)
    (tmp_path / "it" / "piece").write_text("in use")
    assert not made_once(tmp_path / "it", "recipe", _writes)
    assert (tmp_path / "it" / "piece").read_text() == "in use"


def test_made_again_for_another_recipe(tmp_path: Path) -> None:
    """Nothing is left of what an older recipe made."""
    made_once(tmp_path / "it", "old", _writes)
    (tmp_path / "it" / "more").touch()
    assert made_once(tmp_path / "it", "new", _writes)
    assert not (tmp_path / "it" / "more").exists()


def test_half_made(tmp_path: Path) -> None:
    """What an interrupted run left behind is not used."""

    def dies(folder: Path) -> None:
        (folder / "half").touch()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        made_once(tmp_path / "it", "recipe", dies)
    assert made_once(tmp_path / "it", "recipe", _writes)
    assert not (tmp_path / "it" / "half").exists()


def test_room_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder that is closed to PostgreSQL's user is replaced, always by the same one."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    closed = tmp_path / "closed"
    room = room_below(closed, lambda folder: folder != closed)
    assert room.parent == tmp_path
    assert room_below(closed, lambda folder: folder != closed) == room
    assert room_below(tmp_path / "open", lambda _: True) == tmp_path / "open"


def test_no_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When that one is closed too, the error says what to set."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    with pytest.raises(OdooUnavailableError, match="DURAGEN_ODOO19_HOME"):
        room_below(tmp_path / "closed", lambda _: False)
