"""The local stack keeps to itself what it stores: files, folders, and every port it opens."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import httpx
import psutil
import pytest

from deploy.local.commands.welcome import welcome
from deploy.local.stack.config import BUCKET
from deploy.local.stack.local_stack import LocalStack

KEY = "generations/3f0c7f3e-6d0b-4a86-9a0e-0d6a3c1b5a01.png"
IMAGE = b"\x89PNG the bytes of somebody's image" * 1_000


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    """All parts, with an image in the store; this process makes files that all may read."""
    before = os.umask(0o022)
    try:
        with LocalStack(tmp_path_factory.mktemp("private") / "home") as stack:
            s3(stack).put_object(Bucket=BUCKET, Key=KEY, Body=IMAGE)
            yield stack
    finally:
        os.umask(before)


def s3(stack: LocalStack) -> Any:
    """The store, with the key."""
    return boto3.client(
        "s3",
        endpoint_url=stack.s3_url,
        region_name="us-east-1",
        aws_access_key_id=stack.secrets.s3_access_key,
        aws_secret_access_key=stack.secrets.s3_secret_key,
    )


def listening(stack: LocalStack) -> dict[int, str]:
    """Every port that a process of the stack listens on, with its part."""
    found = {}
    for part in stack.parts:
        parent = psutil.Process(stack.supervisor(part).pid)
        for process in (parent, *parent.children(recursive=True)):
            for connection in process.net_connections("inet"):
                if connection.status == psutil.CONN_LISTEN:
                    found[connection.laddr.port] = part
    return found


def test_files_are_their_owners_alone(whole: LocalStack) -> None:
    """Nobody else reads a file, or looks into a folder, of all that the stack has written."""
    home = whole.home
    paths = [home, *home.rglob("*")]
    written = {str(path.relative_to(home)) for path in paths}
    assert {"duragen.toml", "secrets.json", "ports.json", "logs/worker.log"} <= written
    opened = {
        str(path.relative_to(home)): oct(mode)
        for path in paths
        if (mode := stat.S_IMODE(path.lstat().st_mode)) & 0o077
        # The store gives these this mode itself: the version of a volume, in a closed folder.
        and path.suffix != ".vif"
    }
    assert opened == {}


def test_a_folder_that_was_open_is_closed(tmp_path: Path) -> None:
    """One that an earlier version, or somebody by hand, has made can no longer be looked into."""
    home = tmp_path / "home"
    (home / "logs").mkdir(parents=True, mode=0o755)
    with LocalStack(home, ("odoo",)):
        for folder in (home, home / "logs"):
            assert stat.S_IMODE(folder.stat().st_mode) & 0o066 == 0


def test_no_port_gives_an_image_away(whole: LocalStack) -> None:
    """Without the key, no port of any part has the image, or its name in a list."""
    ports = listening(whole)
    assert set(ports.values()) == set(whole.parts)
    tried = 0
    with httpx.Client(trust_env=False, timeout=10) as client:
        for port in ports:
            for path in (f"/buckets/{BUCKET}/{KEY}", f"/{BUCKET}/{KEY}", f"/{KEY}"):
                for asked in (path, f"{path}?metadata=true", f"{path.rpartition('/')[0]}/"):
                    try:
                        answer = client.get(f"http://127.0.0.1:{port}{asked}")
                    except httpx.RemoteProtocolError:
                        continue  # it speaks gRPC
                    tried += 1
                    assert IMAGE[:20] not in answer.content, (ports[port], asked)
                    # An error may name what was asked for; a list must not name it.
                    if asked.endswith("/"):
                        assert b"3f0c7f3e" not in answer.content, (ports[port], asked)
    assert tried > 50
    # It is there all the same.
    assert s3(whole).get_object(Bucket=BUCKET, Key=KEY)["Body"].read() == IMAGE


def test_nothing_is_written_without_the_key(whole: LocalStack) -> None:
    """Neither is an image replaced or removed at a port that is not the S3 API's."""
    for port in listening(whole):
        for method in ("PUT", "POST", "DELETE"):
            for path in (f"/buckets/{BUCKET}/{KEY}", f"/{BUCKET}/{KEY}"):
                try:
                    url = f"http://127.0.0.1:{port}{path}"
                    httpx.request(method, url, content=b"other", trust_env=False, timeout=10)
                except httpx.RemoteProtocolError:
                    continue  # it speaks gRPC
    assert s3(whole).get_object(Bucket=BUCKET, Key=KEY)["Body"].read() == IMAGE


def test_the_welcome_says_whom_it_is_for(whole: LocalStack) -> None:
    """Whoever starts it reads that it is for one person's machine."""
    assert "for one person's machine" in welcome(whole)
