"""What the operators' commands share: options, the way to Temporal, a line per item, a summary."""

import asyncio
import getpass
import re
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, NoReturn, Protocol, TypeVar

import typer
from rich.console import Console
from rich.text import Text

from contracts.plain import one_line
from peers.terminal import styled
from starter.cli import exits
from starter.cli.target import temporal_name

if TYPE_CHECKING:
    from temporalio.client import Client

_RATE = re.compile(r"(\d{1,6}(?:\.\d{1,6})?)(?:/s)?", re.ASCII)
_UNITS = ((86_400, "d", 3_600, "h"), (3_600, "h", 60, "min"), (60, "min", 1, "s"))
SILENCE = 20
"""When no worker took so many in a row, the command stops: the rest would end the same."""

IdsArgument = Annotated[
    list[str] | None,
    typer.Argument(metavar="ID", help="Request ids, or workflow ids (generation-...)."),
]
RateOption = Annotated[
    str | None, typer.Option(metavar="N/s", help="At most so many a second, such as 5/s or 0.5.")
]
ByOption = Annotated[
    str | None, typer.Option(metavar="NAME", help="Who decides; the login name by default.")
]
ReasonOption = Annotated[str, typer.Option(metavar="TEXT", help="Why; it stays in the history.")]
JsonOption = Annotated[
    bool, typer.Option("--json", help="One JSON object a line, of all there are.")
]
LimitOption = Annotated[
    int | None,
    typer.Option(min=1, help="List so many at most; 100 by default, and all with --json."),
]
DEFAULT_LIMIT = 100


class Item(Protocol):
    """A result for one generation."""

    @property
    def workflow_id(self) -> str:
        """Its id."""

    @property
    def result(self) -> StrEnum:
        """How it ended."""

    @property
    def detail(self) -> str:
        """Why."""


I = TypeVar("I", bound=Item)  # noqa: E741  # an item


def at_temporal(work: "Callable[[Client], Awaitable[int]]") -> NoReturn:
    """Run `work` with a client of Temporal, and leave with the exit code that it returns."""
    from starter.operations.connection import (  # noqa: PLC0415  # the SDK, not for --help
        connect,
        errors_translated,
    )

    async def connected() -> int:
        with errors_translated():
            return await work(await connect())

    with exits.errors_reported(temporal_name()):
        raise typer.Exit(asyncio.run(connected()))


async def report(
    results: AsyncGenerator[I, None],
    console: Console,
    good: frozenset[str],
    codes: dict[str, int],
    silent: str = "",
) -> int:
    """Print a line for each result and a summary, also after Ctrl-C; the exit code.

    0 when all are `good`; the code of `codes` when all have the same result; else 1. Ends early
    when no worker takes any: then the results are `silent`.
    """
    counts: Counter[str] = Counter()
    in_silence = 0
    try:
        async with aclosing(results):
            async for each in results:
                counts[each.result] += 1
                console.print(_line(each, good), soft_wrap=True)
                in_silence = in_silence + 1 if each.result == silent else 0
                if in_silence == SILENCE:
                    exits.complain("no worker answers: `duragen doctor` says which queue has none")
                    break
    except asyncio.CancelledError:
        exits.complain("stopped; what was begun and is not listed goes on by itself")
        raise
    finally:
        by_result = ", ".join(f"{number} {result}" for result, number in counts.most_common())
        console.print(f"{counts.total()} in all{': ' if by_result else ''}{by_result}")
    if set(counts) <= good:
        return exits.DONE
    return codes.get(next(iter(counts)), exits.FAILED) if len(counts) == 1 else exits.FAILED


def _line(each: Item, good: frozenset[str]) -> Text:
    line = styled(f"{each.result:17} ", "green" if each.result in good else "yellow")
    line.append_text(styled(one_line(each.workflow_id.removeprefix("generation-")), "default"))
    if each.detail:
        line.append_text(styled(f"  {one_line(each.detail)}", "default"))
    return line


def ids_of(texts: list[str] | None, everything: bool) -> list[str]:
    """Workflow ids, each once, of what was typed. Leaves when neither or both were given."""
    if bool(texts) == everything:
        exits.complain("name generations, or say --all")
        raise typer.Exit(exits.USAGE)
    from starter.client import ValidationError, workflow_id_of  # noqa: PLC0415  # the SDK

    found = []
    for text in texts or []:
        try:
            found.append(workflow_id_of(text))
        except ValidationError:
            exits.complain(f"{one_line(text)[:80]} is neither a request id nor a workflow id")
            raise typer.Exit(exits.USAGE) from None
    return list(dict.fromkeys(found))


def rate_of(text: str | None) -> float | None:
    """`5/s`, `5` or `0.5` as a number a second."""
    if text is None:
        return None
    match = _RATE.fullmatch(text.strip())
    rate = float(match[1]) if match else 0
    if not rate:
        exits.complain(f"--rate {one_line(text)[:80]}: a number a second, such as 5/s or 0.5")
        raise typer.Exit(exits.USAGE)
    return rate


def name_of(by: str | None) -> str:
    """Who decides: the name that was given, else the login name, else none."""
    if by is not None:
        return by
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a user id without a name, in a container
        return ""


def span(moment: datetime) -> str:
    """How far from now, as `3 h 12 min`."""
    seconds = round(abs((datetime.now(UTC) - moment).total_seconds()))
    for size, name, smaller, smaller_name in _UNITS:
        if seconds >= size:
            rest = seconds % size // smaller
            return f"{seconds // size} {name}" + (f" {rest} {smaller_name}" if rest else "")
    return f"{seconds} s"
