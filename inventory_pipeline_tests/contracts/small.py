"""A hub with one of everything that a row can be about, and snapshots written by hand."""

import io
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pandas as pd

from inventory_pipeline.config.policy import (
    BundlePart,
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
from inventory_pipeline.contracts.snapshots import check_snapshot
from inventory_pipeline.core.ports import RawEvent, RawSnapshot

AT = datetime(2026, 3, 2, 8, tzinfo=UTC)
NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)


def small_hub(*, complete: bool = False, max_drop: Decimal | None = None, feed: str = "") -> Hub:
    items = [
        Item(sku="SHIRT", title="", kind="simple", decimals=0),
        Item(sku="MUG", title="", kind="simple", decimals=0),
        Item(sku="ROPE", title="", kind="simple", decimals=2),
        Item(sku="KIT", title="", kind="bundle", decimals=0),
    ]
    wms = System(
        id="wms",
        connector="files",
        options={},
        locations={"1": "dc", "2": "dc"},
        snapshot=SnapshotPolicy(complete=complete, max_drop=max_drop),
        feed=feed,
    )
    return Hub(
        name="small",
        folder=Path(),
        locations={"dc": Location(id="dc"), "nyc": Location(id="nyc")},
        systems={"wms": wms},
        channels={},
        rules=(),
        catalog=Catalog(
            items={item.sku: item for item in items},
            identifiers=(
                Identifier(system="wms", external_id="CASE", sku="MUG", units=Decimal(12)),
                Identifier(system="wms", external_id="HALF", sku="MUG", units=Decimal("0.5")),
                Identifier(system="wms", external_id="MUG", sku="SHIRT", units=Decimal(1)),
                Identifier(system="other", external_id="X", sku="MUG", units=Decimal(1)),
            ),
            parts=(BundlePart(bundle_sku="KIT", component_sku="MUG", quantity=Decimal(1)),),
        ),
        tolerances=Tolerances(),
        sync=Sync(),
        rollout=Rollout(),
        policy_hash="",
        catalog_hash="",
    )


def raw_snapshot(text: str) -> RawSnapshot:
    frame = pd.read_csv(io.StringIO(text), dtype=str, keep_default_na=False, na_values=[""])
    return RawSnapshot(source="stock.csv", key="stock.csv@1", frame=frame)


def checked(text: str, hub: Hub | None = None, last_rows: int | None = None) -> list[Any]:
    return check_snapshot(
        hub or small_hub(), "wms", raw_snapshot(text), last_rows=lambda _feed: last_rows
    )


def cells(snapshot: Any, *names: str) -> list[tuple[Any, ...]]:
    return [tuple(row[name] for name in names) for row in snapshot.rows.to_pylist()]


def raw_event(**body: Any) -> RawEvent:
    return RawEvent(body=body, source="events.jsonl", position="7")
