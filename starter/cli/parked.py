"""`duragen parked`, `redeliver` and `abandon`: deliveries that Odoo has not taken."""

import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from contracts.errors import DeliveryError
from contracts.plain import one_line
from peers.terminal import console, say, say_json
from starter.cli import exits
from starter.cli.operators import (
    DEFAULT_LIMIT,
    ByOption,
    IdsArgument,
    JsonOption,
    LimitOption,
    RateOption,
    ReasonOption,
    at_temporal,
    ids_of,
    name_of,
    rate_of,
    report,
    span,
)
from starter.cli.target import IdArgument

if TYPE_CHECKING:
    from temporalio.client import Client

    from starter.operations.parked import ParkedGeneration

ErrorOption = Annotated[
    DeliveryError | None, typer.Option(metavar="CODE", help="Only those with this code.")
]


def parked(
    *, error: ErrorOption = None, as_json: JsonOption = False, limit: LimitOption = None
) -> None:
    """List deliveries that Odoo has not taken: why, since when, the next try. Needs no worker."""

    async def work(client: "Client") -> int:
        from starter.operations.parked import count_parked, parked  # noqa: PLC0415  # the SDK

        table, shown = _table(), 0
        most = limit or (None if as_json else DEFAULT_LIMIT)
        async for each in parked(client, error):
            if shown == most:
                break
            shown += 1
            if as_json:
                say_json(_as_json(each))
            else:
                table.add_row(*_row(each))
        if as_json:
            return exits.DONE
        total = max(await count_parked(client, error), shown)
        out = console()
        if shown:
            out.print(table)
        out.print(f"{total} parked" + (f", {shown} listed (--limit)" if shown < total else ""))
        return exits.DONE

    at_temporal(work)


def redeliver(
    ids: IdsArgument = None,
    *,
    everything: Annotated[bool, typer.Option("--all", help="All that are parked.")] = False,
    error: ErrorOption = None,
    rate: RateOption = None,
    by: ByOption = None,
    reason: ReasonOption = "",
) -> None:
    """Try parked deliveries now, and show the result of each.

    Exit code: 0 when Odoo has them all, 1 when it has not, 3 no answer, 4 no such generation.
    """
    wanted, pace = ids_of(ids, everything), rate_of(rate)
    if error and not everything:
        exits.complain("--error goes with --all")
        raise typer.Exit(exits.USAGE)

    async def work(client: "Client") -> int:
        from contracts.tasks import DeliveryDecision  # noqa: PLC0415  # pydantic, as the SDK
        from starter.operations.bulk import these  # noqa: PLC0415
        from starter.operations.parked import Redelivery, parked, redeliver  # noqa: PLC0415

        decision = DeliveryDecision(by=name_of(by), reason=reason)
        chosen = parked(client, error) if everything else these(wanted)
        results = redeliver(client, chosen, decision, pace)
        good = frozenset({Redelivery.DELIVERED, Redelivery.ALREADY})
        codes: dict[str, int] = {
            Redelivery.NOT_FOUND: exits.NOT_FOUND,
            Redelivery.NO_WORKER: exits.UNREACHABLE,
        }
        return await report(results, console(), good, codes, silent=Redelivery.NO_WORKER)

    at_temporal(work)


def abandon(
    generation: IdArgument,
    *,
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Why; it stays in the history.")],
    by: ByOption = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Give a parked delivery up: Odoo never gets the outcome, unless `duragen rerun` delivers it.

    Exit code: 0 given up, 1 it is not parked, 3 no answer, 4 no such generation.
    """
    [workflow_id] = ids_of([generation], everything=False)
    if not yes and sys.stdin.isatty():
        typer.confirm(f"Odoo will never get the outcome of {workflow_id}. Give it up?", abort=True)

    async def work(client: "Client") -> int:
        from contracts.tasks import DeliveryDecision  # noqa: PLC0415  # pydantic, as the SDK
        from starter.operations.parked import (  # noqa: PLC0415
            AbandonError,
            NoWorkerError,
            abandon,
        )

        try:
            await abandon(client, workflow_id, DeliveryDecision(by=name_of(by), reason=reason))
        except AbandonError as refused:
            exits.complain(f"not given up: {one_line(str(refused))}")
            return exits.FAILED
        except NoWorkerError as silent:
            exits.complain(f"not given up: {one_line(silent)}. Is a worker running?")
            return exits.UNREACHABLE
        say("given up; Odoo will not get the outcome")
        return exits.DONE

    at_temporal(work)


def _table() -> Table:
    table = Table(box=None, pad_edge=False)
    for name in ("request id", "code", "since", "next try"):
        table.add_column(name, no_wrap=True)
    table.add_column("why", overflow="fold")
    return table


def _row(each: "ParkedGeneration") -> tuple[str, ...]:
    trouble = each.trouble
    return (
        one_line(each.workflow_id.removeprefix("generation-")),
        one_line(trouble.code),
        _when(trouble.since),
        "on request" if trouble.rests else _when(trouble.next_try),
        one_line(trouble.detail),
    )


def _when(moment: str | None) -> str:
    """`in 40 s`, `3 h 12 min ago`; "" when it is not known."""
    try:
        at = datetime.fromisoformat(moment or "")
        return f"in {span(at)}" if at > datetime.now(UTC) else f"{span(at)} ago"
    except (TypeError, ValueError):  # no time, or one without its zone
        return one_line(moment or "")


def _as_json(each: "ParkedGeneration") -> dict[str, Any]:
    trouble = each.trouble
    return {
        "requestId": each.workflow_id.removeprefix("generation-"),
        "workflowId": each.workflow_id,
        "correlationId": each.correlation_id,
        "userId": each.user_id,
        "code": trouble.code,
        "detail": trouble.detail,
        "attempts": trouble.attempts,
        "since": trouble.since,
        "nextTry": trouble.next_try,
        "rests": trouble.rests,
    }
