"""The operators' commands as processes against a real server: output and exit codes."""

import asyncio
import getpass
import json
import os
import signal
import sys
from uuid import uuid4

import pytest

from contracts.errors import ErrorCode
from contracts.events import GenerationRequested
from contracts.generation import DeliveryTrouble, Failure, GenerationState, Outcome, Parked, Plan
from contracts.names import GENERATION_QUEUE, GENERATION_WORKFLOW
from starter.cli.operators import SILENCE
from starter.operations.parked import count_parked
from tests.lab import Lab, working
from tests.ports import free_port
from tests.starter.entry_points import (
    Done,
    duragen,
)
from tests.starter.operating import (
    address,
    begun,
    ended,
    ends,
    failed_with,
    found_by,
    id_of,
    is_delivered_once,
    parked_with,
    runs_of,
    until,
)
from workers.settings import Settings


async def _run(desk: Lab, *arguments: str) -> Done:
    return await duragen(*arguments, **found_by(desk))


async def _decisions(desk: Lab, request: GenerationRequested) -> str:
    """What the history holds of who decided and why."""
    history = await desk.client.get_workflow_handle(id_of(request)).fetch_history()
    return "".join(map(str, history.events))


@pytest.mark.parametrize("command", ["parked", "redeliver", "abandon", "failed", "rerun"])
async def test_help_comes_without_the_sdk(command: str) -> None:
    """A command's help is there before the SDK could be loaded."""
    probe = (
        f"import sys; from starter.cli.app import run; print(run(['{command}', '--help']))\n"
        "print([m for m in ('temporalio', 'workers', 'starter.operations') if m in sys.modules])"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", probe, stdout=asyncio.subprocess.PIPE
    )
    out, _ = await process.communicate()
    assert out.decode().splitlines()[-2:] == ["0", "[]"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["redeliver"], "--all"),
        (["redeliver", "--all", str(uuid4())], "--all"),
        (["redeliver", "nonsense"], "nonsense"),
        (["redeliver", "--all", "--rate", "fast"], "--rate"),
        (["redeliver", "--all", "--rate", "0"], "--rate"),
        (["redeliver", str(uuid4()), "--error", "ODOO_REFUSED"], "--error"),
        (["parked", "--error", "NO_SUCH"], "NO_SUCH"),
        (["failed", "--error", "ODOO_REFUSED"], "ODOO_REFUSED"),
        (["abandon", str(uuid4())], "--reason"),
        (["rerun"], "--all"),
    ],
)
async def test_wrong_usage_is_2(arguments: list[str], said: str) -> None:
    """And is said before anybody is asked."""
    done = await duragen(*arguments, TEMPORAL_ADDRESS=f"127.0.0.1:{free_port()}")
    assert done.code == 2
    assert said in done.err


@pytest.mark.parametrize(
    "arguments",
    [["parked"], ["redeliver", "--all"], ["abandon", "ID", "--reason", "x"], ["failed"]],
)
async def test_nobody_there_is_3(arguments: list[str]) -> None:
    """One line that says who was asked, and not with what key."""
    where = f"127.0.0.1:{free_port()}"
    arguments = [str(uuid4()) if each == "ID" else each for each in arguments]
    secret = {"TEMPORAL_API_KEY": "a-secret-key", "TEMPORAL_TLS": "false"}
    async with asyncio.timeout(100):
        done = await duragen(*arguments, TEMPORAL_ADDRESS=where, **secret)
    assert done.code == 3
    assert where in done.err.splitlines()[-1]
    assert "a-secret-key" not in done.out + done.err


async def test_an_unknown_namespace_is_8(desk: Lab) -> None:
    """Temporal answers, and is not set up for us."""
    done = await duragen("parked", TEMPORAL_ADDRESS=address(desk), TEMPORAL_NAMESPACE="nowhere")
    assert done.code == 8
    assert "namespace" in done.err


async def test_nothing_parked_and_nothing_failed_is_well(desk: Lab) -> None:
    """Exit 0 also when there is nothing to list, and nothing to do."""
    assert await _run(desk, "parked") == Done(0, "0 parked\n", "")
    assert await _run(desk, "failed") == Done(0, "0 failed\n", "")
    assert await _run(desk, "redeliver", "--all") == Done(0, "0 in all\n", "")
    assert await _run(desk, "rerun", "--all") == Done(0, "0 in all\n", "")


async def test_parked_are_listed_without_a_worker(desk: Lab, settings: Settings) -> None:
    """The table has whole ids, the code and what Odoo said; JSON has it all."""
    async with working(desk.client, settings):
        requests = await parked_with(desk, 3)
    done = await _run(desk, "parked")
    assert done.code == 0
    for request in requests:
        [line] = [each for each in done.out.splitlines() if str(request.request_id) in each]
        assert "ODOO_REFUSED" in line
    assert "404" in done.out
    assert done.out.splitlines()[-1] == "3 parked"
    done = await _run(desk, "parked", "--limit", "2")
    assert done.out.splitlines()[-1] == "3 parked, 2 listed (--limit)"
    assert (await _run(desk, "parked", "--error", "ODOO_UNAVAILABLE")).out == "0 parked\n"
    listed = [json.loads(each) for each in (await _run(desk, "parked", "--json")).out.splitlines()]
    assert {each["requestId"] for each in listed} == {str(r.request_id) for r in requests}
    first = requests[0]
    [found] = [each for each in listed if each["requestId"] == str(first.request_id)]
    assert found["workflowId"] == id_of(first)
    assert found["correlationId"] == str(first.correlation_id)
    assert (found["code"], found["attempts"]) == ("ODOO_REFUSED", 1)
    assert found["since"] < found["nextTry"]


@pytest.mark.usefixtures("desk_worker")
async def test_redeliver_all_says_what_came_of_each(desk: Lab) -> None:
    """1 while Odoo refuses, 0 when it has them all; a line for each, and a summary."""
    requests = await parked_with(desk, 3)
    done = await _run(desk, "redeliver", "--all")
    assert done.code == 1
    assert done.out.splitlines()[-1] == "3 in all: 3 still parked"
    assert done.out.count("answered 404") == 3
    await desk.clear_faults()
    done = await _run(desk, "redeliver", "--all", "--error", "ODOO_REFUSED", "--rate", "50/s")
    assert done.code == 0
    assert done.out.splitlines()[-1] == "3 in all: 3 delivered"
    for request in requests:
        assert f"delivered         {request.request_id}" in done.out
        await ends(desk, request, GenerationState.COMPLETED)
        await is_delivered_once(desk, request)


@pytest.mark.usefixtures("desk_worker")
async def test_redeliver_takes_either_id_and_says_who_decided(desk: Lab) -> None:
    """Request id and workflow id, one of them twice; name and reason stand in the history."""
    first, second = await parked_with(desk, 2)
    await desk.clear_faults()
    ids = [str(first.request_id).upper(), id_of(second), id_of(second)]
    done = await _run(desk, "redeliver", *ids, "--reason", "the route is fixed")
    assert (done.code, done.out.splitlines()[-1]) == (0, "2 in all: 2 delivered")
    written = await _decisions(desk, first)
    assert getpass.getuser() in written
    assert "the route is fixed" in written


@pytest.mark.usefixtures("desk_worker")
async def test_an_unknown_id_is_4_and_one_among_others_1(desk: Lab) -> None:
    """The others are delivered all the same."""
    assert (await _run(desk, "redeliver", str(uuid4()))).code == 4
    assert (await _run(desk, "rerun", str(uuid4()))).code == 4
    assert (await _run(desk, "abandon", str(uuid4()), "--reason", "x")).code == 4
    [request] = await parked_with(desk)
    await desk.clear_faults()
    done = await _run(desk, "redeliver", str(uuid4()), id_of(request), "--by", "anna")
    assert done.code == 1
    assert done.out.splitlines()[-1] in {
        "2 in all: 1 not found, 1 delivered",
        "2 in all: 1 delivered, 1 not found",
    }
    assert "anna" in await _decisions(desk, request)


async def test_redeliver_without_a_worker_is_3(desk: Lab, settings: Settings) -> None:
    """It says so for one within some seconds, and does not go through all the others."""
    async with working(desk.client, settings):
        [request, *_] = await parked_with(desk, SILENCE + 5)
    one, every = await asyncio.gather(
        _run(desk, "redeliver", id_of(request)), _run(desk, "redeliver", "--all")
    )
    assert (one.code, every.code) == (3, 3)
    assert "no worker" in one.out
    assert every.out.splitlines()[-1] == f"{SILENCE} in all: {SILENCE} no answer"
    assert "duragen doctor" in every.err


@pytest.mark.usefixtures("desk_worker")
async def test_what_odoo_wrote_is_shown_as_it_is(desk: Lab) -> None:
    """On a line, with its brackets, and without what a terminal would obey."""
    detail = "[/bold]\n\x1b[31mred :smile: [link]"
    failure = Failure(code=ErrorCode.INTERNAL, detail="x")
    parked = Parked(
        plan=Plan(odoo=desk.stack.odoo_url),
        outcome=Outcome(failure=failure),
        trouble=DeliveryTrouble(
            code="ODOO_REFUSED", detail=detail, attempts=1, next_try="2100-01-01T00:00:00+00:00"
        ),
    )
    request = desk.request()
    await desk.client.start_workflow(
        GENERATION_WORKFLOW,
        args=[request, parked],
        id=id_of(request),
        task_queue=GENERATION_QUEUE,
    )
    await until(lambda: count_parked(desk.client), 1)
    done = await _run(desk, "parked")
    assert done.code == 0
    assert "[/bold] red :smile: [link]" in done.out
    assert "\x1b" not in done.out


@pytest.mark.usefixtures("desk_worker")
async def test_ctrl_c_says_what_was_done(desk: Lab) -> None:
    """Exit 130 with a summary; what was not begun stays parked."""
    await parked_with(desk, 5)
    await desk.clear_faults()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-u", "-m", "starter.cli", "redeliver", "--all", "--rate", "0.1"),
        env={"PATH": os.environ["PATH"], **found_by(desk)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stdout
    async with asyncio.timeout(100):
        first = await process.stdout.readline()
        process.send_signal(signal.SIGINT)
        out, err = await process.communicate()
    assert process.returncode == 130
    assert first.startswith(b"delivered")
    assert out.decode() == "1 in all: 1 delivered\n"
    assert b"Traceback" not in err
    await until(lambda: count_parked(desk.client), 4)


@pytest.mark.usefixtures("desk_worker")
async def test_abandon_gives_up_once(desk: Lab) -> None:
    """0, then 1 because it is not parked any more; who and why stay in the history."""
    [request] = await parked_with(desk)
    arguments = ("abandon", id_of(request), "--reason", "deleted in Odoo", "--by", "anna")
    done = await _run(desk, *arguments)
    assert (done.code, done.err) == (0, "")
    await ends(desk, request, GenerationState.ABANDONED)
    assert "deleted in Odoo" in await _decisions(desk, request)
    done = await _run(desk, *arguments)
    assert done.code == 1
    assert "not given up" in done.err


@pytest.mark.usefixtures("desk_worker")
@pytest.mark.parametrize(("answer", "code", "left"), [(b"n\n", 1, 1), (b"y\n", 0, 0)])
async def test_abandon_asks_at_a_terminal(desk: Lab, answer: bytes, code: int, left: int) -> None:
    """Nothing is given up unless it is confirmed."""
    [request] = await parked_with(desk)
    ours, theirs = os.openpty()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "starter.cli", "abandon", id_of(request), "--reason", "x"),
        env={"PATH": os.environ["PATH"], **found_by(desk)},
        stdin=theirs,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    os.write(ours, answer)
    out, err = await process.communicate()
    os.close(ours)
    os.close(theirs)
    assert process.returncode == code, (out, err)
    await until(lambda: count_parked(desk.client), left)


@pytest.mark.usefixtures("desk_worker")
async def test_failed_are_grouped_and_run_again(desk: Lab) -> None:
    """Counts by code, then each with its detail; after `rerun --all` nothing is left."""
    requests = await failed_with(desk, 2)
    [other] = await begun(desk, model_id="99999999-9999-4999-8999-999999999999")
    await ended(desk, other)

    async def listed() -> str:
        return (await _run(desk, "failed")).out.splitlines()[-1]

    await until(listed, "3 failed")
    lines = (await _run(desk, "failed")).out.splitlines()
    assert [each.split() for each in lines[1:3]] == [["AUTH_CONFIG", "2"], ["MODEL_CONFIG", "1"]]
    assert [each for each in lines if str(other.request_id) in each and "MODEL_CONFIG" in each]
    done = await _run(desk, "failed", "--json", "--error", "AUTH_CONFIG")
    found = [json.loads(each) for each in done.out.splitlines()]
    assert {each["requestId"] for each in found} == {str(r.request_id) for r in requests}
    assert {each["provider"] for each in found} == {"openai"}
    done = await _run(desk, "rerun", "--all", "--error", "AUTH_CONFIG", "--reason", "a new key")
    assert (done.code, done.out.splitlines()[-1]) == (0, "2 in all: 2 started again")
    for request in requests:
        await ends(desk, request, GenerationState.COMPLETED)
        assert "a new key" in await _decisions(desk, request)
        assert await runs_of(desk, request) == 2
    await until(listed, "1 failed")


@pytest.mark.usefixtures("desk_worker")
async def test_a_refused_rerun_is_1(desk: Lab) -> None:
    """With the reason beside the id."""
    [request] = await begun(desk)
    await ended(desk, request)
    done = await _run(desk, "rerun", id_of(request))
    assert done.code == 1
    assert "it is completed" in done.out
