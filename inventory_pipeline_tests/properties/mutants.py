"""Would the proof notice? Each mutant is the reference with one rule of SEMANTICS misread.

A mutant is tried on the same histories as the calculation is. One that gives the same numbers on
all of them survives: these histories never reach that rule, so a mistake in its SQL could hide
there. Then make a story that does (stories.py). `make mutants` prints how many histories each took.

    python -m inventory_pipeline_tests.properties.mutants [WORDS OF A NAME]
"""

import itertools
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from inventory_pipeline_tests.properties import generated, reference_channels, reference_stock
from inventory_pipeline_tests.properties.comparison import promises, terms
from inventory_pipeline_tests.properties.trials import PORTION, histories
from inventory_pipeline_tests.properties.worlds import World

MISREADINGS = Path(__file__).with_name("misreadings.toml")
HISTORIES = 2000


@dataclass
class Tried:
    """Histories, and what the reference says of each; both are made when they are first needed."""

    worlds: list[World]
    numbers: list[Any]
    at_most: int = HISTORIES

    def world(self, index: int) -> World:
        while index >= len(self.worlds):
            drawn = histories(len(self.worlds) // PORTION)
            self.worlds += itertools.islice(drawn, PORTION)
        return self.worlds[index]

    def right(self, index: int) -> Any:
        if index == len(self.numbers):
            self.numbers.append(numbers(reference_channels.Reference, self.world(index)))
        return self.numbers[index]


def misreadings() -> list[dict[str, str]]:
    """Each with `name`, `old` and `new`."""
    listed: list[dict[str, str]] = tomllib.loads(MISREADINGS.read_text("utf-8"))["misreading"]
    return listed


def numbers(reference: Any, world: World) -> Any:
    """Every number that the proof compares."""
    found = reference(world.hub, *generated.split(world.history.numbered()), world.at)
    return found.positions(), promises(found), terms(found)


def misread(old: str, new: str) -> Any:
    """The reference, made anew from its text with `old` replaced."""
    made = {}
    texts = {m: Path(m.__file__).read_text(encoding="utf-8") for m in MODULES}
    if not any(old in text for text in texts.values()):
        raise SystemExit(f"the reference no longer says: {old}")
    for module, text in texts.items():
        module_made = ModuleType(module.__name__)
        sys.modules[module.__name__ + "_misread"] = module_made
        module_made.__dict__["__name__"] = module.__name__ + "_misread"
        exec(compile(text.replace(old, new), module.__file__, "exec"), module_made.__dict__)
        made[module] = module_made
    channels = made[reference_channels]
    channels.__dict__["Stock"] = made[reference_stock].__dict__["Stock"]
    return channels.__dict__["Reference"]


MODULES: tuple[Any, ...] = (reference_stock, reference_channels)


def killed_by(old: str, new: str, tried: Tried) -> int | None:
    """How many histories it took; None: it survived them all."""
    reference = misread(old, new)
    for index in range(tried.at_most):
        try:
            same = numbers(reference, tried.world(index)) == tried.right(index)
        except (ValueError, TypeError, KeyError, ZeroDivisionError):
            same = False
        if not same:
            return index + 1
    return None


def main(words: str) -> int:
    tried, survivors = Tried([], []), 0
    for misreading in misreadings():
        name = misreading["name"]
        if words in name:
            after = killed_by(misreading["old"], misreading["new"], tried)
            survivors += after is None
            print(f"{after or 'SURVIVED':>8} {name}", flush=True)  # noqa: T201
    print(f"{survivors} survived {HISTORIES} histories")  # noqa: T201
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main(" ".join(sys.argv[1:])))
