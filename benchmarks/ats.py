"""What a chain's million items may sell in ten channels: computed whole, and after a few events.

The whole: from positions (an item's stock at 20 locations) and rules to an offer a channel and
item, beside DuckDB only adding the same stock up (the floor), and beside the same formula in polars
and in pandas, which have to give the same ten million numbers.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.harness.figures import Figure, Sample, Target, at_least, at_most
from benchmarks.harness.process import in_own_process
from benchmarks.peers.tables import THREADS

SIZES = (100_000, 316_000, 1_000_000)
ROUNDS = 3  # of processes; in each the times below, after a first one that is not counted
OURS_TIMES, FLOOR_TIMES, PEER_TIMES, FULL_TIMES = 2, 3, 1, 2
EVENTS, BATCHES = 1000, 10

SAID = {
    "floor": "DuckDB only adds the same stock rows up by item",
    "polars": "the same formula in polars, over stock rows in memory",
    "pandas": "the same formula in pandas, over stock rows in memory",
}


@dataclass
class Taken:
    """Of one contender: seconds of all rounds, the most memory, and what it came to."""

    seconds: list[float] = field(default_factory=list)
    peak_rss_mib: float = 0
    digests: set[str] = field(default_factory=set)

    def add(self, found: dict[str, Any]) -> None:
        self.seconds += found["seconds"]
        self.peak_rss_mib = max(self.peak_rss_mib, found["peak_rss_mib"])
        self.digests.add(found["digest"])

    @property
    def sample(self) -> Sample:
        return Sample(tuple(self.seconds))

    @property
    def median(self) -> float:
        return self.sample.median


def run(scratch: Path) -> Iterator[Figure]:
    stores = {items: _contend("made", _folder(scratch, items), items) for items in SIZES}
    whole = stores[SIZES[-1]]
    taken = _in_turns(whole, f"{whole}.long")
    yield from _seconds(taken)
    yield _memory(taken)
    yield _growth(stores, taken["ours"])
    full = _contend("full_run", whole, FULL_TIMES)
    _agree({"a full run": {full["digest"]}, "offers alone": taken["ours"].digests})
    yield _full_run(full, taken["ours"])
    yield _incremental(_contend("incremental", whole, SIZES[-1], EVENTS, BATCHES), full)


def _in_turns(store: str, long_stock: str) -> dict[str, Taken]:
    """Every contender in fresh processes of its own, in turns."""
    _contend("long_stock", store, long_stock)
    taken = {name: Taken() for name in ("ours", *SAID)}
    for _ in range(ROUNDS):
        taken["ours"].add(_contend("ours", store, OURS_TIMES))
        taken["floor"].add(_contend("floor", long_stock, FLOOR_TIMES))
        for name in ("polars", "pandas"):
            taken[name].add(_contend("peer", name, store, long_stock, PEER_TIMES))
    _agree({name: taken[name].digests for name in ("ours", "polars", "pandas")})
    return taken


def _agree(digests: dict[str, set[str]]) -> None:
    """Raises AssertionError unless all came to the same offers, each time."""
    if len(set().union(*digests.values())) != 1:
        raise AssertionError(f"these are not the same offers (rows and their hashes): {digests}")


def _seconds(taken: dict[str, Taken]) -> Iterator[Figure]:
    ours = taken["ours"]
    yield Figure(
        name="full_ats_1m_s",
        value=round(ours.median, 3),
        unit="s",
        against=", ".join(f"{name} {taken[name].median:.2f} s" for name in SAID),
        note=(
            f"{SIZES[-1]:,} items, 5 % of them bundles (the others have 19,000,000 stock rows, at "
            "20 locations), 10 channels: from positions and rules to 10,000,000 stored offers; "
            f"{THREADS} threads each; {ours.sample.spread}"
        ),
    )
    yield _ratio(taken, "floor", ours.median / taken["floor"].median, at_most(8))
    yield _ratio(taken, "polars", taken["polars"].median / ours.median, at_least(3))
    yield _ratio(taken, "pandas", taken["pandas"].median / ours.median, at_least(8))


def _ratio(taken: dict[str, Taken], side: str, value: float, target: Target) -> Figure:
    ours, other = taken["ours"], taken[side]
    checked = "" if side == "floor" else ", and the same 10,000,000 numbers"
    return Figure(
        name=f"full_ats_1m_vs_{side}",
        value=round(value, 2),
        unit="x",
        against=f"{SAID[side]}: {other.median:.2f} s",
        note=(
            f"full_ats_1m_s {ours.median:.2f} s, {ours.sample.spread}; {side} "
            f"{other.sample.spread}; {THREADS} threads each{checked}"
        ),
        target=target,
    )


def _memory(taken: dict[str, Taken]) -> Figure:
    return Figure(
        name="full_ats_1m_rss_mib",
        value=round(taken["ours"].peak_rss_mib),
        unit="MiB",
        against=", ".join(f"{name} {taken[name].peak_rss_mib:,.0f} MiB" for name in SAID),
        note=(
            "the most that a process of full_ats_1m_s had resident, Python and all; highest of "
            f"{ROUNDS}. The floor reads its file, polars and pandas hold the stock rows"
        ),
        target=at_most(1024),
    )


def _growth(stores: dict[int, str], largest: Taken) -> Figure:
    medians = {
        items: Sample(tuple(_contend("ours", stores[items], OURS_TIMES + 1)["seconds"])).median
        for items in SIZES[:-1]
    }
    medians[SIZES[-1]] = largest.median
    return Figure(
        name="growth_exponent_full_ats",
        value=round(_slope(medians), 3),
        unit="",
        against="1 is time in proportion to items",
        note="full_ats_1m_s at "
        + ", ".join(f"{items:,} items {seconds:.3f} s" for items, seconds in medians.items()),
        target=at_most(1.1),
    )


def _slope(seconds: dict[int, float]) -> float:
    """Of the line through the logarithms, by least squares."""
    xs = [math.log(items) for items in seconds]
    ys = [math.log(value) for value in seconds.values()]
    x, y = sum(xs) / len(xs), sum(ys) / len(ys)
    return sum((a - x) * (b - y) for a, b in zip(xs, ys, strict=True)) / sum(
        (a - x) ** 2 for a in xs
    )


def _full_run(full: dict[str, Any], part: Taken) -> Figure:
    sample = Sample(tuple(full["seconds"]))
    return Figure(
        name="full_run_1m_s",
        value=round(sample.median, 2),
        unit="s",
        against=f"its part from positions to offers {part.median:.2f} s",
        note=(
            "the run after a change of rules: scope, rules, offers, these compared with the "
            "10,000,000 before, later moments, commit; its process had at most "
            f"{full['peak_rss_mib']:,.0f} MiB resident; {sample.spread}"
        ),
    )


def _incremental(found: dict[str, Any], full: dict[str, Any]) -> Figure:
    sample = Sample(tuple(seconds * 1000 for seconds in found["seconds"]))
    return Figure(
        name="incremental_1k_of_1m_ms",
        value=round(sample.median, 1),
        unit="ms",
        against=f"the whole catalogue again {Sample(tuple(full['seconds'])).median:.2f} s",
        note=(
            f"{EVENTS:,} events (orders, sales, damages, corrections) on as many random items of "
            f"{SIZES[-1]:,}, on an open engine: appended, touched, computed, committed; "
            f"{sample.spread} ms. Opening the file takes {found['opening'] * 1000:.0f} ms more, "
            f"the first batch after it {found['first'] * 1000:.0f} ms"
        ),
        target=at_most(100),
    )


def _folder(scratch: Path, items: int) -> str:
    folder = scratch / str(items)
    folder.mkdir()
    return str(folder)


def _contend(function: str, *arguments: Any) -> Any:
    return in_own_process(f"benchmarks.peers.contenders:{function}", *arguments).value
