"""A hub of any size: a warehouse that reports by files, and a shop."""

from decimal import Decimal
from pathlib import Path

from inventory_pipeline.config.policy import (
    Catalog,
    Hub,
    Identifier,
    Item,
    Location,
    Rollout,
    SnapshotPolicy,
    Sync,
    System,
    Tolerances,
)

LOCATIONS = 20
CASE = Decimal(12)
CASES_OF = 20  # every so many-th item also comes in cases


def sku_of(number: int) -> str:
    return f"SKU-{number:07d}"


def place_of(number: int) -> str:
    return f"dc-{number:02d}"


def make_hub(items: int, folder: Path = Path()) -> Hub:
    """`items` items, one in ten divisible to two decimals, in LOCATIONS places.

    The systems `wms` and `shop` call each place by a name of their own ("L7" is dc-07).
    """
    return Hub(
        name="benchmark",
        folder=folder,
        locations={place_of(n): Location(id=place_of(n)) for n in range(LOCATIONS)},
        systems={name: _system(name) for name in ("wms", "shop")},
        channels={},
        rules=(),
        catalog=Catalog(
            items={sku_of(n): _item(n) for n in range(items)},
            identifiers=tuple(
                Identifier(system="wms", external_id=f"CASE-{n}", sku=sku_of(n), units=CASE)
                for n in range(0, items, CASES_OF)
            ),
            parts=(),
        ),
        tolerances=Tolerances(),
        sync=Sync(),
        rollout=Rollout(),
        policy_hash="",
        catalog_hash="",
    )


def _item(number: int) -> Item:
    return Item(sku=sku_of(number), title="", kind="simple", decimals=2 if number % 10 == 0 else 0)


def _system(name: str) -> System:
    return System(
        id=name,
        connector="files",
        options={"snapshots": "stock/*.csv", "events": "events/*.jsonl"},
        locations={f"L{n}": place_of(n) for n in range(LOCATIONS)},
        snapshot=SnapshotPolicy(complete=False, max_drop=None),
        feed="",
    )
