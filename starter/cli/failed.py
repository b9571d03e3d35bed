"""`duragen failed` and `rerun`: list failed generations, and run them again."""

from collections import Counter
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from contracts.errors import ErrorCode
from contracts.plain import one_line
from peers.terminal import console, say_json
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

if TYPE_CHECKING:
    from temporalio.client import Client

    from starter.operations.failed import FailedGeneration

ErrorOption = Annotated[
    ErrorCode | None, typer.Option(metavar="CODE", help="Only those with this code.")
]
_NO_CODE = "(no code)"


def failed(
    *, error: ErrorOption = None, as_json: JsonOption = False, limit: LimitOption = None
) -> None:
    """List failed generations by error code: when, where, why. Those run again are left out."""

    async def work(client: "Client") -> int:
        from starter.operations.failed import failed  # noqa: PLC0415  # the SDK

        most = limit or (None if as_json else DEFAULT_LIMIT)
        counts: Counter[str] = Counter()
        kept: list[FailedGeneration] = []
        async for each in failed(client, error):
            if as_json:
                if counts.total() == most:
                    break
                say_json(_as_json(each))
            elif len(kept) < (most or 0):
                kept.append(each)
            counts[each.code or _NO_CODE] += 1
        if not as_json:
            _print(counts, kept)
        return exits.DONE

    at_temporal(work)


def rerun(
    ids: IdsArgument = None,
    *,
    everything: Annotated[
        bool,
        typer.Option(
            "--all", help="All that failed, without those that may have been charged for."
        ),
    ] = False,
    error: ErrorOption = None,
    pay_again: Annotated[
        bool,
        typer.Option(
            "--pay-again",
            help="Also those that may have been charged for: you have looked at the provider.",
        ),
    ] = False,
    rate: RateOption = None,
    by: ByOption = None,
    reason: ReasonOption = "",
) -> None:
    """Run failed generations again: an image that exists is delivered, never paid for again.

    By ID also those that were terminated, timed out or abandoned. Says when they have begun, not
    how they end: `duragen watch`.

    Exit code: 0 when all have begun, 1 when some were refused, 4 no such generation.
    """
    wanted, pace = ids_of(ids, everything), rate_of(rate)

    async def work(client: "Client") -> int:
        from contracts.tasks import DeliveryDecision  # noqa: PLC0415  # pydantic, as the SDK
        from starter.operations.bulk import these  # noqa: PLC0415
        from starter.operations.rerun import Rerun, Target, all_failed, rerun  # noqa: PLC0415

        named = these([Target(each) for each in wanted])
        every = all_failed(client, error, pay_again=pay_again)
        targets = every if everything else named
        decision = DeliveryDecision(by=name_of(by), reason=reason)
        results = rerun(client, targets, decision, error=error, pay_again=pay_again, rate=pace)
        good = frozenset({Rerun.STARTED_AGAIN, Rerun.DELIVERING})
        return await report(results, console(), good, {Rerun.NOT_FOUND: exits.NOT_FOUND})

    at_temporal(work)


def _print(counts: Counter[str], kept: "list[FailedGeneration]") -> None:
    out = console()
    by_code = Table(box=None, pad_edge=False)
    by_code.add_column("code", no_wrap=True)
    by_code.add_column("count", justify="right")
    for code, count in counts.most_common():
        by_code.add_row(one_line(code), str(count))
    items = Table(box=None, pad_edge=False)
    for name in ("request id", "code", "when", "provider", "perhaps paid"):
        items.add_column(name, no_wrap=True)
    items.add_column("why", overflow="fold")
    order = [code for code, _ in counts.most_common()]
    for each in sorted(kept, key=lambda each: order.index(each.code or _NO_CODE)):
        items.add_row(
            one_line(each.workflow_id.removeprefix("generation-")),
            one_line(each.code or _NO_CODE),
            f"{span(each.failed_at)} ago" if each.failed_at else "",
            one_line(each.provider or ""),
            str(each.perhaps_paid or ""),
            one_line(each.detail),
        )
    if kept:
        out.print(by_code, "", items, sep="\n")
    total, shown = counts.total(), len(kept)
    out.print(f"{total} failed" + (f", {shown} listed (--limit)" if shown < total else ""))


def _as_json(each: "FailedGeneration") -> dict[str, Any]:
    return {
        "requestId": each.workflow_id.removeprefix("generation-"),
        "workflowId": each.workflow_id,
        "runId": each.run_id,
        "correlationId": each.correlation_id,
        "code": each.code,
        "detail": each.detail,
        "provider": each.provider,
        "perhapsPaid": each.perhaps_paid,
        "failedAt": each.failed_at.isoformat(timespec="seconds") if each.failed_at else None,
    }
