"""The setting `headers`: what a peer gets beside what we send, and nobody else."""

from pathlib import Path

import pytest

from activities.alerts import AlertActivities
from contracts.alerts import AdminAlert, AlertName, AlertTask, Severity
from peers.settings import SettingsError
from tests.activities.activity_runs import Attempt
from tests.activities.http_peer import answer, listening
from workers.clients import open_clients
from workers.settings import Settings

SECRET = "headers-very-secret"
NOBODY = "http://peer.example.com"


def settings_text(tmp_path: Path, url: str = NOBODY, **headers: str) -> str:
    """All at one peer, each below a path of its own except Odoo, which has an origin."""
    own = {name: f"headers = {{ {text} }}" for name, text in headers.items()}
    return f"""
[storage]
bucket = "b"
[worker]
spool_dir = "{tmp_path}/spool"
[providers.openai]
kind = "openai"
base_url = "{url}/openai?api-version=1"
api_key = "k"
{own.get("openai", "")}
[providers.flux]
kind = "flux"
base_url = "{url}/flux"
api_key = "k"
{own.get("flux", "")}
[notify]
base_url = "{url}/notify/"
{own.get("notify", "")}
[alerts]
base_url = "{url}/alerts"
token = "t"
{own.get("alerts", "")}
[[odoo]]
origin = "{url}"
{own.get("odoo", "")}
"""


def read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str) -> Settings:
    """The settings, as the worker reads them."""
    file = tmp_path / "duragen.toml"
    file.write_text(text)
    monkeypatch.setenv("DURAGEN_CONFIG", str(file))
    return Settings.read()


ALL = {name: f'X-Proxy-Key = "{SECRET}-{name}"' for name in ("openai", "flux", "notify", "odoo")}
ALL["alerts"] = f'Authorization = "Basic {SECRET}", X-Scope-OrgID = "7"'


async def test_each_peer_gets_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The worker's one client sends each table's headers below its address, and to no other."""
    async with listening() as peer, listening() as foreign:
        settings = read(monkeypatch, tmp_path, settings_text(tmp_path, peer.url, **ALL))
        peer.says(answer(200))
        foreign.says(answer(200))
        async with open_clients(settings, traced=False) as clients:
            paths = ("/openai/v1/models", "/flux/v1/m", "/notify/x", "/duragen/v1/callback")
            for path in (*paths, "/openai-other", "/alerts/api/v2/alerts"):
                await clients.http.get(peer.url + path)
            await clients.http.get(f"{foreign.url}/flux/v1/m")
            got = {each.path: each.headers.get("x-proxy-key") for each in peer.received}
            assert got == {
                "/openai/v1/models": f"{SECRET}-openai",
                "/flux/v1/m": f"{SECRET}-flux",
                "/notify/x": f"{SECRET}-notify",
                "/duragen/v1/callback": f"{SECRET}-odoo",
                "/openai-other": f"{SECRET}-odoo",
                "/alerts/api/v2/alerts": None,
            }
            (elsewhere,) = foreign.received
            assert "x-proxy-key" not in elsewhere.headers


async def test_they_win_over_ours_and_are_not_repeated(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """An Alertmanager behind basic authentication; its proxy quotes the header in an error."""
    async with listening() as peer:
        settings = read(monkeypatch, tmp_path, settings_text(tmp_path, peer.url, **ALL))
        quoting = answer(403, {"error": f"Basic {SECRET} is unknown here"})
        peer.says(quoting)
        async with open_clients(settings, traced=False) as clients:
            alerts = AlertActivities(clients.http, f"{peer.url}/alerts", "t")
            alert = AdminAlert(
                name=AlertName.DELIVERIES_PARKED,
                severity=Severity.CRITICAL,
                service="odoo",
                error_type="ODOO_REFUSED",
                summary="s",
                description="d",
            )
            task = AlertTask(firing=(alert,), resolved=(), lasts_seconds=200)
            with pytest.raises(Exception, match="403") as caught:
                await Attempt().run(alerts.send_alerts, task)
        (received,) = peer.received
        assert received.headers["authorization"] == f"Basic {SECRET}"
        assert received.headers["x-scope-orgid"] == "7"
        assert SECRET not in str(caught.value)
        assert "[secret]" in str(caught.value)


@pytest.mark.parametrize(
    ("table", "headers", "named"),
    [
        ("alerts", 'Host = "x"', "'Host' is no header"),
        ("alerts", f'"X A" = "{SECRET}"', "'X A' is no header"),
        ("notify", f'X-A = "{SECRET}\\n"', "X-A: must be ASCII"),
        ("flux", f'X-A = "{SECRET} "', "X-A: must be ASCII"),
        ("openai", 'X-A = ""', "X-A: must be ASCII"),
    ],
)
def test_wrong_ones_are_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, table: str, headers: str, named: str
) -> None:
    """What no HTTP client can send stops the worker at its start; the value is not shown."""
    with pytest.raises(SettingsError) as caught:
        read(monkeypatch, tmp_path, settings_text(tmp_path, **{table: headers}))
    assert named in str(caught.value)
    assert SECRET not in str(caught.value)


def test_one_address_has_one_table(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Two tables that want different headers sent to one address are refused."""
    text = settings_text(tmp_path, flux='X-A = "1"')
    text += f'[providers.second]\nkind = "flux"\nbase_url = "{NOBODY}/flux/"\napi_key = "k"\n'
    with pytest.raises(SettingsError, match="two tables want different `headers`"):
        read(monkeypatch, tmp_path, text)


def test_odoorpc_has_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """It speaks by a library of its own: the setting would do nothing, so it is refused."""
    text = settings_text(tmp_path, odoo='X-A = "1"')
    text += 'delivery = "odoorpc"\ndatabase = "d"\nlogin = "l"\npassword = "p"\n'
    with pytest.raises(SettingsError, match="sends no headers"):
        read(monkeypatch, tmp_path, text)


def test_they_are_shown_nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Neither the settings nor what is made of them shows a value."""
    settings = read(monkeypatch, tmp_path, settings_text(tmp_path, **ALL))
    assert SECRET not in f"{settings!r} {settings} {settings.own_headers!r}"
