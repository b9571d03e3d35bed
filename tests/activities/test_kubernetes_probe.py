"""Asking a cluster for free whether it would run our Jobs."""

import subprocess
import sys

import pytest
from pydantic import SecretStr

from activities.providers.kubernetes.api import Cluster
from activities.providers.kubernetes.connection import Connection
from activities.providers.kubernetes.probe import probe_cluster
from activities.providers.probing import TIMEOUT_SECONDS
from contracts.provider_health import Probed
from tests.activities.http_peer import Peer, Reply, answer, hang, html, raw, refusing_url
from tests.activities.kube_server import NAMESPACE, TOKEN, Kube
from tests.activities.provider_calls import SHORT


async def probed(url: str, namespace: str = NAMESPACE, patience: float = TIMEOUT_SECONDS) -> Probed:
    """What is found at `url`."""
    connection = Connection(url, SecretStr(TOKEN), None, None)
    try:
        found = await probe_cluster(Cluster(connection), "cluster", namespace, patience)
    finally:
        await connection.close()
    assert TOKEN not in found.model_dump_json()
    return found


async def test_all_rights(kube: Kube) -> None:
    """An account with the five rights is what is needed."""
    found = await probed(kube.url)
    assert (found.key_taken, found.fix) == (True, "")
    assert len(kube.calls) == 5
    assert kube.jobs == {}


async def test_lacking_rights(kube: Kube) -> None:
    """Each right that is lacking is named."""
    kube.lacking = {"watch jobs", "list pods"}
    found = await probed(kube.url)
    assert "may not watch jobs, list pods in the namespace images" in found.found
    assert "Role" in found.fix


async def test_refused(kube: Kube) -> None:
    """A token that is refused is named by its setting."""
    kube.tokens = {"another"}
    found = await probed(kube.url)
    assert "providers.cluster.api_key" in found.fix
    assert found.key_taken is False


TROUBLES: dict[str, Reply] = {
    "page": html(200),
    "503": answer(503),
    "redirect": answer(302, "", {"location": "http://127.0.0.1:1/"}),
    "closed": raw(),
    "hang": hang,
}


@pytest.mark.parametrize("reply", TROUBLES.values(), ids=TROUBLES)
async def test_no_cluster(peer: Peer, reply: Reply) -> None:
    """Whatever answers there is a finding, and nothing is raised."""
    peer.says(reply)
    found = await probed(peer.url, patience=SHORT)
    assert "providers.cluster.base_url" in found.fix
    assert not found.key_taken


async def test_nobody_there() -> None:
    """A refused connection."""
    assert "cannot be reached" in (await probed(refusing_url())).found


def test_only_its_users_pay_for_the_library() -> None:
    """A worker without a cluster imports neither the client library nor aiohttp."""
    check = "import sys, workers.process, workers.doctor.command; print('aiohttp' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", check], capture_output=True, check=True, text=True)
    assert ran.stdout == "False\n"
