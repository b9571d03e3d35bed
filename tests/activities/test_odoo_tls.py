"""An Odoo whose certificate a private authority has signed."""

import asyncio
import shutil
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from botocore.exceptions import SSLError

from activities.odoo.deliver import OdooActivities
from activities.odoo.gate import OdooGates
from contracts.errors import DeliveryError
from peers.clients import named_client
from peers.odoo_rpc import RpcAccount
from peers.store import StorageSettings, s3_client
from tests.activities import odoo_events
from tests.activities.activity_runs import Attempt
from tests.activities.http_peer import Peer, answer
from tests.activities.test_kubernetes_tls import certificate
from tests.activities.test_odoo_rpc import Odoo, account
from workers.clients import open_clients
from workers.odoo_wiring import odoo_delivery
from workers.settings import OdooSettings, Settings

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


async def outcome(settings: Settings, url: str, delivery: str, ca_file: Path | None = None) -> str:
    """What comes of one delivery by a worker that starts now."""
    known: RpcAccount = account(url)
    odoo = OdooSettings(
        origin=url,
        delivery=delivery,
        ca_file=ca_file,
        **{name: getattr(known, name) for name in ("database", "login", "password")},
    )
    settings = settings.model_copy(update={"odoo": (odoo,)})
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


@pytest.mark.parametrize("delivery", ["callback", "odoorpc"])
async def test_an_authority_for_one_peer(
    worker_settings: Settings, tmp_path: Path, delivery: str
) -> None:
    """`ca_file` counts at its peer, and nowhere else."""
    signed = certificate(tmp_path, "127.0.0.1")
    async with behind_tls(signed) as (peer, url), behind_tls(signed) as (other, elsewhere):
        peer.says(answer(200) if delivery == "callback" else Odoo().reply)
        delivered = await outcome(worker_settings, url, delivery, signed[0])
        assert delivered != DeliveryError.ODOO_UNAVAILABLE
        assert peer.received
        async with named_client({url: signed[0]}) as client:
            with pytest.raises(httpx.ConnectError, match="verify failed"):
                await client.get(elsewhere)
    assert other.received == []


@pytest.mark.parametrize("named_by", ["ca_file", "SSL_CERT_FILE", "AWS_CA_BUNDLE"])
async def test_an_authority_for_the_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named_by: str
) -> None:
    """The store's client takes the setting, and the variables."""
    signed = certificate(tmp_path, "127.0.0.1")
    async with behind_tls(signed) as (peer, url):
        peer.says(answer(200))
        for variable in ("SSL_CERT_FILE", "AWS_CA_BUNDLE"):
            monkeypatch.delenv(variable, raising=False)
        known = {"bucket": "images", "access_key_id": "a", "secret_access_key": "b"}
        settings = StorageSettings(endpoint_url=url, **known)
        with pytest.raises(SSLError):
            await asyncio.to_thread(s3_client(settings).head_bucket, Bucket="images")
        if named_by == "ca_file":
            settings = StorageSettings(endpoint_url=url, ca_file=signed[0], **known)
        else:
            monkeypatch.setenv(named_by, str(signed[0]))
        await asyncio.to_thread(s3_client(settings).head_bucket, Bucket="images")
        assert len(peer.received) == 1
