"""`make plots`: charts of the latest results, as docs/images/performance-*.svg.

`python -m benchmarks.plots FILE.json` draws what is in one file of results. The same results make
the same bytes.
"""

import argparse
import json
import math
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib as mpl
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

IMAGES = Path(__file__).parents[1] / "docs/images"
RESULTS = Path(__file__).parent / "results"
POINTS = 120
COLOURS = ("#1f6feb", "#d1570b", "#2b8a3e", "#8250df", "#6e7781")

mpl.rcParams.update(
    {
        # Text stays text: smaller, and found by a search.
        "svg.fonttype": "none",
        "svg.hashsalt": "duragen",
        "font.family": ["sans-serif"],
        "font.size": 10,
        # Readable also on a page with a dark background.
        "figure.facecolor": "white",
        "axes.prop_cycle": cycler(color=COLOURS),
        "axes.grid": True,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "grid.color": "#d0d7de",
        "grid.linewidth": 0.6,
        "legend.frameon": False,
        "lines.linewidth": 1.6,
        "lines.markersize": 4,
    }
)


def curve(rows: list[dict[str, Any]], date: str) -> Figure:
    """Throughput and latency over what is in flight, a colour for each system.

    Keys of a row: system, in_flight, rate (1/s), p50 and p95 (ms).
    """
    figure, (rate, latency) = _axes(f"Throughput and latency, {date}", 2)
    for name, colour in zip(dict.fromkeys(row["system"] for row in rows), COLOURS, strict=False):
        found = sorted(
            (row for row in rows if row["system"] == name), key=lambda row: row["in_flight"]
        )
        counts = [row["in_flight"] for row in found]
        rate.plot(counts, _column(found, "rate"), "o-", color=colour, label=name)
        for key, line in (("p50", "o-"), ("p95", "o--")):
            seconds = [row[key] / 1e3 for row in found]
            latency.plot(counts, seconds, line, color=colour, label=f"{name}, {key}")
    for axes in (rate, latency):
        _logarithmic(axes, sorted({row["in_flight"] for row in rows}))
        axes.set_xlabel("generations in flight")
    rate.set_ylabel("generations/s")
    rate.set_ylim(bottom=0)
    latency.set_ylabel("submit to delivered, s")
    _logarithmic_seconds(latency)
    return _finished(figure)


def soak(found: dict[str, Any], date: str) -> Figure:
    """Memory of each part, and the rate, over time."""
    samples = _thinned(found["samples"])
    title = f"{found['in_flight']} in flight for {samples[-1]['seconds'] / 60:.3g} min, {date}"
    figure, (worker, others, rate) = _axes(title, 3)
    minutes = [sample["seconds"] / 60 for sample in samples]
    parts = [key for key in samples[0] if key not in {"seconds", "rate"}]
    for part, colour in zip(sorted(parts, key=lambda part: part != "worker"), COLOURS, strict=True):
        axes = worker if part == "worker" else others
        axes.plot(minutes, _column(samples, part), color=colour, label=part)
    rate.plot(minutes, _column(samples, "rate"), color=COLOURS[0], label="delivered")
    for axes, unit in ((worker, "memory, MB"), (others, "memory, MB"), (rate, "generations/s")):
        axes.set_ylabel(unit)
        axes.set_ylim(bottom=0)
        axes.set_xlabel("minutes")
    return _finished(figure)


def scale(rows: list[dict[str, Any]], date: str) -> Figure:
    """Rates, memory and the times of commands over how many wait; a column for each way to wait."""
    figure = Figure(figsize=(9, 9), layout="constrained")
    figure.suptitle(f"Generations that wait for a worker, or parked, {date}", fontsize=12)
    grid = figure.subplots(3, 2, sharex=True, sharey="row")
    rates = {"started": "started", "parked": "parked", "resumed": "delivered\nafterwards"}
    for axes, state in zip(grid[0], ("waiting", "parked"), strict=True):
        axes.set_title(state, fontsize=10)
    for panels, unit, values in (
        (grid[0], "generations/s", [{rates[key]: row[key] for key in rates} for row in rows]),
        (grid[1], "memory, MB", _column(rows, "memory")),
        (grid[2], "time of a command, s", _column(rows, "commands")),
    ):
        panels[0].set_ylabel(unit)
        for axes, state in zip(panels, ("waiting", "parked"), strict=True):
            _lines(axes, rows, values, state)
        panels[1].legend(loc="center left", bbox_to_anchor=(1, 0.5), fontsize=9)
    for axes in (grid[0][0], grid[1][0]):
        axes.set_ylim(bottom=0)
    _logarithmic_seconds(grid[2][0])
    for axes in grid[2]:
        axes.set_xlabel("generations")
        _logarithmic(axes, sorted({row["number"] for row in rows}))
    return figure


def _lines(
    axes: Axes, rows: list[dict[str, Any]], values: list[dict[str, float]], state: str
) -> None:
    """A line for each name, in the same colour for both states; what has no value has no line."""
    found = [
        (row["number"], each)
        for row, each in zip(rows, values, strict=True)
        if row["state"] == state
    ]
    names = dict.fromkeys(name for each in values for name in each)
    for name, colour in zip(names, COLOURS, strict=False):
        numbers = [number for number, _ in found]
        line = [each.get(name) or math.nan for _, each in found]
        axes.plot(numbers, line, "o-", color=colour, label=name)


def _thinned(samples: list[dict[str, float]]) -> list[dict[str, float]]:
    """Means of as many neighbours as make about a hundred points: a line needs no more."""
    many = -(-len(samples) // POINTS)
    groups = [samples[at : at + many] for at in range(0, len(samples), many)]
    return [
        {key: statistics.fmean(each[key] for each in group) for key in group[0]} for group in groups
    ]


CHARTS: dict[str, Callable[[Any, str], Figure]] = {"curve": curve, "soak": soak, "scale": scale}


def draw(results: dict[str, Any], folder: Path = IMAGES) -> list[Path]:
    """A file for each chart that there are results of."""
    written = []
    for name, chart in CHARTS.items():
        if name in results:
            file = folder / f"performance-{name}.svg"
            # Date and version of the library would make every file a new one.
            chart(results[name], results["at"][:10]).savefig(
                file, metadata={"Date": None, "Creator": None}
            )
            written.append(file)
    return written


def _axes(title: str, many: int) -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=(8, 2.9 * many), layout="constrained")
    figure.suptitle(title, fontsize=12)
    return figure, list(figure.subplots(many))


def _finished(figure: Figure) -> Figure:
    for axes in figure.axes:
        axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), fontsize=9)
    return figure


def _column(rows: list[dict[str, Any]], key: str) -> list[Any]:
    return [row[key] for row in rows]


def _logarithmic(axes: Axes, ticks: list[int]) -> None:
    axes.set_xscale("log")
    axes.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
    axes.set_xticks([], minor=True)


def _logarithmic_seconds(axes: Axes) -> None:
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.minorticks_off()


def main() -> None:
    """Draw the results that are named, or the latest of each chart."""
    options = argparse.ArgumentParser(prog="python -m benchmarks.plots", description=__doc__)
    options.add_argument("results", nargs="*", type=Path, help="JSON; all by default, oldest first")
    written: dict[Path, None] = {}
    for file in options.parse_args().results or sorted(RESULTS.glob("*.json")):
        written.update(dict.fromkeys(draw(json.loads(file.read_text()))))
    print("\n".join(map(str, written)) or "no results that a chart could be made of")


if __name__ == "__main__":
    main()
