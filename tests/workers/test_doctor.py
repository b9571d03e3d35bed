"""`duragen doctor`: one line for each dependency, and how to fix what is wrong with it."""

import asyncio
import json
import shlex
from pathlib import Path

import pytest
from temporalio.testing import WorkflowEnvironment

from deploy.local.stack.config import BUCKET, ODOO_DATABASE, ODOO_LOGIN
from deploy.local.stack.layout import program
from deploy.local.stack.local_stack import LocalStack
from tests.workers.doctor_runs import doctor, spare, wrong
from tests.workers.worker_process import environment, working_process

NOBODY = "http://127.0.0.1:1"


def _odoorpc(stack: LocalStack, password: str) -> str:
    table = {
        "origin": stack.odoo_url,
        "delivery": "odoorpc",
        "database": ODOO_DATABASE,
        "login": ODOO_LOGIN,
        "password": password,
    }
    return json.dumps([table])


async def test_a_line_for_each_dependency_when_all_is_well(examined: LocalStack) -> None:
    """From the settings to Alertmanager, health and counts among them; exit code 0."""
    ended = await doctor(examined, DURAGEN_NOTIFY__BASE_URL=examined.odoo_url)
    assert ended.code == 0
    assert wrong(ended) == []
    expected = [
        "settings: ",
        "leaving: a worker may need 210 s after SIGTERM: give it 225 s before SIGKILL",
        "encryption: no keys here: what starts with these variables is in clear",
        f"Temporal: {examined.temporal_address} (namespace default), 8 search attributes",
        "queue generation: ",
        f"queue odoo.{examined.odoo_url}: 1 worker ",
        "queue notifications: 1 worker ",
        "queue provider.openai: ",
        "queue provider.flux: ",
        "queue provider.flux.jobs: ",
        "health of openai: nothing was reported yet",
        "health of flux: nothing was reported yet",
        f"health of {examined.odoo_url}: nothing was reported yet",
        "parked deliveries: none",
        "images on workers' disks: none",
        "failed generations: ",
        "stuck workflows: none",
        f"store: bucket {BUCKET} at {examined.s3_url}: writes, reads, links and deletes",
        "spool: ",
        f"provider openai: {examined.images_url} takes the key",
        f"provider flux: {examined.images_url} takes the key",
        f"Odoo {examined.odoo_url}: answers (200)",
        f"notifications {examined.odoo_url}: answers (200)",
        "Alertmanager: none in the settings",
    ]
    lines = ended.out.splitlines()
    assert len(lines) == len(expected)
    for line, beginning in zip(lines, expected, strict=True):
        assert line.removeprefix("ok    ").startswith(beginning)


async def test_an_odoo_by_odoorpc_is_logged_in_to(examined: LocalStack) -> None:
    """The line names the login and the method that will be called."""
    odoo = _odoorpc(examined, examined.secrets.odoo_password)
    ended = await doctor(examined, DURAGEN_ODOO=odoo)
    assert ended.code == 0
    assert f"takes the login {ODOO_LOGIN} (duragen.generation.request.apply_event)" in ended.out


BROKEN = {
    "grace too short": (
        {"DURAGEN_WORKER__GRACEFUL_SECONDS": "30"},
        ["leaving: ", "30 s after SIGTERM, and one may take 210 s", "worker.graceful_seconds"],
    ),
    "bucket missing": (
        {"DURAGEN_STORAGE__BUCKET": "nobodys"},
        ["store: bucket nobodys at ", "no bucket nobodys", "create the bucket, or check"],
    ),
    "bucket's name impossible": (
        {"DURAGEN_STORAGE__BUCKET": "no bucket"},
        ["store: bucket no bucket at ", "Invalid bucket name", "check storage.*"],
    ),
    "store's key wrong": (
        {"DURAGEN_STORAGE__SECRET_ACCESS_KEY": "wrong"},
        ["store: ", "SignatureDoesNotMatch", "check storage.secret_access_key"],
    ),
    "link that leads nowhere": (
        {"DURAGEN_STORAGE__PUBLIC_ENDPOINT_URL": NOBODY},
        ["store: ", f"a link at {NOBODY} cannot be opened", "storage.public_endpoint_url"],
    ),
    "store away": (
        {"DURAGEN_STORAGE__ENDPOINT_URL": NOBODY},
        ["store: ", f"at {NOBODY}", "check storage.* and that the store is up"],
    ),
    "provider's key wrong": (
        {"DURAGEN_PROVIDERS__FLUX__API_KEY": "wrong-key"},
        ["provider flux: ", "refuses the key", "set a valid key: providers.flux.api_key"],
    ),
    "other provider's key wrong": (
        {"DURAGEN_PROVIDERS__OPENAI__API_KEY": "wrong-key"},
        ["provider openai: ", "refuses the key", "set a valid key: providers.openai.api_key"],
    ),
    "provider away": (
        {"DURAGEN_PROVIDERS__OPENAI__BASE_URL": NOBODY},
        ["provider openai: ", f"{NOBODY} cannot be reached", "check providers.openai.base_url"],
    ),
    "Odoo away": (
        {"DURAGEN_ODOO": f'[{{"origin": "{NOBODY}"}}]'},
        [f"Odoo {NOBODY}: cannot be reached", "start it, or check odoo.origin"],
    ),
    "no Odoo": ({"DURAGEN_ODOO": "[]"}, ["Odoo: none in the settings", "add [[odoo]]"]),
    "notifications away": (
        {"DURAGEN_NOTIFY__BASE_URL": NOBODY},
        [f"notifications {NOBODY}: cannot be reached", "check notify.base_url"],
    ),
    "Alertmanager away": (
        {"DURAGEN_ALERTS__BASE_URL": NOBODY},
        [f"Alertmanager {NOBODY}: cannot be reached", "check alerts.base_url"],
    ),
    "Temporal away": (
        {"TEMPORAL_ADDRESS": "127.0.0.1:1"},
        ["Temporal: 127.0.0.1:1 (namespace default) cannot be reached", "set TEMPORAL_ADDRESS"],
    ),
    "Temporal's profile wrong": (
        {"TEMPORAL_PROFILE": "nowhere"},
        ["Temporal: wrong TEMPORAL_*", "Profile 'nowhere' not found", "set TEMPORAL_PROFILE"],
    ),
}


@pytest.mark.parametrize("name", BROKEN)
async def test_what_is_broken_has_the_one_wrong_line(examined: LocalStack, name: str) -> None:
    """It says what is wrong and how to fix it; all else is looked at too; exit code 1."""
    variables, expected = BROKEN[name]
    ended = await doctor(examined, **variables)
    assert ended.code == 1
    # An Odoo that the doctor alone has in its settings has no worker either.
    [line] = [each for each in wrong(ended) if f"queue odoo.{NOBODY}" not in each]
    assert line.startswith("wrong " + expected[0])
    assert [part for part in expected if part not in line] == [], line
    # Without Temporal nothing is known about queues and health, and nothing is counted.
    others = len(ended.out.splitlines()) - 1
    assert others >= (6 if "Temporal" in name else 14)


async def test_a_wrong_password_of_odoo_is_said_and_not_shown(examined: LocalStack) -> None:
    """By odoorpc; a wrong one is often nearly the right one."""
    ended = await doctor(examined, DURAGEN_ODOO=_odoorpc(examined, "nearly-the-right-one"))
    assert ended.code == 1
    [line] = wrong(ended)
    assert line.startswith(f"wrong Odoo {examined.odoo_url}: ")
    assert f"as {ODOO_LOGIN}" in line
    assert "check the [[odoo]] table" in line
    assert "nearly-the-right-one" not in ended.out + ended.err


STATUSES = {200: "is ready", 401: "alerts.token", 403: "alerts.token", 404: "alerts.base_url"}


@pytest.mark.parametrize("status", STATUSES)
async def test_alertmanager_is_asked_whether_it_is_ready(examined: LocalStack, status: int) -> None:
    """With the token; what it answers says which setting to look at."""
    asked: list[bytes] = []

    async def say(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(f"HTTP/1.1 {status} Said\r\ncontent-length: 0\r\n\r\n".encode())
        writer.close()

    server = await asyncio.start_server(say, "127.0.0.1", 0)
    async with server:
        url = "http://{}:{}".format(*server.sockets[0].getsockname())
        ended = await doctor(
            examined, DURAGEN_ALERTS__BASE_URL=url, DURAGEN_ALERTS__TOKEN="t-0123456789"
        )
    [line] = [line for line in ended.out.splitlines() if "Alertmanager" in line]
    assert line.startswith("ok    " if status == 200 else "wrong ")
    assert url in line
    assert STATUSES[status] in line
    assert "t-0123456789" not in ended.out
    assert asked[0].startswith(b"GET /-/ready HTTP/1.1\r\n")
    assert b"bearer t-0123456789" in asked[0].lower()


async def test_a_queue_without_a_worker_is_shown_with_the_command_for_it(
    examined: LocalStack,
) -> None:
    """A provider was added to the settings, and no worker was started for it."""
    ended = await doctor(examined, **spare(examined))
    assert ended.code == 1
    assert wrong(ended) == [
        "wrong queue provider.spare: no worker serves it; duragen worker --queue provider.spare"
    ]


async def test_missing_search_attributes_are_fixed_by_the_command_it_gives(
    examined: LocalStack, tmp_path: Path
) -> None:
    """On a server without them: the line's command is run as it stands, and all is well."""
    bare = await WorkflowEnvironment.start_local(dev_server_existing_path=program("temporal"))
    address = bare.client.service_client.config.target_host
    env = environment(examined, TEMPORAL_ADDRESS=address)
    try:
        async with working_process(tmp_path, env) as worker:
            await worker.answers("/health/ready")
            before = await doctor(examined, TEMPORAL_ADDRESS=address)
            assert before.code == 1
            [line] = wrong(before)
            assert line.startswith(f"wrong Temporal: {address} (namespace default) lacks the ")
            command = shlex.split(line.partition("; ")[2])
            assert command[0] == "temporal"
            fix = await asyncio.create_subprocess_exec(
                program("temporal"), *command[1:], env=env, stdout=asyncio.subprocess.DEVNULL
            )
            assert await fix.wait() == 0
            assert (await doctor(examined, TEMPORAL_ADDRESS=address)).code == 0
    finally:
        await bare.shutdown()


async def test_a_temporal_that_never_answers_does_not_hold_it(examined: LocalStack) -> None:
    """A load balancer before nothing takes the connection and is silent."""
    taken: list[asyncio.StreamWriter] = []
    server = await asyncio.start_server(lambda _, writer: taken.append(writer), "127.0.0.1", 0)
    async with server:
        host, port = server.sockets[0].getsockname()
        ended = await doctor(examined, TEMPORAL_ADDRESS=f"{host}:{port}")
        for writer in taken:
            writer.close()
    assert ended.code == 1
    [line] = wrong(ended)
    assert f"{host}:{port} (namespace default) cannot be reached (no answer in time)" in line


async def test_wrong_settings_are_named_before_anything_is_asked(examined: LocalStack) -> None:
    """Exit code 2, the setting named on stderr."""
    ended = await doctor(examined, DURAGEN_STORAGE__LINK_SECONDS="1")
    assert ended.code == 2
    assert ended.out == ""
    assert "storage.link_seconds" in ended.err
