"""The command `duragen erase`."""

import asyncio
from typing import Annotated, NoReturn
from uuid import UUID

import typer
from temporalio.service import RPCError

from activities.s3 import StoreError
from contracts.names import GenerationId, generation_id, workflow_id
from contracts.plain import one_line, plain
from peers.settings import EXIT_SETTINGS, SettingsError
from peers.temporal import connect, target
from peers.terminal import complain, say
from workers.erase.erasing import CLOSE_SECONDS, Eraser
from workers.settings import Settings
from workers.store_wiring import bucket_of

EXIT_LEFT, EXIT_USAGE, EXIT_UNREACHABLE = 1, EXIT_SETTINGS, 3

NOT_REACHED = """\
Not reached by this command, see docs/personal-data.md:
  Odoo      the request with its words and its image; Erase on its form, or action_erase_words
  disks     of other workers: an image that waits there is deleted, not stored, when they next try;
            images that were put aside there as lost stay
  others    backups of these servers, logs and traces, the image service, who was notified"""


def erase(
    ids: Annotated[
        list[str] | None,
        typer.Argument(metavar="ID", help="Request ids, or workflow ids (generation-...)."),
    ] = None,
    user: Annotated[
        str | None, typer.Option(metavar="USER_ID", help="All generations of this user.")
    ] = None,
    yes: Annotated[
        bool, typer.Option("--yes", help="Do it; without, it is only said what would go.")
    ] = False,
    cancel: Annotated[
        bool, typer.Option("--cancel", help="Cancel what still runs; without, it is refused.")
    ] = False,
) -> None:
    """Remove what is kept of a generation: history, image, spool file. Nothing without --yes.

    Exit 0 when nothing is left, 1 when something is, 2 for usage and settings, 3 when Temporal
    cannot be reached.
    """
    if bool(ids) == bool(user):
        _stop("name generations, or a user: see duragen erase --help", EXIT_USAGE)
    named = [_generation(text) for text in ids or []]
    user_id = _uuid(user) if user else None
    try:
        settings = Settings.read()
        left = asyncio.run(_erase_all(settings, named, user_id, yes=yes, cancel=cancel))
    except typer.Exit:  # a RuntimeError by descent
        raise
    except SettingsError as error:
        _stop(str(error), EXIT_SETTINGS)
    except RPCError as error:
        _stop(f"Temporal at {target()}: {one_line(error.message)}", EXIT_UNREACHABLE)
    except RuntimeError as error:
        _stop(f"Temporal at {target()} cannot be reached: {one_line(error)}", EXIT_UNREACHABLE)
    raise typer.Exit(EXIT_LEFT if left else 0)


async def _erase_all(
    settings: Settings, named: list[GenerationId], user_id: UUID | None, *, yes: bool, cancel: bool
) -> int:
    """How many are left."""
    process = settings.worker
    bucket = bucket_of(settings.storage, use_proxies=process.use_proxies)
    eraser = Eraser(await connect(), bucket, process.spool_dir)
    # Listed before anything goes: the list would move below our feet.
    found = [each async for each in eraser.of_user(user_id)] if user_id else named
    left = 0
    for generation in dict.fromkeys(found):
        try:
            left += not await _erase_one(eraser, generation, yes=yes, cancel=cancel)
        except (StoreError, OSError) as error:  # a TimeoutError is one
            left += 1
            why = one_line(error) or "the server has not deleted it yet"
            say(f"  LEFT      {why}; run it again")
    if user_id and not found:
        say("Temporal has no generation of this user; for older ones, take the ids from Odoo")
    say(NOT_REACHED)
    if found and not yes:
        say("Nothing was removed: this was a look. Say --yes to remove it.")
    return left if yes else 0


async def _erase_one(eraser: Eraser, generation: GenerationId, *, yes: bool, cancel: bool) -> bool:
    """Whether nothing is in the way."""
    kept = await eraser.look(generation)
    say(f"{workflow_id(*generation)}")
    if yes and cancel and kept.running:
        if not await eraser.cancel(generation):
            say(
                f"  LEFT      it goes on {CLOSE_SECONDS:.0f} s after its cancellation; if it is"
                " parked, `duragen redeliver` or `duragen abandon` it first"
            )
            return False
        kept = await eraser.look(generation)
    for line in kept.lines():
        say(f"  {'found' if not yes else 'had'}     {plain(line)}")
    if kept.running:
        say("  LEFT      it still runs: say --cancel, or wait for its end")
        return False
    if not kept.lines():
        say("  nothing is kept here")
    if yes:
        for line in await eraser.erase(kept):
            say(f"  removed   {plain(line)}")
    return True


def _generation(text: str) -> GenerationId:
    try:
        return generation_id(text)
    except ValueError:
        return GenerationId(_uuid(text))


def _uuid(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        _stop(f"{text[:80]!a} is not an id", EXIT_USAGE)


def _stop(message: str, code: int) -> NoReturn:
    complain(f"duragen: {message}")
    raise typer.Exit(code)
