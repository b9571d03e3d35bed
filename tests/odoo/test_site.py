"""What becomes of a stack's databases when their home goes, or another version comes."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.local.real_odoo.places import OdooUnavailableError, Places
from deploy.local.real_odoo.site import OdooSite


@pytest.fixture
def room(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder for temporary files that PostgreSQL's user can enter."""
    room = Path(tempfile.mkdtemp(prefix="duragen-"))
    room.chmod(0o755)
    monkeypatch.setenv("TMPDIR", str(room))
    yield room
    shutil.rmtree(room)


@pytest.fixture
def places(room: Path) -> Places:
    """A cache folder with a seed; no server is started from it here."""
    places = Places(room / "cache")
    (places.seed / "postgres").mkdir(parents=True)
    (places.seed / "data").mkdir()
    (places.seed / "password").write_text("secret")
    (places.seed / ".made").write_text("first recipe")
    places.addons.mkdir(parents=True)
    (places.packages / "odoo/release.py").write_text("version_info = (19, 0, 0, FINAL, 0, '')")
    return places


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home that PostgreSQL's user cannot enter where root runs this, as a stack's is."""
    return tmp_path / "home"


def _mark(site: OdooSite) -> Path:
    """What says how the site's databases were made; Odoo's files stand beside it."""
    return Path(str(site.options((), {})["data_dir"])).with_name(".made")


def test_kept(places: Places, home: Path) -> None:
    """A stack that starts again finds the databases that it had, also when a library is newer."""
    ours = _mark(OdooSite.of(places, home, print)).with_name("ours")
    ours.touch()
    (places.seed / ".made").write_text("second recipe")
    OdooSite.of(places, home, print)
    assert ours.exists()


def test_home_removed(places: Places, home: Path) -> None:
    """A new home starts with new databases, also where the old ones were kept outside of it."""
    mark = _mark(OdooSite.of(places, home, print))
    mark.write_text("of another version")
    mark.with_name("ours").touch()
    shutil.rmtree(home)
    assert _mark(OdooSite.of(places, home, print)) == mark
    assert not mark.with_name("ours").exists()


def test_another_version(places: Places, home: Path) -> None:
    """Databases that cannot be read any more are kept until somebody says that they may go."""
    mark = _mark(OdooSite.of(places, home, print))
    mark.write_text("of another version")
    mark.with_name("ours").touch()
    with pytest.raises(OdooUnavailableError, match="another version"):
        OdooSite.of(places, home, print)
    assert mark.with_name("ours").exists()
    OdooSite.of(places, home, print, disposable=True)
    assert not mark.with_name("ours").exists()
