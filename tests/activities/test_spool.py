"""Images on the worker's disk: private, whole or not at all, bounded, counted."""

import hashlib
import os
import shutil
import stat
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import uuid4

import pytest

from activities.bucket import ImageId
from activities.images import MAX_IMAGE_BYTES
from activities.spool import Held, Label, Spool, SpoolError
from contracts.generation import Spooled, StoredImage


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Not there yet."""
    return tmp_path / "state" / "spool"


@pytest.fixture
def spool(folder: Path, threads: ThreadPoolExecutor) -> Spool:
    """An empty one."""
    return Spool(folder, 10 * MAX_IMAGE_BYTES, threads)


def label(data: bytes, image_format: str = "png") -> Label:
    """Whose image `data` is."""
    request_id = uuid4()
    image = StoredImage(
        key=f"generations/{request_id}.{image_format}",
        format=image_format,
        size=len(data),
        width=128,
        height=96,
        sha256=hashlib.sha256(data).hexdigest(),
    )
    return Label(request_id=request_id, correlation_id=uuid4(), digest="0" * 64, image=image)


async def test_written_and_read(spool: Spool, picture: bytes) -> None:
    """An image comes back as it was, with whose it is; and is gone when it is removed."""
    whose = label(picture)
    assert await spool.keep(whose, picture) == Spooled(image=whose.image, where=spool.where)
    [path] = await spool.paths()
    assert await spool.read(path) == (whose, picture)
    assert (await spool.held()).images == 1
    await spool.remove(path)
    await spool.remove(path)  # by another process, too
    assert await spool.read(path) is None
    assert await spool.held() == Held(0, 0)


async def test_private(spool: Spool, folder: Path, picture: bytes) -> None:
    """Nobody else on the machine reads images: folder and files are the user's alone."""
    await spool.keep(label(picture), picture)
    [path] = await spool.paths()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


async def test_folder_that_others_could_read(
    folder: Path, threads: ThreadPoolExecutor, picture: bytes
) -> None:
    """A folder that was there before becomes private as well."""
    folder.mkdir(parents=True, mode=0o755)
    Spool(folder, MAX_IMAGE_BYTES, threads)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


async def test_another_process(
    spool: Spool, folder: Path, threads: ThreadPoolExecutor, picture: bytes
) -> None:
    """What one process has left another one finds, the oldest first, also after a restart."""
    first, second = label(picture), label(b"another", "webp")
    await spool.keep(first, picture)
    await spool.keep(second, b"another")
    later = Spool(folder, MAX_IMAGE_BYTES, threads)
    read = [await later.read(path) for path in await later.paths()]
    assert [each and each[0] for each in read] == [first, second]
    assert await later.find(first.wanted) == Spooled(image=first.image, where=later.where)


async def test_found_by_what_was_asked(spool: Spool, picture: bytes) -> None:
    """Another request under the same id, or another format, is another image."""
    whose = label(picture)
    await spool.keep(whose, picture)
    others = (
        ImageId(whose.request_id, "1" * 64, "png"),
        ImageId(whose.request_id, whose.digest, "webp"),
        ImageId(uuid4(), whose.digest, "png"),
    )
    assert [await spool.find(other) for other in others] == [None] * 3


@pytest.mark.parametrize("keep", [0, 20, -1], ids=["nothing", "a piece", "all but a byte"])
async def test_damaged(spool: Spool, picture: bytes, keep: int) -> None:
    """A file that lost its end is never taken for an image; it is put aside, and counts no more."""
    whose = label(picture)
    await spool.keep(whose, picture)
    [path] = await spool.paths()
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(SpoolError, match="is damaged"):
        await spool.read(path)
    assert await spool.find(whose.wanted) is None
    await spool.put_aside(path)
    assert await spool.paths() == []
    assert await spool.held() == Held(0, 0, lost=1)
    assert path.with_suffix(".lost").exists()


async def test_unfinished_file(spool: Spool, folder: Path, threads: ThreadPoolExecutor) -> None:
    """What a process that died was writing is no image; the next one to start deletes it."""
    fresh, old = (folder / f"{uuid4()}.0123456789abcdef.part" for _ in range(2))
    for each in (fresh, old):
        each.write_bytes(b"half")
    os.utime(old, (0, 0))
    assert await spool.paths() == []
    Spool(folder, MAX_IMAGE_BYTES, threads)
    assert list(folder.iterdir()) == [fresh]


async def test_file_that_cannot_be_read_now(spool: Spool, picture: bytes) -> None:
    """That is no damage, as a disk that is away for a moment is none."""
    whose = label(picture)
    await spool.keep(whose, picture)
    [path] = await spool.paths()
    path.unlink()
    path.mkdir()  # root may read any file
    with pytest.raises(IsADirectoryError):
        await spool.read(path)
    assert await spool.find(whose.wanted) is None


async def test_full_disk(folder: Path, threads: ThreadPoolExecutor, picture: bytes) -> None:
    """Images that wait need room for those that are being made: on the disk, whatever the bound."""
    whole_disk = shutil.disk_usage(folder.parents[1]).total
    spool = Spool(folder, 10 * MAX_IMAGE_BYTES, threads, under_way_bytes=whole_disk)
    assert await spool.has_room()
    await spool.keep(label(picture), picture)
    assert not await spool.has_room()


@pytest.mark.skipif(os.geteuid() != 0, reason="to be another user for a moment takes root")
def test_folder_of_another_user() -> None:
    """A volume's root may belong to somebody else, and be ours to write to."""
    with tempfile.TemporaryDirectory() as room, ThreadPoolExecutor(1) as threads:
        Path(room).chmod(0o755)
        folder = Path(room) / "volume"
        folder.mkdir()
        folder.chmod(0o777)
        os.seteuid(65_534)  # nobody
        try:
            Spool(folder, MAX_IMAGE_BYTES, threads)
        finally:
            os.seteuid(0)
        assert list(folder.iterdir()) == []


async def test_bound(folder: Path, threads: ThreadPoolExecutor, picture: bytes) -> None:
    """No further image may be paid for when the largest one would not fit; what is paid is kept."""
    size = len(picture) + 1_000
    tight = Spool(folder, MAX_IMAGE_BYTES + size, threads)
    await tight.keep(label(picture), picture)
    assert await tight.has_room()
    await tight.keep(label(picture), picture)
    assert not await tight.has_room()
    await tight.keep(label(picture), picture)
    assert (await tight.held()).images == 3


async def test_folder_that_cannot_be(tmp_path: Path, threads: ThreadPoolExecutor) -> None:
    """A worker that could keep no image does not start: the setting is named."""
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(SpoolError, match=r"worker\.spool_dir"):
        Spool(file / "spool", MAX_IMAGE_BYTES, threads)
