"""An Odoo whose proxy takes calls from those alone who show a certificate (mutual TLS)."""

import asyncio
import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from pydantic import ValidationError

from activities.odoo.deliver import OdooActivities
from activities.odoo.gate import OdooGates
from contracts.errors import DeliveryError
from tests.activities import odoo_events
from tests.activities.activity_runs import Attempt
from tests.activities.http_peer import Peer, answer
from tests.activities.test_kubernetes_tls import certificate
from workers.clients import Clients, open_clients
from workers.odoo_wiring import odoo_delivery
from workers.settings import OdooSettings, ProcessSettings, Settings

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the keys")


@asynccontextmanager
async def asking(served: tuple[Path, Path], known: Path) -> AsyncIterator[tuple[Peer, str]]:
    """A peer for those alone whose certificate is the known one, and its origin."""
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(*served)
    tls.load_verify_locations(known)
    tls.verify_mode = ssl.CERT_REQUIRED
    peer = Peer()
    peer.says(answer(200))
    server = await asyncio.start_server(peer.serve, "127.0.0.1", 0, ssl=tls)
    try:
        yield peer, f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


@pytest.fixture
def ours(tmp_path: Path) -> Path:
    """Our certificate and its key in one file."""
    signed, key = certificate(tmp_path, "127.0.0.9")
    both = tmp_path / "ours.pem"
    both.write_bytes(signed.read_bytes() + key.read_bytes())
    return both


def _shown(settings: Settings, file: Path | None) -> Settings:
    worker = settings.worker.model_copy(update={"client_certificate": file})
    return settings.model_copy(update={"worker": worker})


async def _delivered(clients: Clients, url: str) -> str:
    odoo = OdooSettings(origin=url)
    delivery = odoo_delivery(odoo, clients.odoo_http, clients.closing)
    activity = OdooActivities({url: delivery}, clients.store, OdooGates([url])).deliver
    try:
        await Attempt().run(activity, odoo_events.failed(url))
    except Exception as error:  # noqa: BLE001  # its type is what the test is about
        return str(getattr(error, "type", error))
    return "delivered"


async def test_a_delivery_shows_the_workers_certificate(
    worker_settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ours: Path
) -> None:
    """With it the outcome is taken; without it, or with another one, nothing gets through."""
    served = certificate(tmp_path, "127.0.0.1")
    signed, key = certificate(tmp_path, "127.0.0.8")
    another = tmp_path / "another.pem"
    another.write_bytes(signed.read_bytes() + key.read_bytes())
    monkeypatch.setenv("SSL_CERT_FILE", str(served[0]))
    async with asking(served, ours) as (peer, url):
        for shown in (None, another):
            settings = _shown(worker_settings, shown)
            async with open_clients(settings, traced=False) as clients:
                assert await _delivered(clients, url) == DeliveryError.ODOO_UNAVAILABLE
        assert peer.received == []
        async with open_clients(_shown(worker_settings, ours), traced=False) as clients:
            assert await _delivered(clients, url) == "delivered"
            assert len(peer.received) == 1


async def test_only_odoos_learn_who_we_are(
    worker_settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ours: Path
) -> None:
    """Any other peer that asks for a certificate gets none."""
    served = certificate(tmp_path, "127.0.0.1")
    monkeypatch.setenv("SSL_CERT_FILE", str(served[0]))
    async with (
        asking(served, ours) as (peer, url),
        open_clients(_shown(worker_settings, ours), traced=False) as clients,
    ):
        with pytest.raises(httpx.TransportError):
            await clients.http.get(url)
        assert peer.received == []


def test_a_file_that_cannot_be_shown_is_refused_at_the_start(tmp_path: Path, ours: Path) -> None:
    """Without its key, with a locked key, or none at all; no password is asked for."""
    assert ProcessSettings(client_certificate=ours).client_certificate == ours
    signed, key = certificate(tmp_path, "127.0.0.7")
    locked = tmp_path / "locked.pem"
    lock = ["openssl", "pkcs8", "-topk8", "-in", str(key), "-passout", "pass:secret"]
    encrypted = subprocess.run(lock, check=True, capture_output=True).stdout
    locked.write_bytes(signed.read_bytes() + encrypted)
    empty = tmp_path / "empty.pem"
    empty.touch()
    for file in (signed, key, locked, empty):
        with pytest.raises(ValidationError, match="no certificate with its unlocked key"):
            ProcessSettings(client_certificate=file)
    with pytest.raises(ValidationError, match="does not point to a file"):
        ProcessSettings(client_certificate=tmp_path / "none.pem")
