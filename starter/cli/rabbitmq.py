"""`duragen rabbitmq` and `duragen deadletters`: requests from a broker, and what was none."""

import asyncio
from collections.abc import AsyncIterator
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from contracts.plain import one_line
from peers.settings import SettingsError
from peers.terminal import complain, console, say, say_json, styled
from starter.cli import exits
from starter.cli.operators import JsonOption, span

if TYPE_CHECKING:
    from starter.rabbitmq.dead_letters import DeadLetter, DeadLetters, Sent


MOST_CHARACTERS = 300_000
"""Of a body that is shown: all of one that could have been started."""


class Action(StrEnum):
    """What to do with dead letters."""

    LIST = "list"
    SHOW = "show"
    REQUEUE = "requeue"
    DROP = "drop"


def rabbitmq() -> None:
    """Consume requests from RabbitMQ until SIGTERM or Ctrl-C, with the settings of duragen.toml."""
    from starter.rabbitmq.__main__ import program  # noqa: PLC0415  # aio-pika, for this one alone

    raise typer.Exit(program())


def deadletters(
    action: Annotated[
        Action, typer.Argument(help="list; show, requeue or drop the letters with these IDs.")
    ],
    ids: Annotated[list[str] | None, typer.Argument(metavar="ID", help="As `list` shows.")] = None,
    *,
    everything: Annotated[bool, typer.Option("--all", help="requeue: all of them.")] = False,
    as_json: JsonOption = False,
) -> None:
    """List, show, requeue or drop requests from RabbitMQ that started nothing.

    `requeue` sends them as requests again, when what kept them from starting is fixed; `drop`
    deletes them for ever.

    Exit code: 0 done, 1 some are still there, 2 settings, 3 no answer, 4 no such letter.
    """
    wanted = list(dict.fromkeys(ids or []))
    needs_ids = action in {Action.SHOW, Action.DROP} or (
        action is Action.REQUEUE and not everything
    )
    if needs_ids != bool(wanted) or (everything and action is not Action.REQUEUE):
        exits.complain("name letters by their ID; `list` takes none, and `requeue` also --all")
        raise typer.Exit(exits.USAGE)
    raise typer.Exit(_with_letters(action, wanted, as_json=as_json))


def _with_letters(action: Action, wanted: list[str], *, as_json: bool) -> int:
    from peers.rabbitmq import BrokerError  # noqa: PLC0415  # aio-pika, not for --help
    from starter.rabbitmq.dead_letters import dead_letters  # noqa: PLC0415
    from starter.rabbitmq.settings import RabbitSettings  # noqa: PLC0415

    async def work() -> int:
        async with dead_letters(RabbitSettings.read().rabbitmq) as letters:
            match action:
                case Action.LIST:
                    return await _list(letters, as_json=as_json)
                case Action.SHOW:
                    return await _show(letters, wanted, as_json=as_json)
                case Action.REQUEUE:
                    sent = letters.requeue(wanted or None)
                    return await _report(sent, wanted, "requeued")
                case Action.DROP:
                    return await _report(letters.drop(wanted), wanted, "dropped")

    try:
        return asyncio.run(work())
    except SettingsError as error:
        complain(error)
        return exits.USAGE
    except BrokerError as error:
        exits.complain(one_line(error))
        return exits.UNREACHABLE
    except KeyboardInterrupt:
        return exits.INTERRUPTED


async def _list(letters: "DeadLetters", *, as_json: bool) -> int:
    table, count = Table(box=None, pad_edge=False), 0
    for name in ("id", "reason", "when"):
        table.add_column(name, no_wrap=True)
    for name in ("message id", "why"):  # others' texts, of any length
        table.add_column(name, overflow="fold")
    async for each in letters.all():
        count += 1
        if as_json:
            say_json(_as_json(each))
        else:
            when = f"{span(each.at)} ago" if each.at else ""
            cells = (each.id, each.reason, when, each.message_id or "", each.detail)
            table.add_row(*(one_line(cell) for cell in cells))
    if not as_json:
        out = console()
        if count:
            out.print(table)
        out.print(f"{count} dead letters")
    return exits.DONE


async def _show(letters: "DeadLetters", wanted: list[str], *, as_json: bool) -> int:
    shown: set[str] = set()
    async for each in letters.all():
        if each.id not in wanted or each.id in shown:
            continue
        shown.add(each.id)
        if as_json:
            say_json(_as_json(each) | {"body": each.body.decode("utf-8", "replace")}, indent=2)
            continue
        say(f"{each.id}  {each.reason}: {one_line(each.detail)}")
        for name, value in _as_json(each).items():
            say(f"  {name:14} {one_line(value)}")
        # On one line: a break in it could forge another letter.
        body = one_line(each.body.decode("utf-8", "replace"), MOST_CHARACTERS)
        say(f"  {'body':14} {body}", most=2 * MOST_CHARACTERS)
    return _missing(set(wanted) - shown)


async def _report(sent: "AsyncIterator[Sent]", wanted: list[str], done: str) -> int:
    out, found, left = console(), set[str](), 0
    async for each in sent:
        found.add(each.letter.id)
        left += bool(each.trouble)
        result = styled("not taken", "yellow") if each.trouble else styled(done, "green")
        out.print(result, one_line(f"{each.letter.id} {each.trouble}"), soft_wrap=True)
    out.print(f"{len(found)} in all, {left} of them still there")
    return _missing(set(wanted) - found) or (exits.FAILED if left else exits.DONE)


def _missing(ids: set[str]) -> int:
    for each in sorted(ids):
        exits.complain(f"there is no dead letter {one_line(each)[:80]}; `deadletters list` has all")
    return exits.NOT_FOUND if ids else exits.DONE


def _as_json(each: "DeadLetter") -> dict[str, Any]:
    return {
        "id": each.id,
        "reason": each.reason,
        "detail": each.detail,
        "messageId": each.message_id,
        "correlationId": each.correlation_id,
        "routingKey": each.routing_key,
        "at": each.at.isoformat(timespec="seconds") if each.at else None,
        "headers": {str(name): one_line(value) for name, value in each.headers.items()},
        "bytes": len(each.body),
    }
