"""Snapshot files: rows of stock, all good or all bad."""

import random
from pathlib import Path

from benchmarks.made.hub import LOCATIONS, sku_of

AS_OF = "2026-03-02T08:00:00+00:00"


def write_stock(path: Path, rows: int, *, seed: int, bad: bool = False) -> None:
    """A CSV of `rows` rows, LOCATIONS of them for each item; with `bad`, every one has a quantity
    that is none.
    """
    source = random.Random(seed)
    damaged = "n/a" if bad else "0"
    with path.open("w", encoding="utf-8") as file:
        file.write("as_of,location,item,on_hand,committed,damaged\n")
        for number in range(rows):
            file.write(
                f"{AS_OF},L{number % LOCATIONS},{sku_of(number // LOCATIONS)},"
                f"{source.randrange(500)},{source.randrange(20)},{damaged}\n"
            )
