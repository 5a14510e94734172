"""Small hubs and histories, written short: what the calculation's tests are made of."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import count
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from inventory_pipeline.compute.engine import Computed, Engine, open_engine
from inventory_pipeline.compute.tables import EVENTS_SCHEMA, SOURCES, STATE
from inventory_pipeline.config.policy import (
    Bucket,
    BundlePart,
    Catalog,
    Channel,
    Hub,
    Identifier,
    Item,
    Location,
    Ownership,
    Rollout,
    Rule,
    Sync,
    System,
    Tolerances,
)
from inventory_pipeline.core.vocabulary import Mode, State

PHYSICAL = ("on_hand", "damaged", "quality_control", "incoming")
STATES = ("on_hand", "damaged", "quality_control", "committed", "reserved", "incoming")
DAY = datetime(2026, 3, 2, tzinfo=UTC)


def clock(text: str) -> datetime:
    """`08:05` on the day of the examples."""
    hours, minutes, *rest = text.split(":")
    seconds = int(rest[0]) if rest else 0
    return DAY + timedelta(hours=int(hours), minutes=int(minutes), seconds=seconds)


def system(
    name: str, owns: Sequence[str] = (), *, states: Sequence[str] = PHYSICAL, **fields: Any
) -> System:
    """A system that owns the physical states at the locations `owns`."""
    owned = (
        (Ownership(states=tuple(State(s) for s in states), locations=tuple(owns)),) if owns else ()
    )
    return System(id=name, connector="files", options={}, locations={}, owns=owned, **fields)


def item(sku: str, kind: Any = "simple", decimals: int = 0, tags: Sequence[str] = ()) -> Item:
    return Item(sku=sku, title=sku, kind=kind, decimals=decimals, tags=tuple(tags))


def channel(
    name: str,
    buckets: Mapping[str, Sequence[str]],
    *,
    system: str = "shop",
    mode: Mode = Mode.LIVE,
    decimals: int = 0,
) -> Channel:
    """A channel with its buckets and their locations."""
    return Channel(
        id=name,
        system=system,
        mode=mode,
        decimals=decimals,
        buckets=tuple(
            Bucket(id=name, external="", locations=tuple(places))
            for name, places in buckets.items()
        ),
    )


def rules(*written: Mapping[str, Any]) -> tuple[Rule, ...]:
    """Rules as in hub.yaml, with Decimals made of whatever number is given."""
    numbers = ("units", "percent", "limit")
    made = []
    for order, fields in enumerate(written):
        values = {k: Decimal(str(v)) if k in numbers else v for k, v in fields.items()}
        values.setdefault("id", f"r{order + 1}")
        made.append(Rule(order=order, line=order + 1, **values))
    return tuple(made)


def hub(
    *,
    locations: Sequence[str] = ("dc", "nyc"),
    systems: Sequence[System] | None = None,
    channels: Sequence[Channel] | None = None,
    rules: Sequence[Rule] = (),
    items: Sequence[Item] | None = None,
    identifiers: Sequence[Identifier] = (),
    parts: Sequence[tuple[str, str, Any]] = (),
) -> Hub:
    """A hub; by default a warehouse system, a till system and a shop with one channel over both."""
    systems = systems or (system("wms", ["dc"]), system("pos", ["nyc"]), system("shop"))
    channels = channels or (channel("web", {"main": ["dc", "nyc"]}),)
    return Hub(
        name="test",
        folder=Path("hub"),
        locations={name: Location(id=name) for name in locations},
        systems={s.id: s for s in systems},
        channels={c.id: c for c in channels},
        rules=tuple(rules),
        catalog=Catalog(
            items={i.sku: i for i in items or (item("A"),)},
            identifiers=tuple(identifiers),
            parts=tuple(
                BundlePart(bundle_sku=b, component_sku=c, quantity=Decimal(str(q)))
                for b, c, q in parts
            ),
        ),
        tolerances=Tolerances(),
        sync=Sync(),
        rollout=Rollout(),
        policy_hash="p",
        catalog_hash="c",
    )


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """Rows of (sku, location, {state: milli or None}, held)."""

    system: str
    as_of: datetime
    complete: bool
    states: tuple[str, ...]
    source: str
    rows: tuple[tuple[str, str, Mapping[str, int | None], bool], ...]
    ledger_offset: int = 0


@dataclass
class History:
    """What systems said, in the order in which it is appended."""

    entries: list[Any] = field(default_factory=list)
    _ids: Any = field(default_factory=lambda: count(1))

    def event(
        self,
        system: str,
        kind: str,
        at: str | datetime,
        sku: str | None = "A",
        quantity: Any = None,
        **fields: Any,
    ) -> "History":
        moment = clock(at) if isinstance(at, str) else at
        times = {
            k: clock(v)
            for k, v in fields.items()
            if k in ("expires_at", "expected_at") and isinstance(v, str)
        }
        row = dict.fromkeys(EVENTS_SCHEMA.names)
        row |= {
            "system": system,
            "event_id": f"e{next(self._ids):04}",
            "type": kind,
            "occurred_at": moment,
            "received_at": moment,
            "item": sku,
            "sku": sku,
            "quantity_milli": None if quantity is None else int(Decimal(str(quantity)) * 1000),
            **fields,
            **times,
        }
        self.entries.append(row)
        return self

    def order(
        self, kind: str, at: str, quantity: Any = None, *, by: str = "shop", **fields: Any
    ) -> "History":
        """An event of line 1 of order 1."""
        sku = fields.pop("sku", "A")
        named = {"order_id": "1", "line_id": "1", **fields}
        return self.event(by, kind, at, sku, quantity, **named)

    def snapshot(
        self,
        system: str,
        at: str | datetime,
        levels: Mapping[tuple[str, str], Mapping[str, Any]],
        *,
        complete: bool = False,
        held: Iterable[tuple[str, str]] = (),
    ) -> "History":
        """`levels` are units by (sku, location) and state; `held` ones are in quarantine."""
        moment = clock(at) if isinstance(at, str) else at
        rows = [
            (
                sku,
                place,
                {s: None if v is None else int(Decimal(str(v)) * 1000) for s, v in states.items()},
                False,
            )
            for (sku, place), states in levels.items()
        ]
        rows += [(sku, place, {}, True) for sku, place in held]
        carried = tuple(
            s for s in STATES if any(states.get(s) is not None for _, _, states, _ in rows)
        )
        self.entries.append(
            Snapshot(
                system=system,
                as_of=moment,
                complete=complete,
                states=carried,
                source=f"s{next(self._ids):04}",
                rows=tuple(rows),
            )
        )
        return self

    def numbered(self, first: int = 1) -> list[Any]:
        """The entries with ledger offsets in the order of their arrival."""
        return [
            replace(e, ledger_offset=n) if isinstance(e, Snapshot) else {**e, "ledger_offset": n}
            for n, e in enumerate(self.entries, first)
        ]


def events_table(rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist([dict(row) for row in rows], EVENTS_SCHEMA)


def append(engine: Engine, entries: Sequence[Any], folder: Path) -> None:
    """Numbered entries into the engine: events in one batch, snapshots through Parquet files."""
    events = [e for e in entries if not isinstance(e, Snapshot)]
    if events:
        engine.append_events(events_table(events))
    for snapshot in entries:
        if isinstance(snapshot, Snapshot):
            path = folder / f"{snapshot.system}-{snapshot.ledger_offset}.parquet"
            pq.write_table(snapshot_table(snapshot), path)
            engine.append_snapshot(
                ledger_offset=snapshot.ledger_offset,
                system=snapshot.system,
                as_of=snapshot.as_of,
                complete=snapshot.complete,
                states=snapshot.states,
                parquet=path,
                source=snapshot.source,
            )


def snapshot_table(snapshot: Snapshot) -> pa.Table:
    """The shape of `CheckedSnapshot.rows`."""
    return pa.table(
        {
            "as_of": pa.array([snapshot.as_of] * len(snapshot.rows), pa.timestamp("us", tz="UTC")),
            "item": pa.array([r[0] for r in snapshot.rows], pa.string()),
            "external_location": pa.array([r[1] for r in snapshot.rows], pa.string()),
            "sku": pa.array([r[0] for r in snapshot.rows], pa.string()),
            "location": pa.array([r[1] for r in snapshot.rows], pa.string()),
            "units_milli": pa.array([1000] * len(snapshot.rows), pa.int64()),
            **{s: pa.array([r[2].get(s) for r in snapshot.rows], pa.int64()) for s in STATES},
            "held": pa.array([r[3] for r in snapshot.rows], pa.bool_()),
        }
    )


def run(engine: Engine, at: datetime, ledger_offset: int) -> Computed:
    """One incremental run."""
    engine.touched(at)
    return engine.compute(at=at, ledger_offset=ledger_offset, full=False)


@dataclass(frozen=True)
class Bench:
    """One engine in memory, emptied between uses: opening one costs more than a small run."""

    engine: Engine
    folder: Path

    def empty(self, hub: Hub) -> None:
        for table in (*SOURCES, *STATE):
            if table not in ("meta", "shapes"):
                self.engine._db.run(f"DELETE FROM {table}")
        never = "ledger_offset = 0, computed_at = NULL, policy_version = NULL"
        self.engine._db.run(f"UPDATE meta SET {never}")
        self.engine.load_policy(hub, policy_version=1, mapping_version=1)

    def full(self, hub: Hub, entries: Sequence[Any], at: datetime) -> dict[str, list[Any]]:
        """What one full run over the entries leaves."""
        with self.engine.transaction():
            self.empty(hub)
            append(self.engine, entries, self.folder)
            self.engine.compute(at=at, ledger_offset=len(entries), full=True)
        return self.state()

    def state(self) -> dict[str, list[Any]]:
        """Everything that a run leaves, without what only says when it ran."""
        ats = self.engine.ats().drop_columns(["ledger_offset", "computed_at"]).to_pylist()
        positions = [
            {k: v for k, v in row.items() if not k.endswith("_taken_at")}
            for row in self.engine.positions().to_pylist()
            if any(row[f"{s}_milli"] for s in STATES)
        ]
        return {"positions": positions, "ats": ats, "desired": self.engine.desired().to_pylist()}

    def run(self, hub: Hub, history: History, at: str) -> "Result":
        """One full run at a time of the examples' day, for reading single numbers."""
        state = self.full(hub, history.numbered(), clock(at))
        return Result(lines=self.engine.order_lines().to_pylist(), **state)


@dataclass(frozen=True)
class Result:
    """Numbers of one run, in units."""

    positions: list[Any]
    ats: list[Any]
    desired: list[Any]
    lines: list[Any]

    def position(self, state: str, location: str = "dc", sku: str = "A") -> Decimal:
        for row in self.positions:
            if (row["sku"], row["location"]) == (sku, location):
                return units(row[f"{state}_milli"])
        return Decimal(0)

    def row(self, channel: str = "web", sku: str = "A", bucket: str = "main") -> dict[str, Any]:
        """The waterfall of one item in one bucket."""
        [row] = [
            row
            for row in self.ats
            if (row["channel"], row["bucket"], row["sku"]) == (channel, bucket, sku)
        ]
        return row

    def sells(self, channel: str = "web", sku: str = "A", bucket: str = "main") -> Decimal:
        """What the channel shows, in its own unit."""
        return units(self.row(channel, sku, bucket)["desired_milli"])


def units(milli: int) -> Decimal:
    return Decimal(milli) / 1000


@contextmanager
def open_bench(folder: Path) -> Iterator[Bench]:
    with open_engine(None) as engine:
        # A handful of rows: more threads only wait for each other.
        engine._db.run("SET threads = 1")
        yield Bench(engine, folder)
