"""How many histories are tried, in which portions, and how they are counted.

`HUB_EXAMPLES` is how many histories SQL and the reference have to agree on (default 100); the other
properties take a share of it. Portions have different seeds, so that workers can divide them, and
each seed is fixed, so that every run tries the same histories.
"""

import itertools
import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings

from inventory_pipeline_tests.properties.worlds import World, worlds

HISTORIES = int(os.environ.get("HUB_EXAMPLES", "100"))
PORTION = 50
SEEDS = 1000  # of each portion; some draw an empty history
# The simplest world of all is always tried first: it has an empty history, and does not count.
ONE = settings(
    max_examples=2,
    deadline=None,
    database=None,
    print_blob=True,
    phases=(Phase.explicit, Phase.generate, Phase.shrink),
    suppress_health_check=list(HealthCheck),
)


def portions(share: int = 1) -> Any:
    """Parametrizes a test by (seed, histories); `share`: one history in so many."""
    wanted = max(3, HISTORIES // share)
    sizes = [min(PORTION, wanted - start) for start in range(0, wanted, PORTION)]
    named = [pytest.param((number, size), id=f"{number}") for number, size in enumerate(sizes)]
    return pytest.mark.parametrize("portion", named)


def tried(
    portion: tuple[int, int], record_property: Callable[[str, object], None], **drawn: Any
) -> Callable[[Callable[..., None]], None]:
    """Runs the decorated property on what `drawn` makes, now; the histories are counted.

    Each history has a seed of its own: left to itself hypothesis tries many variations of each
    one that it draws, and after thousands of them has met only hundreds.
    """
    number, size = portion

    def run(holds: Callable[..., None]) -> None:
        count = 0

        def counted(world: World, **values: Any) -> None:
            nonlocal count
            if world.history.entries:
                holds(world, **values)
                count += 1

        try:
            for own in itertools.count(number * SEEDS):
                if count >= size:
                    break
                seed(own)(ONE(given(**drawn)(counted)))()
        finally:
            record_property("histories", count)

    return run


def histories(number: int) -> Iterator[World]:
    """The worlds of a portion, only drawn."""
    for own in itertools.count(number * SEEDS):
        yield from _drawn(own)


def _drawn(own: int) -> list[World]:
    drawn: list[World] = []

    def kept(world: World) -> None:
        if world.history.entries:
            drawn.append(world)

    seed(own)(settings(ONE, phases=(Phase.generate,))(given(world=worlds())(kept)))()
    return drawn
