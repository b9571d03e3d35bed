"""Asking a cluster for free whether it would run our Jobs."""

import subprocess
import sys
from collections.abc import AsyncIterator

import httpx
import pytest
from http_peer import Peer, Reply, answer, hang, html, raw, refusing_url
from kube_server import NAMESPACE, TOKEN, Kube, kube_server
from provider_calls import SHORT
from pydantic import SecretStr

from activities.providers import kubernetes_probe
from contracts.health import Probed
from workers.probes import provider_probe
from workers.settings import ProviderSettings


@pytest.fixture
async def kube() -> AsyncIterator[Kube]:
    """A cluster."""
    async with kube_server() as running:
        yield running


async def probed(http: httpx.AsyncClient, url: str, namespace: str = NAMESPACE) -> Probed:
    """What is found at `url`."""
    provider = ProviderSettings(
        kind="kubernetes", base_url=url, api_key=SecretStr(TOKEN), namespace=namespace
    )
    found = await provider_probe("cluster", provider, http)()
    assert TOKEN not in found.model_dump_json()
    return found


async def test_all_rights(http: httpx.AsyncClient, kube: Kube) -> None:
    """An account with the five rights is what is needed."""
    found = await probed(http, kube.url)
    assert (found.key_taken, found.mend) == (True, "")
    assert len(kube.calls) == 5
    assert kube.jobs == {}


async def test_lacking_rights(http: httpx.AsyncClient, kube: Kube) -> None:
    """Each right that is lacking is named."""
    kube.lacking = {"watch jobs", "list pods"}
    found = await probed(http, kube.url)
    assert "may not watch jobs, list pods in the namespace images" in found.found
    assert "Role" in found.mend


async def test_refused(http: httpx.AsyncClient, kube: Kube) -> None:
    """A token that is refused is named by its setting."""
    kube.tokens = {"another"}
    found = await probed(http, kube.url)
    assert "providers.cluster.api_key" in found.mend
    assert found.key_taken is False


TROUBLES: dict[str, Reply] = {
    "page": html(200),
    "503": answer(503),
    "redirect": answer(302, "", {"location": "http://127.0.0.1:1/"}),
    "closed": raw(),
    "hang": hang,
}


@pytest.mark.parametrize("reply", TROUBLES.values(), ids=TROUBLES)
async def test_no_cluster(
    http: httpx.AsyncClient, peer: Peer, monkeypatch: pytest.MonkeyPatch, reply: Reply
) -> None:
    """Whatever answers there, it is told and never raised."""
    monkeypatch.setattr(kubernetes_probe, "TIMEOUT_SECONDS", SHORT)
    peer.says(reply)
    found = await probed(http, peer.url)
    assert "providers.cluster.base_url" in found.mend
    assert not found.key_taken


async def test_nobody_there(http: httpx.AsyncClient) -> None:
    """A refused connection."""
    assert "cannot be reached" in (await probed(http, refusing_url())).found


def test_only_its_users_pay_for_the_library() -> None:
    """A worker without a cluster imports neither the client library nor aiohttp."""
    check = "import sys, workers.process, workers.doctor; print('aiohttp' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", check], capture_output=True, check=True, text=True)
    assert ran.stdout == "False\n"
