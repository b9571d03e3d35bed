"""The command `duragen erase`."""

import asyncio
import re
import shlex
from typing import Annotated, NamedTuple, NoReturn
from uuid import UUID

import typer
from temporalio.service import RPCError

from activities.s3 import StoreError
from contracts.names import OWNER_PATTERN, GenerationId, generation_id, workflow_id
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
  health    the last error texts in the workflows provider-health-... and odoo-health-..., and the
            alerts made of them in Alertmanager: an image service may have quoted a prompt
  Jobs      on Kubernetes, with the prompt, until their time is over: kubectl delete job -l
            duragen.io/request-id=REQUEST_ID
  others    backups of these servers, logs, the traces' backend, the image service, who was
            notified"""


class Asked(NamedTuple):
    """What is to go."""

    generations: list[GenerationId]
    """Named with their owners."""
    requests: list[UUID]
    """Named without."""
    user: UUID | None
    owner: str | None
    """Whose of them alone; "" is a client with direct access to Temporal, None anyone."""


def erase(
    ids: Annotated[
        list[str] | None,
        typer.Argument(metavar="ID", help="Request ids, or workflow ids (generation-...[.OWNER])."),
    ] = None,
    user: Annotated[
        str | None, typer.Option(metavar="USER_ID", help="All generations of this user.")
    ] = None,
    owner: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Of this owner at the gateway; '': of direct clients."),
    ] = None,
    yes: Annotated[
        bool, typer.Option("--yes", help="Do it; without, it is only said what would go.")
    ] = False,
    cancel: Annotated[
        bool, typer.Option("--cancel", help="Cancel what still runs; without, it is refused.")
    ] = False,
) -> None:
    """Remove what is kept of a generation: history, image, spool file. Nothing without --yes.

    Where several owners have the same request id, or user id, one is to be named. Exit 0 when
    nothing is left, 1 when something is, 2 for usage and settings, 3 when Temporal cannot be
    reached.
    """
    if bool(ids) == bool(user):
        _stop("name generations, or a user: see duragen erase --help", EXIT_USAGE)
    asked = _asked(ids or [], user, owner)
    try:
        settings = Settings.read()
        left = asyncio.run(_erase_all(settings, asked, yes=yes, cancel=cancel))
    except typer.Exit:  # a RuntimeError by descent
        raise
    except SettingsError as error:
        _stop(str(error), EXIT_SETTINGS)
    except RPCError as error:
        _stop(f"Temporal at {target()}: {one_line(error.message)}", EXIT_UNREACHABLE)
    except RuntimeError as error:
        _stop(f"Temporal at {target()} cannot be reached: {one_line(error)}", EXIT_UNREACHABLE)
    raise typer.Exit(EXIT_LEFT if left else 0)


async def _erase_all(settings: Settings, asked: Asked, *, yes: bool, cancel: bool) -> int:
    """How many are left."""
    process = settings.worker
    bucket = bucket_of(settings.storage, use_proxies=process.use_proxies)
    eraser = Eraser(await connect(), bucket, process.spool_dir)
    left = 0
    try:  # listed before anything goes: the list would move below our feet
        found, unclear = await _found(eraser, asked)
    except StoreError as error:
        say(f"LEFT: whose they are is not known: {one_line(error)}; run it again")
        return 1
    for argument, those in unclear:
        left += 1
        _name_owners(argument, those)
    for generation in dict.fromkeys(found):
        try:
            left += not await _erase_one(eraser, generation, yes=yes, cancel=cancel)
        except (StoreError, OSError) as error:  # a TimeoutError is one
            left += 1
            why = one_line(error) or "the server has not deleted it yet"
            say(f"  LEFT      {why}; run it again")
    if asked.user and not found and not unclear:
        say("Temporal has no such generation of this user; for older ones, take the ids from Odoo")
    say(NOT_REACHED)
    if found and not yes:
        say("Nothing was removed: this was a look. Say --yes to remove it.")
    return left if yes else len(unclear)


async def _found(
    eraser: Eraser, asked: Asked
) -> tuple[list[GenerationId], list[tuple[str, list[GenerationId]]]]:
    """What was asked for; and of which arguments that is not clear: several owners have such."""
    found, unclear = list(asked.generations), []
    for request_id in asked.requests:
        if asked.owner is not None:
            found.append(GenerationId(request_id, asked.owner))
            continue
        those = await eraser.of_request(request_id)
        if len(those) > 1:
            unclear.append((str(request_id), those))
        else:
            found += those or [GenerationId(request_id)]
    if asked.user:
        those = await eraser.of_user(asked.user)
        if asked.owner is None and len({each.owner for each in those}) > 1:
            unclear.append((f"--user {asked.user}", those))
        else:
            found += [each for each in those if asked.owner in {None, each.owner}]
    return found, unclear


def _name_owners(argument: str, those: list[GenerationId]) -> None:
    """Ids are callers' words: what one owner asks for must not take away what another one has."""
    for generation in those:
        say(workflow_id(*generation))
    say(f"Several owners have {argument}, so nothing of it is removed. Name one:")
    for owner in sorted({each.owner for each in those}):
        say(f"  duragen erase {argument} --owner {shlex.quote(owner)}")


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


def _asked(ids: list[str], user: str | None, owner: str | None) -> Asked:
    """The command line's words; ends the process when they are wrong."""
    if owner and not re.fullmatch(OWNER_PATTERN, owner):
        _stop(f"{owner[:80]!a} is not the name of an owner", EXIT_USAGE)
    asked = Asked([], [], _uuid(user) if user else None, owner)
    for text in ids:
        try:
            asked.generations.append(generation_id(text))
        except ValueError:
            asked.requests.append(_uuid(text))
    for each in asked.generations:
        if owner not in {None, each.owner}:
            _stop(f"{workflow_id(*each)} is not of the owner {owner!a}", EXIT_USAGE)
    return asked


def _uuid(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        _stop(f"{text[:80]!a} is not an id", EXIT_USAGE)


def _stop(message: str, code: int) -> NoReturn:
    complain(f"duragen: {message}")
    raise typer.Exit(code)
