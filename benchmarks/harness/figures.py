"""What a benchmark says: a value, what it is held against, and what it has to reach."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A bound that a figure has to keep."""

    bound: float
    at_least: bool

    def met_by(self, value: float) -> bool:
        return value >= self.bound if self.at_least else value <= self.bound

    def __str__(self) -> str:
        return f"{'≥' if self.at_least else '≤'} {self.bound:,g}"


def at_least(bound: float) -> Target:
    return Target(bound=bound, at_least=True)


def at_most(bound: float) -> Target:
    return Target(bound=bound, at_least=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One line of build/bench.json. `against` is the peer or floor of the same run, with its
    value; `note` says what was done, how often, and how far the values lay apart.
    """

    name: str
    value: float
    unit: str
    against: str
    note: str
    target: Target | None = None

    @property
    def verdict(self) -> str:
        if self.target is None:
            return ""
        return "ok" if self.target.met_by(self.value) else "slow"


@dataclass(frozen=True, slots=True)
class Sample:
    """Repeated measurements of one thing; seconds unless said otherwise."""

    values: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    @property
    def spread(self) -> str:
        """For a note: how often, and from where to where."""
        low, high = min(self.values), max(self.values)
        return f"median of {len(self.values)} ({low:,.3g} to {high:,.3g})"

    def per_second(self, count: int) -> "Sample":
        """`count` things in each of these times, as a rate."""
        return Sample(tuple(count / value for value in self.values))


def timed(function: Callable[[], Any]) -> float:
    """Wall seconds of one call."""
    begin = time.perf_counter()
    function()
    return time.perf_counter() - begin


def side_by_side(times: int, **functions: Callable[[], Any]) -> dict[str, Sample]:
    """Wall seconds of each function, `times` times in turns, so that noise falls on all alike."""
    taken: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(times):
        for name, function in functions.items():
            taken[name].append(timed(function))
    return {name: Sample(tuple(values)) for name, values in taken.items()}
