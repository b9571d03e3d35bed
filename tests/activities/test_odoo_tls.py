"""An Odoo whose certificate a private authority has signed."""

import asyncio
import shutil
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from activities.odoo.deliver import OdooActivities
from activities.odoo.gate import OdooGates
from contracts.errors import DeliveryError
from peers.odoo_rpc import RpcAccount
from tests.activities import odoo_events
from tests.activities.activity_runs import Attempt
from tests.activities.http_peer import Peer, answer
from tests.activities.test_kubernetes_tls import certificate
from tests.activities.test_odoo_rpc import Odoo, account
from workers.odoo_wiring import odoo_delivery
from workers.settings import OdooSettings, Settings
from workers.wiring import open_clients

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the keys")


@asynccontextmanager
async def behind_tls(signed: tuple[Path, Path]) -> AsyncIterator[tuple[Peer, str]]:
    """A peer that shows this certificate, and its origin."""
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(*signed)
    peer = Peer()
    server = await asyncio.start_server(peer.serve, "127.0.0.1", 0, ssl=tls)
    try:
        yield peer, f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


async def outcome(settings: Settings, url: str, delivery: str) -> str:
    """What comes of one delivery by a worker that starts now."""
    known: RpcAccount = account(url)
    odoo = OdooSettings(
        origin=url,
        delivery=delivery,
        **{name: getattr(known, name) for name in ("database", "login", "password")},
    )
    async with open_clients(settings, traced=False) as clients:
        gates = OdooGates([url])
        activity = OdooActivities(
            {url: odoo_delivery(odoo, clients.http, clients.closing)}, clients.store, gates
        ).deliver
        try:
            return (await Attempt().run(activity, odoo_events.failed(url))).answer
        except Exception as error:  # noqa: BLE001  # its type is what the test is about
            return str(getattr(error, "type", error))


@pytest.mark.parametrize("delivery", ["callback", "odoorpc"])
async def test_a_private_authority(
    worker_settings: Settings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    delivery: str,
) -> None:
    """SSL_CERT_FILE names it; without that, nothing is delivered to a server nobody vouches for."""
    signed = certificate(tmp_path, "127.0.0.1")
    async with behind_tls(signed) as (peer, url):
        peer.says(answer(200) if delivery == "callback" else Odoo().reply)
        refused = await outcome(worker_settings, url, delivery)
        assert refused == DeliveryError.ODOO_UNAVAILABLE
        assert peer.received == []
        monkeypatch.setenv("SSL_CERT_FILE", str(signed[0]))
        # Nobody listens there: with a proxy, nothing would be delivered.
        monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
        monkeypatch.setenv("NO_PROXY", "")
        monkeypatch.setenv("no_proxy", "")
        assert await outcome(worker_settings, url, delivery) != DeliveryError.ODOO_UNAVAILABLE
        assert peer.received
