"""Where an address from outside may lead: what it resolves to is checked, and that is called."""

import asyncio
import shutil
import socket
import ssl
from pathlib import Path

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from peers.addresses import AddressError, is_public
from peers.clients import public_client
from tests.activities.http_peer import Peer, answer
from tests.activities.test_kubernetes_tls import certificate
from tests.peers.resolving import HERE, here_is_public, resolving


@pytest.mark.parametrize(
    "address",
    [
        *("1.1.1.1", "8.8.8.8", "172.15.255.255", "172.32.0.0", "100.63.255.255", "100.128.0.0"),
        *("169.253.1.1", "223.255.255.255", "2606:4700:4700::1111", "2a00:1450:4001:82a::200e"),
        *("64:ff9b::8.8.8.8", "2001:200::1", "2001:4860:4860::8888"),
    ],
)
def test_public(address: str) -> None:
    """Addresses of the internet."""
    assert is_public(address)


@pytest.mark.parametrize(
    "address",
    [
        *("0.0.0.0", "0.1.2.3", "10.0.0.1", "127.0.0.1", "127.255.255.255", "172.16.0.1"),
        *("172.31.255.255", "192.168.1.1", "169.254.169.254", "169.254.170.2", "192.0.0.192"),
        *("100.100.100.200", "100.64.0.1", "168.63.129.16", "192.0.2.1", "192.88.99.1"),
        *("198.18.0.1", "198.51.100.1", "203.0.113.1", "224.0.0.1", "239.1.1.1", "240.0.0.1"),
        *("255.255.255.255", "::", "::1", "::ffff:127.0.0.1", "::ffff:8.8.8.8", "::127.0.0.1"),
        *("fe80::1", "fe80::1%eth0", "fec0::1", "fc00::1", "fd00:ec2::254", "ff02::1"),
        *("2002:7f00:1::", "2002:808:808::1", "2001:0:4136:e378::1", "2001:db8::1", "3fff::1"),
        *("64:ff9b::127.0.0.1", "64:ff9b::169.254.169.254", "64:ff9b:1::8.8.8.8", "100::1"),
        *("2606:4700:4700::1111%eth0", "5f00::1", "", "localhost", "127.1", "0x7f000001"),
    ],
)
def test_not_public(address: str) -> None:
    """This machine, private networks, metadata, what is embedded in IPv6, what is no number."""
    assert not is_public(address)


@settings(derandomize=True, max_examples=300, deadline=None)
@given(
    st.ip_addresses() | st.ip_addresses(v=6).map(lambda each: f"{each}%1") | st.text(max_size=30)
)
def test_any_address(address: object) -> None:
    """True or False; and what is public is so for Python's own tables, too."""
    found = is_public(str(address))
    assert isinstance(found, bool)
    if found:
        assert getattr(address, "is_global", False)


@pytest.mark.parametrize(
    "host",
    [
        *("127.0.0.1", "127.1", "127.0.1", "2130706433", "0x7f000001", "0x7f.1", "017700000001"),
        *("0177.0.0.1", "0", "0.0.0.0", "localhost", "localhost.", "LOCALHOST", "127.0.0.1."),
        *("[::1]", "[::]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[0:0:0:0:0:0:0:1]"),
        *(
            "①②⑦.⓪.⓪.①",
            "127。0。0。1",
            "%6cocalhost",
            "user@127.0.0.1",
            "[fe80::1%25lo]",
            "[::1%25lo]",
        ),
    ],
)
async def test_however_this_machine_is_spelt(peer: Peer, host: str) -> None:
    """Whatever a resolver makes of it, nothing is called on this machine."""
    peer.says(answer(200, "secret"))
    async with public_client() as client:
        with pytest.raises((AddressError, httpx.ConnectError, httpx.InvalidURL)):
            await client.get(f"http://{host}:{peer.port}/")
    assert peer.received == []


async def test_a_name_that_changes(peer: Peer, monkeypatch: pytest.MonkeyPatch) -> None:
    """DNS rebinding: it is resolved once, and what was checked is connected to."""
    here_is_public(monkeypatch)
    peer.says(answer(200, "secret"))
    public = Peer()
    server = await asyncio.start_server(public.serve, HERE, peer.port)
    public.says(answer(200, "public"))
    getaddrinfo, asked = resolving(HERE, "127.0.0.1")
    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    async with public_client() as client:
        found = await client.get(f"http://rebound.example:{peer.port}/")
    server.close()
    assert (found.text, asked, peer.received) == ("public", ["rebound.example"], [])
    assert public.received[0].headers["host"] == f"rebound.example:{peer.port}"


async def test_a_name_with_both(peer: Peer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the addresses of a name, those that are not public are left away."""
    here_is_public(monkeypatch)
    peer.says(answer(200, "secret"))
    getaddrinfo, _ = resolving(f"127.0.0.1,{HERE}")  # where nobody listens
    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    async with public_client() as client:
        with pytest.raises(httpx.ConnectError):
            await client.get(f"http://both.example:{peer.port}/")
    assert peer.received == []


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the keys")
async def test_tls_verifies_the_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The number is connected to; SNI and certificate are the name's."""
    here_is_public(monkeypatch)
    signed = certificate(tmp_path, HERE)  # good for the number alone
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(*signed)
    names: list[str | None] = []
    tls.sni_callback = lambda _, name, __: names.append(name)
    served = Peer()
    server = await asyncio.start_server(served.serve, HERE, 0, ssl=tls)
    port = server.sockets[0].getsockname()[1]
    served.says(answer(200, "ok"))
    monkeypatch.setenv("SSL_CERT_FILE", str(signed[0]))
    getaddrinfo, _ = resolving(HERE)
    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    async with public_client() as client:
        assert (await client.get(f"https://{HERE}:{port}/")).text == "ok"
        with pytest.raises(httpx.ConnectError, match="verify failed"):
            await client.get(f"https://images.example:{port}/")
    server.close()
    assert names[-1] == "images.example"


async def test_a_name_that_is_none() -> None:
    """It is an error of connecting, as from any client."""
    async with public_client() as client:
        for host in ("nowhere.invalid", "x" * 63 + "." + "y" * 60 + ".invalid"):
            with pytest.raises(httpx.ConnectError):
                await client.get(f"http://{host}/")
