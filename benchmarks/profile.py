"""`make profile`: where the CPU of one generation goes, with 50 in flight.

The CPU of each part is the operating system's. That of the worker is shared out over kinds of work
by py-spy's samples of its Python threads; the SDK's own threads have no Python to sample. The raw
samples are kept beside, for speedscope.app and the like.
"""

import asyncio
import re
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import psutil
from rich.console import Console
from rich.table import Table

from benchmarks.load import PARTS, asking, cpu_seconds, fresh_stack, many

IN_FLIGHT, RUNS = 50, 600
SAMPLES_A_SECOND = 100

_WORK = (
    ("the image is received", "read_body (peers/bodies.py"),
    ("it is proven whole, and hashed", "_verified (activities/storage.py"),
    ("the store is asked for it", "Bucket.find (activities/bucket.py"),
    ("it is written to the store", "Bucket.put (activities/bucket.py"),
    ("around the paid call", "SubmitActivities.submit (activities/submit.py"),
    ("delivery to Odoo", "OdooActivities.deliver (activities/odoo/deliver.py"),
    ("workflows", "temporalio/worker/_workflow"),
    ("around activities", "temporalio/worker/_activity.py"),
)
"""Kinds of work, each by what stands in a sample's stack; the first one counts."""
_CORE = "tokio-rt-worker"
"""The SDK's core, in Rust."""
_REST = "else: event loop, threads, garbage"
_IDLE = re.compile(r"(Runner\.run|_worker|readinto|do_poll) \((asyncio|concurrent|socket|urllib3)")
"""Waiting frames that py-spy may take for work."""


class Used(NamedTuple):
    """Milliseconds of CPU for one generation."""

    parts: dict[str, float]
    threads: dict[str, float]
    """Of the worker, by the kind of thread."""
    work: dict[str, float]
    """Of the worker's Python threads."""


def profiled(raw: Path) -> Used:
    """Generate under load; the worker's samples go to `raw`."""
    parts, threads = asyncio.run(_sampled(raw))
    if not raw.exists():
        sys.exit(
            "py-spy took no samples: may this user trace processes (kernel.yama.ptrace_scope)?"
        )
    python = threads.total() - threads[_CORE]
    shares = _shares(raw.read_text())
    return Used(
        parts,
        dict(threads.most_common()),
        {kind: share * python for kind, share in shares.items()},
    )


async def _sampled(raw: Path) -> tuple[dict[str, float], Counter[str]]:
    """Milliseconds of one generation: of each part, and of each kind of thread of the worker."""
    with fresh_stack(0) as stack:
        async with asking(stack) as somebody:
            parts = {part: psutil.Process(stack.supervisor(part).pid) for part in PARTS}
            worker = parts["worker"]
            before = {part: cpu_seconds(process) for part, process in parts.items()}
            threads = _threads(worker)
            with _sampling(worker.pid, raw):
                await many(IN_FLIGHT, RUNS, somebody.generate)
            each = 1e3 / RUNS
            spent = {name: (cpu_seconds(it) - before[name]) * each for name, it in parts.items()}
            by_thread = _threads(worker)
    by_thread.subtract(threads)
    return spent, Counter({kind: seconds * each for kind, seconds in by_thread.items()})


@contextmanager
def _sampling(pid: int, raw: Path) -> Iterator[None]:
    spy = Path(sys.executable).with_name("py-spy")
    if not spy.exists():
        sys.exit("py-spy is not installed: make profile")
    command = [str(spy), "record", "--pid", str(pid), "--rate", str(SAMPLES_A_SECOND)]
    # Else it stops the worker for each sample, which costs that a quarter more CPU.
    command += [
        "--nonblocking",
        "--threads",
        "--format",
        "raw",
        "--output",
        str(raw),
        "--duration",
        "3600",
    ]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as sampler:
        yield
        sampler.send_signal(signal.SIGINT)  # it writes what it has


def _threads(process: psutil.Process) -> Counter[str]:
    """Seconds of CPU by the kind of thread, which is its name without a number."""
    used: Counter[str] = Counter()
    for thread in process.threads():
        try:
            name = Path(f"/proc/{process.pid}/task/{thread.id}/comm").read_text().strip()
        except OSError:
            continue  # it has ended
        used[re.sub(r"[-_]?\d+$", "", name)] += thread.user_time + thread.system_time  # type: ignore[assignment]  # a Counter of floats
    return used


def _shares(samples: str) -> dict[str, float]:
    """Which part of the samples is which kind of work."""
    seen: Counter[str] = Counter()
    for line in samples.splitlines():
        stack, _, count = line.rpartition(" ")
        frames = stack.split(";")
        if len(frames) == 1 or _IDLE.search(frames[-1]):
            continue
        kind = next((kind for kind, mark in _WORK if mark in stack), _REST)
        seen[kind] += int(count)
    total = seen.total() or 1
    return {kind: seen[kind] / total for kind in (*(kind for kind, _ in _WORK), _REST)}


def show(used: Used) -> None:
    """Three tables."""
    titles = ("part", "the worker's threads", "the worker's Python, by samples")
    for title, values in zip(titles, used, strict=True):
        table = Table(title, "ms of CPU a generation")
        for name, milliseconds in values.items():
            table.add_row(name, f"{milliseconds:.1f}")
        table.add_row("all", f"{sum(values.values()):.1f}")
        Console(width=80).print(table)


if __name__ == "__main__":
    folder = Path(__file__).parent / "results"
    folder.mkdir(exist_ok=True)
    raw = folder / f"{datetime.now(UTC):%Y%m%d-%H%M%S}-worker.raw"
    show(profiled(raw))
    print(f"samples kept in {raw}")
