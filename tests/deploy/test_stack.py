"""The embedded stack: up, down, and after accidents."""

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import httpx
import pytest
from temporalio.client import Client
from temporalio.common import SearchAttributeKey, SearchAttributePair, TypedSearchAttributes

from contracts.names import SEARCH_ATTRIBUTES
from deploy.local.sandbox.images.protocols import FLUX_MODEL_ID, OPENAI_MODEL_ID
from deploy.local.sandbox.serving import HOST
from deploy.local.stack import processes
from deploy.local.stack.config import BUCKET, TWO_ROUTES_MODEL_ID
from deploy.local.stack.local_stack import HomeInUseError, LocalStack
from deploy.local.stack.parts import SERVERS
from deploy.local.stack.ports import Ports, PortTakenError
from deploy.local.stack.supervisor import PartFailedError
from workers.settings import Settings

STARTS = 20


def _s3(stack: LocalStack, secret: str | None = None) -> Any:
    return boto3.client(
        "s3",
        endpoint_url=stack.s3_url,
        region_name="us-east-1",
        aws_access_key_id=stack.secrets.s3_access_key,
        aws_secret_access_key=secret or stack.secrets.s3_secret_key,
    )


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    """All servers."""
    with LocalStack(tmp_path_factory.mktemp("servers"), SERVERS) as stack:
        yield stack


async def test_temporal_knows_our_search_attributes(servers: LocalStack) -> None:
    """When the stack is up, workflows can be started with all search attributes."""
    client = await Client.connect(servers.temporal_address)
    query = " OR ".join(f"{name} = 'x'" for name in SEARCH_ATTRIBUTES)
    assert (await client.count_workflows(query)).count == 0


async def test_starts_do_not_read_the_search_attributes_again(servers: LocalStack) -> None:
    """Temporal looks the attributes up in its cache, not in its database."""
    client = await Client.connect(servers.temporal_address)
    attributes = TypedSearchAttributes(
        [
            SearchAttributePair(SearchAttributeKey.for_keyword(name), "x")
            for name in SEARCH_ATTRIBUTES
        ]
    )
    for n in range(STARTS):
        await client.start_workflow(
            "Nobody", id=f"indexed-{n}", task_queue="nobody", search_attributes=attributes
        )
    # The server counts a moment later; a start reads before it writes.
    while (counts := await _database_calls(servers))["CreateWorkflowExecution"] < STARTS:
        await asyncio.sleep(0.1)
    # Three for each start without the copy. With it, one now and then, when it is a minute old.
    assert counts["GetCurrentClusterMetadata"] < STARTS


async def _database_calls(stack: LocalStack) -> Counter[str]:
    """What Temporal has asked of its database, by operation."""
    port = json.loads((stack.home / "ports.json").read_text())["temporal_metrics"]
    async with httpx.AsyncClient(trust_env=False) as client:
        answer = await client.get(f"http://{HOST}:{port}/metrics")
    calls: Counter[str] = Counter()
    for operation, count in re.findall(
        r'^persistence_requests{.*operation="(\w+)".*} (\d+)', answer.text, re.MULTILINE
    ):
        calls[operation] += int(count)
    return calls


async def test_web_ui_answers(servers: LocalStack) -> None:
    """The Web UI is where the stack says."""
    async with httpx.AsyncClient(trust_env=False) as client:
        assert (await client.get(servers.ui_url)).status_code == 200


def test_store_takes_objects(servers: LocalStack) -> None:
    """The bucket is there, and empty."""
    assert _s3(servers).list_objects_v2(Bucket=BUCKET)["KeyCount"] == 0


def test_store_asks_for_the_key(servers: LocalStack) -> None:
    """A wrong secret key is refused."""
    with pytest.raises(Exception, match="SignatureDoesNotMatch"):
        _s3(servers, "wrong").list_objects_v2(Bucket=BUCKET)


def test_settings_are_valid(servers: LocalStack, monkeypatch: pytest.MonkeyPatch) -> None:
    """The worker can read the settings file, and it points at the stack."""
    for name, value in servers.environment.items():
        monkeypatch.setenv(name, value)
    settings = Settings.read()
    assert settings.storage.endpoint_url == servers.s3_url
    assert set(settings.models) == {FLUX_MODEL_ID, OPENAI_MODEL_ID, TWO_ROUTES_MODEL_ID}
    routes = settings.models[TWO_ROUTES_MODEL_ID].routes
    assert [route.provider for route in routes] == ["openai", "flux"]
    assert settings.odoo[0].origin == servers.odoo_url
    assert settings.notify
    assert settings.alerts
    assert settings.notify.base_url == settings.alerts.base_url == servers.notifications_url


def test_secrets_are_private(servers: LocalStack) -> None:
    """Files with secrets can be read by their owner alone."""
    for file in (servers.config_path, servers.home / "secrets.json"):
        assert file.stat().st_mode & 0o777 == 0o600


def test_listens_on_loopback_only(servers: LocalStack) -> None:
    """No part can be reached from another machine."""
    psutil = pytest.importorskip("psutil")
    for name in servers.parts:
        for connection in psutil.Process(servers.supervisor(name).pid).net_connections("inet"):
            if connection.status == psutil.CONN_LISTEN:
                assert connection.laddr.ip == HOST, (name, connection.laddr)


def test_store_survives_kill(servers: LocalStack) -> None:
    """After `kill -9` of the store it comes back by itself, and has every object."""
    store, bodies = servers.supervisor("store"), {f"k{n}": os.urandom(200_000) for n in range(5)}
    for key, body in bodies.items():
        _s3(servers).put_object(Bucket=BUCKET, Key=key, Body=body)
    store.kill()
    store.wait_ready(60)
    for key, body in bodies.items():
        assert _s3(servers).get_object(Bucket=BUCKET, Key=key)["Body"].read() == body
        _s3(servers).delete_object(Bucket=BUCKET, Key=key)


async def test_temporal_survives_kill(servers: LocalStack) -> None:
    """After `kill -9` of Temporal it comes back by itself, and knows its workflows."""
    client = await Client.connect(servers.temporal_address)
    await client.start_workflow("Nobody", id="survivor", task_queue="nobody")
    temporal = servers.supervisor("temporal")
    temporal.kill()
    temporal.wait_ready(60)
    again = await Client.connect(servers.temporal_address)
    assert (await again.get_workflow_handle("survivor").describe()).workflow_type == "Nobody"


def test_one_stack_a_home(servers: LocalStack) -> None:
    """A second stack in the same home says so, and changes nothing."""
    with pytest.raises(HomeInUseError, match="--home"):
        LocalStack(servers.home, ("odoo",)).start()
    assert servers.supervisor("odoo").ready.is_set()


def test_nothing_is_left_running(home: Path) -> None:
    """After the end no process and no pid file is left."""
    with LocalStack(home, ("images", "odoo")) as stack:
        running = [processes.process_of(stack.supervisor(name).pid or 0) for name in stack.parts]
    assert all(process and not process.alive for process in running)
    assert list((home / "run").iterdir()) == []


def test_same_ports_again(home: Path) -> None:
    """Free ports are the same at the next start: callback URLs stay right."""
    with LocalStack(home, ("odoo",)) as first:
        pass
    with LocalStack(home, ("odoo",)) as second:
        assert second.ports == first.ports


def test_taken_port(home: Path) -> None:
    """A taken port is named, with what wanted it and how to give another."""
    with socket.socket() as other:
        other.bind((HOST, 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(PortTakenError) as caught:
            LocalStack(home, ("odoo",), ports=Ports(odoo=port)).start()
    for part in (str(port), "the sandbox Odoo", "--odoo-port", "DURAGEN_LOCAL_ODOO_PORT"):
        assert part in str(caught.value)


def test_failed_start_leaves_nothing(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If a part cannot start, its last words are shown and the others are ended."""
    monkeypatch.setenv("DURAGEN_SANDBOX_SIGNING_SECRET", "")
    stack = LocalStack(home, ("images", "worker"), overrides={"storage": {"bucket": 5}})
    with pytest.raises(PartFailedError, match=r"(?s)worker .*storage\.bucket"):
        stack.start()
    assert list((home / "run").iterdir()) == []


def test_part_is_restarted(home: Path) -> None:
    """A part that dies is started again, and a line says so."""
    said: list[str] = []
    with LocalStack(home, ("odoo",), say=said.append) as stack:
        odoo = stack.supervisor("odoo")
        before = odoo.pid
        odoo.kill()
        odoo.wait_ready(30)
        assert odoo.pid != before
    assert said[0].startswith("odoo was ended by signal 9; again in")
    assert said[1] == "odoo is back"


def test_leftover_is_ended(home: Path) -> None:
    """A part that outlived its supervisor is recognised and ended by the next start."""
    leftover = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    try:
        process = processes.process_of(leftover.pid)
        assert process
        processes.write(home / "run" / "odoo.json", process)
        with LocalStack(home, ("odoo",)):
            assert leftover.wait(10) == -signal.SIGTERM
    finally:
        leftover.kill()


def test_stranger_with_the_same_pid_is_left_alone(home: Path) -> None:
    """A pid that meanwhile belongs to somebody else is not touched."""
    stranger = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    try:
        old = processes.Process(stranger.pid, "started long ago")
        processes.write(home / "run" / "odoo.json", old)
        with LocalStack(home, ("odoo",)):
            assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_unknown_part(home: Path) -> None:
    """A misspelt part is an error that lists the parts."""
    with pytest.raises(ValueError, match="no such part: odo; there are temporal"):
        LocalStack(home, ("odo",))


def test_overrides_reach_every_odoo(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings can be changed table by table; what is not named stays."""
    overrides = {"odoo": {"delivery": "odoorpc"}, "generation": {"deadline_seconds": 5}}
    with LocalStack(home, (), overrides=overrides) as stack:
        monkeypatch.setenv("DURAGEN_CONFIG", str(stack.config_path))
        settings = Settings.read()
    assert settings.odoo[0].delivery == "odoorpc"
    assert settings.odoo[0].token
    assert settings.generation.deadline_seconds == 5


def test_real_odoo(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A real Odoo takes the sandbox's place by one setting."""
    with LocalStack(home, (), odoo_url="http://odoo.example:8069") as stack:
        monkeypatch.setenv("DURAGEN_CONFIG", str(stack.config_path))
        assert Settings.read().odoo[0].origin == "http://odoo.example:8069"


def test_real_alertmanager(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A real Alertmanager takes the sandbox's place by one setting; notifications stay there."""
    url = "http://alerts.example:9093"
    with LocalStack(home, ("notifications",), alertmanager_url=url) as stack:
        monkeypatch.setenv("DURAGEN_CONFIG", str(stack.config_path))
        settings = Settings.read()
    assert settings.alerts
    assert settings.notify
    assert (settings.alerts.base_url, settings.notify.base_url) == (url, stack.notifications_url)


def test_no_notifications_without_the_part(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the notification sandbox, the settings name neither of its services."""
    with LocalStack(home, ()) as stack:
        monkeypatch.setenv("DURAGEN_CONFIG", str(stack.config_path))
        settings = Settings.read()
    assert settings.notify is None
    assert settings.alerts is None


def test_a_home_of_an_older_version(home: Path) -> None:
    """Secrets that came with a later version are added, those that went are dropped."""
    first = LocalStack(home, ()).secrets
    file = home / "secrets.json"
    known = json.loads(file.read_text())
    del known["notify_token"], known["provider_keys"]["flux"]
    file.write_text(json.dumps(known | {"flux_key": "of old"}))
    second = LocalStack(home, ()).secrets
    assert second.api_key == first.api_key
    assert second.provider_keys["openai"] == first.provider_keys["openai"]
    assert second.provider_keys["flux"] == json.loads(file.read_text())["provider_keys"]["flux"]
    assert second.notify_token == json.loads(file.read_text())["notify_token"]


def test_temporal_profiles_stay_away(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A developer's Temporal settings for some other cluster do not reach the parts."""
    monkeypatch.setenv("TEMPORAL_API_KEY", "secret")
    with LocalStack(home, ("odoo",)) as stack:
        pid = stack.supervisor("odoo").pid
        environment = Path(f"/proc/{pid}/environ")
        if not environment.exists():
            pytest.skip("needs /proc")
        assert b"TEMPORAL_API_KEY" not in environment.read_bytes()


def test_part_can_be_stopped_and_started(home: Path) -> None:
    """A part that was stopped stays away until it is started, and then is on its port again."""
    with LocalStack(home, ("odoo",)) as stack:
        odoo = stack.supervisor("odoo")
        odoo.stop()
        with pytest.raises(httpx.ConnectError):
            httpx.get(stack.odoo_url, trust_env=False)
        odoo.start()
        odoo.wait()
        assert httpx.get(stack.odoo_url, trust_env=False).status_code == 200
