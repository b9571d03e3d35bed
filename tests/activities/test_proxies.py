"""`worker.use_proxies`: httpx, boto3 and odoorpc use the environment's proxies, alike, or none."""

import asyncio
import base64
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path

import httpx
import pytest
from pydantic import ValidationError

from activities.odoo.deliver import OdooActivities
from activities.odoo.gate import OdooGates
from activities.providers.errors import Dialect, Refusal, error_of
from activities.s3 import StoreError
from activities.store_ways import Ways
from contracts.errors import ErrorCode
from peers.addresses import AddressError
from peers.clients import named_client, public_client
from peers.http import call
from peers.odoo_rpc import OdooSession
from peers.proxies import environment_proxies
from peers.store import StorageSettings, s3_client
from tests.activities import odoo_events
from tests.activities.activity_runs import Attempt
from tests.activities.http_peer import Peer, answer, listening
from tests.activities.test_kubernetes_tls import certificate
from tests.activities.test_odoo_rpc import Odoo, account
from tests.activities.test_odoo_tls import behind_tls
from tests.peers.forward_proxy import ForwardProxy, forward_proxy
from workers.clients import open_clients
from workers.doctor.services import proxies
from workers.odoo_wiring import odoo_delivery
from workers.settings import OdooSettings, ProcessSettings, Settings
from workers.store_wiring import bucket_of

VARIABLES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")
STORE = {"bucket": "images", "access_key_id": "a", "secret_access_key": "b"}


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@asynccontextmanager
async def in_between(
    monkeypatch: pytest.MonkeyPatch, names: Mapping[str, tuple[str, int] | None] | None = None
) -> AsyncIterator[ForwardProxy]:
    """A proxy, with a password, that the environment names for everything."""
    async with forward_proxy(names or {}) as proxy:
        for name in ("HTTP_PROXY", "HTTPS_PROXY"):
            monkeypatch.setenv(name, f"http://us:secret@127.0.0.1:{proxy.port}")
        yield proxy


async def called(library: str, url: str, signed: Path | None, *, use_proxies: bool) -> None:
    """One call by one of the three, as a worker makes it."""
    if library == "boto3":
        store = StorageSettings(endpoint_url=url, ca_file=signed, **STORE)
        client = s3_client(store, use_proxies=use_proxies)
        await asyncio.to_thread(client.head_bucket, Bucket="images")
    elif library == "odoorpc":
        known = account(url)._replace(ca_file=signed, use_proxies=use_proxies)
        await asyncio.to_thread(OdooSession(known, 60).login)
    else:
        files = {url: signed} if signed else {}
        async with named_client(files, use_proxies=use_proxies) as client:
            await call(client, "GET", url, timeout_seconds=60, max_bytes=100)


@pytest.mark.parametrize("library", ["httpx", "boto3", "odoorpc"])
@pytest.mark.parametrize("secure", [False, True], ids=["http", "https"])
async def test_alike(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, library: str, *, secure: bool
) -> None:
    """Off: nobody asks the proxy. On: everybody does, with its password. NO_PROXY counts."""
    signed = certificate(tmp_path, "127.0.0.1")
    async with AsyncExitStack() as stack:
        serving = behind_tls(signed) if secure else in_clear()
        peer, url = await stack.enter_async_context(serving)
        proxy = await stack.enter_async_context(in_between(monkeypatch))
        peer.says(Odoo().reply if library == "odoorpc" else answer(200))
        calls = partial(called, library, url, signed[0] if secure else None)
        await calls(use_proxies=False)
        direct = len(peer.received)
        assert direct > 0
        assert proxy.asked == []
        await calls(use_proxies=True)
        assert len(peer.received) == 2 * direct
        way = f"CONNECT {url[8:]} HTTP/" if secure else f" {url}/"
        assert len(proxy.asked) == direct
        assert all(way in line for line in proxy.asked)
        password = f"Basic {base64.b64encode(b'us:secret').decode()}"
        assert set(proxy.authorizations) == {password}
        assert all("proxy-authorization" not in each.headers for each in peer.received)
        monkeypatch.setenv("NO_PROXY", "elsewhere.example,127.0.0.1")
        await calls(use_proxies=True)
        assert len(peer.received) == 3 * direct
        assert len(proxy.asked) == direct


@asynccontextmanager
async def in_clear() -> AsyncIterator[tuple[Peer, str]]:
    """A peer without TLS, and its origin."""
    async with listening() as peer:
        yield peer, peer.url


@pytest.mark.parametrize("delivery", ["callback", "odoorpc"])
@pytest.mark.parametrize("use_proxies", [False, True], ids=["off", "on"])
async def test_the_workers_setting(
    monkeypatch: pytest.MonkeyPatch,
    worker_settings: Settings,
    peer: Peer,
    delivery: str,
    *,
    use_proxies: bool,
) -> None:
    """What a worker builds asks the proxy, or does not: Odoo, the store, links from outside."""
    async with in_between(monkeypatch, {"images.example": None}) as proxy:
        peer.says(Odoo().reply if delivery == "odoorpc" else answer(200))
        known = account(peer.url)
        odoo = OdooSettings(
            origin=peer.url,
            delivery=delivery,
            **{name: getattr(known, name) for name in ("database", "login", "password")},
        )
        process = worker_settings.worker.model_copy(update={"use_proxies": use_proxies})
        settings = worker_settings.model_copy(update={"odoo": (odoo,), "worker": process})
        async with open_clients(settings, traced=False) as clients:
            deliver = odoo_delivery(
                odoo, clients.odoo_http, clients.closing, use_proxies=use_proxies
            )
            activities = OdooActivities({peer.url: deliver}, clients.store, OdooGates([peer.url]))
            await Attempt().run(activities.deliver, odoo_events.failed(peer.url))
            await clients.store.read("generations/nobody.png", 100)
            with pytest.raises((httpx.ProxyError, httpx.ConnectError)):
                await call(
                    clients.public,
                    "GET",
                    "https://images.example/",
                    timeout_seconds=60,
                    max_bytes=9,
                )
        asked = [peer.url, settings.storage.endpoint_url, "CONNECT images.example:443"]
        assert [any(str(each) in line for line in proxy.asked) for each in asked] == (
            [use_proxies] * 3
        )


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.0.0.1.",
        "2130706433",
        "2130706433.",
        "0x7f.1",
        "[::1]",
        "169.254.169.254",
        "[::ffff:10.0.0.1]",
    ],
)
async def test_a_proxy_gets_no_private_number(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    """However a link spells it: the proxy may stand where that leads somewhere."""
    async with in_between(monkeypatch) as proxy, public_client(use_proxies=True) as client:
        with pytest.raises(AddressError):
            await call(client, "GET", f"http://{host}/", timeout_seconds=60, max_bytes=9)
        assert proxy.asked == []


async def test_what_has_no_proxy_is_guarded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name of NO_PROXY is resolved here, and must be public."""
    async with in_between(monkeypatch) as proxy, public_client(use_proxies=True) as client:
        monkeypatch.setenv("NO_PROXY", "localhost")
        with pytest.raises(AddressError):
            await call(client, "GET", "http://localhost/", timeout_seconds=60, max_bytes=9)
        assert proxy.asked == []


async def test_a_proxy_that_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing was sent, so nothing can have been paid for; its password is in no text."""
    async with (
        in_between(monkeypatch, {"images.example": None}),
        named_client(use_proxies=True) as client,
    ):
        with pytest.raises(httpx.ProxyError) as refused:
            await call(client, "POST", "https://images.example/", timeout_seconds=60, max_bytes=9)
    error = error_of(refused.value, Dialect("images", lambda _: Refusal()))
    assert error.failure.code is ErrorCode.PROVIDER_UNAVAILABLE
    assert not error.failure.perhaps_paid
    assert "secret" not in str(error)


@pytest.mark.parametrize(
    "proxy", ["https://us:secret@proxy:3128", "socks5://secret:1", "http://secret", "secret:x"]
)
def test_a_proxy_that_not_all_can_use(monkeypatch: pytest.MonkeyPatch, proxy: str) -> None:
    """It stops the worker at its start, and is not quoted."""
    monkeypatch.setenv("https_proxy", proxy)
    with pytest.raises(ValidationError, match="HTTPS_PROXY is not http://host:port") as fault:
        ProcessSettings(use_proxies=True)
    assert "secret" not in str(fault.value)
    ProcessSettings(use_proxies=False)


@pytest.mark.parametrize("named", ["elsewhere.example", "*"])
@pytest.mark.parametrize("use_proxies", [False, True], ids=["off", "on"])
async def test_no_proxy_sees_the_machines_credentials(
    monkeypatch: pytest.MonkeyPatch, named: str, *, use_proxies: bool
) -> None:
    """boto3 without keys asks the metadata service, in clear; here nobody answers there."""
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, "/nonexistent")
    monkeypatch.setenv("AWS_METADATA_SERVICE_TIMEOUT", "1")
    async with in_between(monkeypatch, {"169.254.169.254": None}) as proxy:
        monkeypatch.setenv("NO_PROXY", named)
        storage = StorageSettings.model_validate(
            {"bucket": "images", "endpoint_url": "http://127.0.0.1:1"}
        )
        bucket = bucket_of(storage, Ways(True, True, False), use_proxies=use_proxies)
        with pytest.raises(StoreError):
            await asyncio.to_thread(bucket.remove, "key")
    assert not any("169.254" in line for line in proxy.asked)


def test_without_a_scheme(monkeypatch: pytest.MonkeyPatch) -> None:
    """As boto3 and urllib read it."""
    monkeypatch.setenv("HTTP_PROXY", "proxy.example:3128")
    assert environment_proxies() == {"http": "http://proxy.example:3128"}


def test_the_doctor_says_which_are_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without their passwords; none where one was wanted is wrong."""
    assert proxies().fix
    monkeypatch.setenv("HTTPS_PROXY", "http://us:secret@proxy.example:3128")
    assert (proxies().found, proxies().fix) == (
        "https by proxy.example:3128; not for what NO_PROXY names",
        "",
    )
