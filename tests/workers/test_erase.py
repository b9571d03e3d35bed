"""`duragen erase`: what it removes, what it refuses, and what it says of the rest."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID, uuid4

import pytest
from temporalio.client import Client, WorkflowFailureError
from temporalio.service import RPCError

from activities.bucket import Bucket
from contracts.events import GenerationRequested
from contracts.generation import GenerationState
from contracts.names import GenerationId, erased_key, image_key, images_prefix, workflow_id
from contracts.tasks import DeliveryDecision
from deploy.local.stack.config import BUCKET
from deploy.local.stack.local_stack import LocalStack
from peers.store import s3_client
from starter.client import AsyncDuragenClient
from starter.operations.bulk import these
from starter.operations.rerun import Target, rerun
from tests.activities.http_peer import refusing_url
from tests.lab import Lab, working
from tests.workers.worker_process import Ended, environment, run
from workers.erase.erasing import Eraser
from workers.settings import Settings
from workers.store_wiring import bucket_of

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

ERASE = ("-c", "from starter.cli import main; main()", "erase")


@pytest.fixture
def s3(settings: Settings) -> "S3Client":
    """Of the store, to look behind the command."""
    return s3_client(settings.storage)


@pytest.fixture
async def spooling(lab: Lab, settings: Settings, tmp_path: Path) -> AsyncIterator[Path]:
    """A worker in this process; where its spool is."""
    folder = tmp_path / "spool"
    process = settings.worker.model_copy(update={"spool_dir": folder})
    async with working(lab.client, settings.model_copy(update={"worker": process})):
        yield folder


async def erase(stack: LocalStack, *arguments: object, spool: Path, **more: str) -> Ended:
    """Run the command on the machine whose spool this is."""
    env = environment(stack, DURAGEN_WORKER__SPOOL_DIR=str(spool), **more)
    return await run(*ERASE, *map(str, arguments), env=env)


def keys_of(s3: "S3Client", request_id: UUID) -> list[str]:
    """Of all objects that have to do with a request."""
    listed = s3.list_objects_v2(Bucket=BUCKET, Prefix=images_prefix(request_id))
    return [each["Key"] for each in listed.get("Contents", [])]


async def started(lab: Lab, **changes: object) -> GenerationRequested:
    """As Odoo starts one, with its search attributes."""
    request = lab.request(**changes)
    client = AsyncDuragenClient(lab.stack.temporal_address)
    await client.start(request.model_dump(mode="json", by_alias=True, exclude_none=True))
    return request


async def completed(lab: Lab, **changes: object) -> GenerationRequested:
    """One that has ended with an image."""
    request = await started(lab, **changes)
    async with asyncio.timeout(100):
        await lab.client.get_workflow_handle(workflow_id(request.request_id)).result()
    return request


async def completed_by(lab: Lab, owner: str, request: GenerationRequested) -> str:
    """One that the owner of a gateway's key has started; its workflow's id."""
    client = AsyncDuragenClient(lab.stack.temporal_address)
    event = request.model_dump(mode="json", by_alias=True, exclude_none=True)
    started = await client.start(event, owner=owner)
    async with asyncio.timeout(100):
        await lab.client.get_workflow_handle(started.workflow_id).result()
    return started.workflow_id


async def known(client: Client, request: GenerationRequested) -> bool:
    """Whether Temporal has it."""
    try:
        await client.get_workflow_handle(workflow_id(request.request_id)).describe()
    except RPCError:
        return False
    return True


async def test_it_looks_first_and_removes_then(lab: Lab, spooling: Path, s3: "S3Client") -> None:
    """Without --yes nothing changes; with it history and image go; again, and nothing is there."""
    request = await completed(lab)
    image = image_key(request.request_id, "png")
    looked = await erase(lab.stack, request.request_id, spool=spooling)
    assert looked.code == 0
    assert f"found     store     {image}" in looked.out
    assert "(completed)" in looked.out
    assert "Nothing was removed" in looked.out
    assert keys_of(s3, request.request_id) == [image]
    assert await known(lab.client, request)

    done = await erase(lab.stack, workflow_id(request.request_id), "--yes", spool=spooling)
    assert (done.code, done.err) == (0, "")
    assert f"removed   store     {image}" in done.out
    assert "removed   history   run" in done.out
    for place in ("Odoo", "provider-health-", "Alertmanager", "kubectl delete job", "traces"):
        assert place in done.out  # what it does not reach
    assert keys_of(s3, request.request_id) == [erased_key(request.request_id)]
    assert not await known(lab.client, request)

    again = await erase(lab.stack, request.request_id, "--yes", spool=spooling)
    assert again.code == 0
    assert "nothing is kept here" in again.out
    assert "removed " not in again.out


async def test_a_users_generations_go_and_no_other(
    lab: Lab, spooling: Path, s3: "S3Client"
) -> None:
    """All that Temporal lists under the user id; where owners share one, of the named owner."""
    user = uuid4()
    mine = [await completed(lab, user_id=user) for _ in range(2)]
    other = await completed(lab)
    tenants = lab.request(user_id=user)
    theirs = await completed_by(lab, "tenant", tenants)
    both = await erase(lab.stack, "--user", user, "--yes", spool=spooling)
    assert both.code == 1
    assert f"duragen erase --user {user} --owner tenant" in both.out
    assert f"duragen erase --user {user} --owner ''" in both.out
    assert "removed " not in both.out
    assert all([await known(lab.client, request) for request in mine])
    done = await erase(lab.stack, "--user", user, "--owner", "", "--yes", spool=spooling)
    assert done.code == 0
    for request in mine:
        assert not await known(lab.client, request)
        assert keys_of(s3, request.request_id) == [erased_key(request.request_id)]
    assert await known(lab.client, other)
    assert keys_of(s3, other.request_id) == [image_key(other.request_id, "png")]
    assert await lab.client.get_workflow_handle(theirs).describe()


async def test_a_request_of_several_owners_goes_of_one_that_is_named(
    lab: Lab, spooling: Path, s3: "S3Client"
) -> None:
    """History, image and files: owners have their requestIds each for themselves."""
    request = lab.request()
    mine, other = [await completed_by(lab, owner, request) for owner in ("mine", "other")]
    for owner in ("mine", "other"):
        (spooling / f"{request.request_id}.ab.{owner}.lost").write_bytes(b"pixels")
    bare = await erase(lab.stack, request.request_id, "--yes", spool=spooling)
    assert bare.code == 1
    for owner in ("mine", "other"):
        assert f"duragen erase {request.request_id} --owner {owner}" in bare.out
    assert "removed " not in bare.out

    done = await erase(lab.stack, mine, "--yes", spool=spooling)
    assert done.code == 0
    with pytest.raises(RPCError):
        await lab.client.get_workflow_handle(mine).describe()
    assert await lab.client.get_workflow_handle(other).describe()
    listed = s3.list_objects_v2(Bucket=BUCKET, Prefix="generations/")["Contents"]
    keys = {each["Key"] for each in listed if str(request.request_id) in each["Key"]}
    assert keys == {
        erased_key(request.request_id, "mine"),
        image_key(request.request_id, "png", "other"),
    }
    assert [path.name for path in spooling.iterdir()] == [f"{request.request_id}.ab.other.lost"]

    rest = await erase(lab.stack, request.request_id, "--yes", spool=spooling)
    assert rest.code == 0
    assert rest.out.startswith(f"{other}\n")
    with pytest.raises(RPCError):
        await lab.client.get_workflow_handle(other).describe()
    assert list(spooling.iterdir()) == []


async def test_an_owner_is_found_by_what_is_left(
    lab: Lab, settings: Settings, s3: "S3Client", tmp_path: Path
) -> None:
    """Temporal has forgotten it: its image is in the store, or a file on this disk."""
    request_id = uuid4()
    bucket = bucket_of(settings.storage)
    assert await Eraser(lab.client, bucket, tmp_path).of_request(request_id) == []
    s3.put_object(Bucket=BUCKET, Key=image_key(request_id, "png", "in-store"), Body=b"pixels")
    (tmp_path / f"{request_id}.ab.on-disk.lost").write_bytes(b"pixels")
    (tmp_path / f"{request_id}.cd.lost").write_bytes(b"pixels")
    found = await Eraser(lab.client, bucket, tmp_path).of_request(request_id)
    assert [each.owner for each in found] == ["", "in-store", "on-disk"]


async def test_every_run_of_a_generation_goes(lab: Lab, spooling: Path) -> None:
    """One that failed and was run again has two histories with the prompt in each."""
    await lab.break_images({"kind": "status", "status": 401})
    request = await started(lab)
    handle = lab.client.get_workflow_handle(workflow_id(request.request_id))
    with pytest.raises(WorkflowFailureError):
        await handle.result()
    decision = DeliveryDecision(by="a test", reason="again")
    assert [each async for each in rerun(lab.client, these([Target(handle.id)]), decision)]
    async with asyncio.timeout(100):
        await handle.result()
    done = await erase(lab.stack, request.request_id, "--yes", spool=spooling)
    assert done.code == 0
    assert done.out.count("removed   history   run") == 2
    listed = [each async for each in lab.client.list_workflows(f"WorkflowId = '{handle.id}'")]
    assert listed == []


async def test_what_runs_is_refused_unless_it_is_to_be_canceled(lab: Lab, spooling: Path) -> None:
    """A paid call may be under way: nothing goes. With --cancel it ends first."""
    await lab.break_images({"kind": "hang"})
    request = await started(lab)
    handle = lab.client.get_workflow_handle(workflow_id(request.request_id))
    await lab.reaches(handle, GenerationState.GENERATING)
    refused = await erase(lab.stack, request.request_id, "--yes", spool=spooling)
    assert refused.code == 1
    assert "still runs" in refused.out
    assert await known(lab.client, request)
    done = await erase(lab.stack, request.request_id, "--yes", "--cancel", spool=spooling)
    assert done.code == 0
    assert not await known(lab.client, request)


async def test_one_that_goes_on_after_its_cancellation_stays(
    lab: Lab, settings: Settings, spooling: Path
) -> None:
    """A parked outcome waits for Odoo, and an operator decides about that first."""
    await lab.break_odoo(status=404)
    request = await started(lab)
    handle = lab.client.get_workflow_handle(workflow_id(request.request_id))
    await lab.reaches(handle, GenerationState.PARKED)
    eraser = Eraser(lab.client, bucket_of(settings.storage), spooling)
    assert not await eraser.cancel(GenerationId(request.request_id), seconds=0.5)
    assert (await eraser.look(GenerationId(request.request_id))).running
    await handle.terminate("seen")


async def test_an_image_on_the_disk_goes_too(lab: Lab, spooling: Path) -> None:
    """Files of this request alone: waiting, put aside as lost, unfinished."""
    request = await completed(lab)
    mine = [spooling / f"{request.request_id}.ab.{end}" for end in ("lost", "part")]
    other = spooling / f"{uuid4()}.ab.lost"
    for path in (*mine, other):
        path.write_bytes(b"pixels")
    done = await erase(lab.stack, request.request_id, "--yes", spool=spooling)
    assert done.code == 0
    assert [path for path in (*mine, other) if path.exists()] == [other]
    for path in mine:
        assert f"removed   spool     {path}" in done.out


async def test_without_the_store_the_history_stays(lab: Lab, spooling: Path) -> None:
    """So that the generation is still found by its user when the command runs again."""
    request = await completed(lab)
    away = {"DURAGEN_STORAGE__ENDPOINT_URL": refusing_url()}
    done = await erase(lab.stack, request.request_id, "--yes", spool=spooling, **away)
    assert done.code == 1
    assert "run it again" in done.out
    assert await known(lab.client, request)


async def test_old_versions_go_as_well(settings: Settings, s3: "S3Client") -> None:
    """In a bucket that keeps versions, deleting alone would leave the image there."""
    name, request_id = f"versioned-{uuid4()}", uuid4()
    s3.create_bucket(Bucket=name)
    s3.put_object(Bucket=name, Key=image_key(request_id, "webp"), Body=b"before there were any")
    s3.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    bucket: Bucket = bucket_of(settings.storage.model_copy(update={"bucket": name}))
    for body in (b"first", b"second"):
        s3.put_object(Bucket=name, Key=image_key(request_id, "png"), Body=body)
    removed = await asyncio.to_thread(bucket.erase, GenerationId(request_id))
    assert len([each for each in removed if "version" in each]) >= 2
    listed = s3.list_object_versions(Bucket=name, Prefix=images_prefix(request_id))
    assert {each["Key"] for each in listed["Versions"]} == {erased_key(request_id)}
    assert not listed.get("DeleteMarkers")
    assert bucket.objects_of(GenerationId(request_id)) == []


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        (uuid4(), "--user", uuid4()),
        ("no-id",),
        ("--user", "me' OR '1'='1"),
        (uuid4(), "--owner", "Mine/.."),
        (workflow_id(uuid4(), "mine"), "--owner", "other"),
    ],
)
async def test_wrong_usage_removes_nothing(
    stack: LocalStack, tmp_path: Path, arguments: tuple[object, ...]
) -> None:
    """Exit 2; what is no UUID never comes into a query."""
    done = await erase(stack, *arguments, "--yes", spool=tmp_path / "spool")
    assert done.code == 2
    assert "Traceback" not in done.err
