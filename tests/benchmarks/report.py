"""What was measured, as a table and as a picture."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from tests.benchmarks.measures import Rows


class Line(NamedTuple):
    """One figure: ``least`` or ``most`` is its budget."""

    name: str
    value: float
    unit: str
    note: str
    least: float | None = None
    most: float | None = None

    @property
    def budget(self) -> str:
        """The budget, in words."""
        if self.least is not None:
            return f">= {self.least:g}"
        return "" if self.most is None else f"<= {self.most:g}"

    @property
    def verdict(self) -> str:
        """Whether the budget was met."""
        if self.least is None and self.most is None:
            return ""
        met = self.value >= self.least if self.least is not None else self.value <= (self.most or 0.0)
        return "met" if met else "MISSED"


def median(rows: Rows, value: Callable[[dict[str, float]], float]) -> float:
    """The median over rounds."""
    return statistics.median(value(row) for row in rows)


def lines(rows: dict[str, Rows], kills: int) -> list[Line]:
    """The figures, from the raw rounds."""

    def middle(benchmark: str, value: str) -> float:
        return median(rows[benchmark], lambda row: row[value])

    def ratio(benchmark: str, upper: str, lower: str) -> float:
        return median(rows[benchmark], lambda row: row[upper] / row[lower])

    def rates(benchmark: str, upper: str, lower: str, unit: str) -> str:
        return f"{middle(benchmark, upper):.0f} against {middle(benchmark, lower):.0f} {unit}"

    times = f"{middle('latency', 'p50') * 1e3:.2f} against {middle('latency', 'bare_p50') * 1e3:.2f} ms"
    tails = f"{middle('latency', 'p95') * 1e3:.2f} against {middle('latency', 'bare_p95') * 1e3:.2f} ms"
    found = [
        Line("strict dispatch / bare async dispatcher", ratio("throughput", "honeydew", "bare"), "x",
             rates("throughput", "honeydew", "bare", "jobs/s"), least=0.8),
        Line('prefetch="auto" / bare pipelined actor calls', ratio("prefetched", "honeydew", "bare"), "x",
             rates("prefetched", "honeydew", "bare", "jobs/s"), least=5),
        Line("submit to result, idle queue, p50 / bare round trip", ratio("latency", "p50", "bare_p50"), "x", times, most=4),
        Line("submit to result, idle queue, p95 / bare round trip", ratio("latency", "p95", "bare_p95"), "x", tails),
        Line("8 MiB array in and out / bare actor", ratio("payload", "honeydew", "bare"), "x",
             rates("payload", "honeydew", "bare", "MB/s"), least=0.7),
        Line("kill -9 of a busy worker to its job on another, p50", middle("recovery", "seconds") * 1e3, "ms", f"{kills} kills", most=100),
        Line("strict dispatch, SQLiteStore / MemoryStore", ratio("durable_throughput", "sqlite", "memory"), "x",
             rates("durable_throughput", "sqlite", "memory", "jobs/s"), least=0.8),
        Line("20,000 others waiting / none", ratio("backlog", "crowded", "alone"), "x",
             rates("backlog", "crowded", "alone", "jobs/s"), least=0.7),
    ]
    for store, least in (("memory", 50_000), ("sqlite", 20_000)):
        rate = middle(f"enqueue_{store}", "rate")
        found.append(Line(f"submit_many, {store}, in custody", rate, "/s", "20,000 jobs a round", least=least))
    for name in ("process_pool", "actor_pool", "ray_queue"):
        calls = rates("others", "executor", name, "calls/s")
        found.append(Line(f"honeydew.executor / {name.replace('_', ' ')}", ratio("others", "executor", name), "x", calls))
    return found


def print_table(rows: dict[str, Rows], kills: int) -> list[Line]:
    """Print the figures, and return them."""
    found = lines(rows, kills)
    for line in found:
        print(f"{line.name:<52} {line.value:10.2f} {line.unit:<4} {line.budget:<10} {line.verdict:<7} {line.note}", flush=True)
    return found


def draw(found: list[Line], machine: str, path: Path) -> None:
    """The ratios as bars, with a mark at each budget."""
    import matplotlib as mpl

    mpl.use("agg")
    from matplotlib import pyplot

    ratios = [line for line in found if line.unit == "x"][::-1]
    figure, axes = pyplot.subplots(figsize=(10, 0.5 * len(ratios) + 1.5), layout="constrained")
    places = range(len(ratios))
    axes.barh(places, [line.value for line in ratios], color=["#c0392b" if line.verdict == "MISSED" else "#e0a526" for line in ratios])
    axes.plot([line.least or line.most for line in ratios], places, "|", color="black", markersize=22, markeredgewidth=2, label="budget")
    axes.set_yticks(places, [line.name for line in ratios])
    axes.set_xscale("log")
    axes.axvline(1, color="grey", linewidth=0.8)
    axes.set_title(f"Ratios to the baseline\n{machine}", fontsize=9)
    axes.legend(loc="lower right")
    figure.savefig(path, dpi=120)
    pyplot.close(figure)
    print(f"drawn: {path}")
