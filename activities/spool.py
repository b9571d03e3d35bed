"""Images that are paid for, on this machine's disk until the store takes them.

One file for each, private to the worker's user: a line of JSON that says whose image it is, then
the image. A file is there wholly or not at all. Several processes may share a folder.
"""

import hashlib
import logging
import os
import shutil
import socket
import time
from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple
from uuid import UUID, uuid4

from pydantic import ValidationError

from activities.bucket import ImageId
from activities.images import MAX_IMAGE_BYTES
from activities.storage import in_thread
from contracts.generation import Model, Spooled, StoredImage
from contracts.names import GenerationId

logger = logging.getLogger(__name__)

_SUFFIX, _UNFINISHED, _LOST = ".image", ".part", ".lost"

ABANDONED_SECONDS = 3_600
"""A file that is unfinished for so long is of a process that died while it wrote."""

UNDER_WAY_BYTES = 8 * MAX_IMAGE_BYTES
"""So much is kept free of the disk while images wait: for those that are being made, a hundred of
some megabytes."""


class SpoolError(Exception):
    """The folder cannot be used, or a file in it is damaged; the text says what to do."""


class Label(Model):
    """The first line of a file: whose image it is, and what it must be."""

    request_id: UUID
    correlation_id: UUID
    digest: str
    image: StoredImage
    owner: str = ""

    @property
    def wanted(self) -> ImageId:
        """Whose image."""
        return ImageId(self.request_id, self.digest, self.image.format, self.owner)


class Held(NamedTuple):
    """How many images are waiting, and how many bytes; and how many were put aside as lost."""

    images: int
    bytes: int
    lost: int = 0


class Spool:
    """The images in one folder; work on the disk runs in the threads of `executor`.

    `max_bytes` bounds it before money is spent: what has been paid for is written beyond it.
    """

    def __init__(
        self,
        folder: Path,
        max_bytes: int,
        executor: Executor,
        *,
        under_way_bytes: int = UNDER_WAY_BYTES,
    ) -> None:
        """Make the folder where it is missing. Raises SpoolError."""
        self._under_way_bytes = under_way_bytes
        self._folder = folder
        self._max_bytes = max_bytes
        self._executor = executor
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with suppress(PermissionError):  # a volume's root is another user's; files are private
                folder.chmod(0o700)
            probe = folder / f"{uuid4()}{_UNFINISHED}"
            probe.touch(mode=0o600)
            probe.unlink()
        except OSError as error:
            raise SpoolError(
                f"images cannot be kept in {folder} ({error}): set worker.spool_dir to a folder"
                " that this user may write to"
            ) from None
        self._forget_unfinished()

    @property
    def where(self) -> str:
        """For operators: host and folder."""
        return f"{socket.gethostname()}:{self._folder}"

    async def held(self) -> Held:
        """What is waiting now."""
        return await in_thread(self._executor, self._held)

    async def has_room(self) -> bool:
        """Whether another image may be paid for: by the bound, and by what is free of the disk."""
        return await in_thread(self._executor, self._has_room)

    async def keep(self, label: Label, data: bytes) -> Spooled:
        """Write an image; it is on the disk when this returns. Raises OSError."""
        await in_thread(self._executor, lambda: self._write(label, data))
        held = await self.held()
        logger.warning(
            "an image that is paid for waits in %s: %d in all, %d bytes",
            self.where,
            held.images,
            held.bytes,
        )
        return Spooled(image=label.image, where=self.where)

    async def find(self, wanted: ImageId) -> Spooled | None:
        """The image, if an attempt before has left it here."""
        return await in_thread(self._executor, lambda: self._find(wanted))

    async def look(self, wanted: ImageId) -> tuple[Spooled | None, bool]:
        """Both `find` and `has_room`, by one turn in a thread."""
        return await in_thread(self._executor, lambda: (self._find(wanted), self._has_room()))

    async def paths(self) -> list[Path]:
        """All files, the oldest first."""
        return await in_thread(self._executor, self._paths)

    async def read(self, path: Path) -> tuple[Label, bytes] | None:
        """One file, None when it is gone. Raises SpoolError when it is damaged, else OSError."""
        return await in_thread(self._executor, lambda: _read(path))

    async def put_aside(self, path: Path) -> None:
        """Keep a file whose image is lost, for a person to look at. Raises OSError."""
        await in_thread(self._executor, lambda: path.rename(path.with_suffix(_LOST)))

    async def remove(self, path: Path) -> None:
        """Delete a file whose image is elsewhere, or is none."""
        await in_thread(self._executor, lambda: path.unlink(missing_ok=True))

    def _held(self) -> Held:
        sizes = [status.st_size for _, status in self._files(_SUFFIX)]
        return Held(len(sizes), sum(sizes), sum(1 for _ in self._files(_LOST)))

    def _has_room(self) -> bool:
        held = self._held()
        needed = self._under_way_bytes if held.images else MAX_IMAGE_BYTES
        try:
            free = shutil.disk_usage(self._folder).free
        except OSError:
            return False
        return free >= needed and held.bytes + MAX_IMAGE_BYTES <= self._max_bytes

    def _paths(self) -> list[Path]:
        ages = [(status.st_mtime_ns, path) for path, status in self._files(_SUFFIX)]
        return [path for _, path in sorted(ages)]

    def _files(self, suffix: str) -> Iterator[tuple[Path, os.stat_result]]:
        with suppress(FileNotFoundError), os.scandir(self._folder) as entries:
            for entry in entries:
                if entry.name.endswith(suffix):
                    with suppress(FileNotFoundError):  # another process has just stored it
                        yield Path(entry.path), entry.stat()

    def _forget_unfinished(self) -> None:
        for path, status in self._files(_UNFINISHED):
            if time.time() - status.st_mtime > ABANDONED_SECONDS:
                path.unlink(missing_ok=True)

    def _find(self, wanted: ImageId) -> Spooled | None:
        for path in self._folder.glob(f"{wanted.request_id}.*{_SUFFIX}"):
            with suppress(SpoolError, OSError):  # whoever stores the files says so
                found = _read(path)
                if found and found[0].wanted == wanted:
                    return Spooled(image=found[0].image, where=self.where)
        return None

    def _write(self, label: Label, data: bytes) -> None:
        owner = f".{label.owner}" if label.owner else ""
        name = f"{label.request_id}.{label.image.sha256[:16]}{owner}"
        part = self._folder / f"{name}.{uuid4()}{_UNFINISHED}"
        try:
            private = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(private, "wb") as file:
                file.write(label.model_dump_json().encode() + b"\n")
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            part.rename(self._folder / f"{name}{_SUFFIX}")
        except OSError:
            part.unlink(missing_ok=True)
            raise
        _sync_folder(self._folder)


class Named(NamedTuple):
    """What the name of a file says: whose it is, and how the image's SHA-256 begins."""

    request_id: UUID
    sha256: str
    owner: str


def named_by(path: Path) -> Named | None:
    """Which file it is by its name, which is all that is left of a damaged one."""
    request_id, _, rest = path.name.removesuffix(_SUFFIX).partition(".")
    sha256, _, owner = rest.partition(".")
    with suppress(ValueError):
        return Named(UUID(request_id), sha256, owner)
    return None


def files_of(folder: Path, generation: GenerationId) -> list[Path]:
    """All files of a generation in a spool: waiting, lost, unfinished."""
    found = folder.glob(f"{generation.request_id}.*")
    return sorted(path for path in found if _owner_of(path) == generation.owner)


def owners_in(folder: Path, request_id: UUID) -> set[str]:
    """Whose files of that requestId are in a spool."""
    return {_owner_of(path) for path in folder.glob(f"{request_id}.*")}


def _owner_of(path: Path) -> str:
    # An unfinished one has a part more, for who writes it.
    name = path.name.rsplit(".", 2 if path.suffix == _UNFINISHED else 1)[0]
    return ".".join(name.split(".")[2:])


def _read(path: Path) -> tuple[Label, bytes] | None:
    try:
        with path.open("rb") as file:
            line, data = file.readline(), file.read()
    except FileNotFoundError:
        return None
    try:
        label = Label.model_validate_json(line)
    except ValidationError:
        raise SpoolError(f"{path} is damaged: it does not say whose image it is") from None
    if hashlib.sha256(data).hexdigest() != label.image.sha256:
        raise SpoolError(f"{path} is damaged: it does not have the bytes that were written")
    return label, data


def _sync_folder(folder: Path) -> None:
    """So that the name, too, is on the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
