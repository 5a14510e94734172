"""Hand-written stand-ins for the outside world, and a small hub to use them in."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from inventory_pipeline.config.policy import (
    Bucket,
    Catalog,
    Channel,
    Hub,
    Item,
    Location,
    Ownership,
    Rollout,
    Sync,
    System,
    Tolerances,
)
from inventory_pipeline.core.errors import ChannelBusy, ChannelError, ChannelRefused, StaleCompare
from inventory_pipeline.core.ledger import CheckedSnapshot, LedgerEvent
from inventory_pipeline.core.ports import (
    Capabilities,
    Level,
    LevelWrite,
    ListingRef,
    Write,
    WriteOutcome,
)
from inventory_pipeline.core.vocabulary import OWNED_STATES, Mode, MovesAt
from inventory_pipeline.flow.context import HubContext
from inventory_pipeline.memory import ledger
from inventory_pipeline.memory.postgres import Postgres

START = datetime(2026, 3, 2, 8, tzinfo=UTC)


class Clock:
    """A clock that moves only when it is told to."""

    def __init__(self, at: datetime = START) -> None:
        self.at = at

    def __call__(self) -> datetime:
        return self.at

    def pass_(self, **amount: float) -> datetime:
        self.at += timedelta(**amount)
        return self.at


SELLING_WITH_COMPARE = Capabilities(
    levels=True,
    write=Write.ABSOLUTE,
    compare_and_swap=True,
    batch_size=2,
    moves_at=MovesAt.ORDER,
    restores_on=frozenset({"cancel"}),
)


@dataclass
class FakeChannel:
    """A channel in memory: it shows numbers, sells, compares and swaps, and fails when told to."""

    clock: Clock
    system: str = "shop"
    levels: dict[str, int] = field(default_factory=dict)  # external id → units
    capabilities: Capabilities = SELLING_WITH_COMPARE
    all_or_nothing: bool = False
    failures: list[ChannelError] = field(default_factory=list)  # raised by the next writes
    fail_after_applying: list[ChannelError] = field(default_factory=list)
    spoils: set[str] = field(default_factory=set)  # a batch with one of these is refused whole
    reads: list[str] = field(default_factory=list)
    writes: list[tuple[str, int]] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    changed_at: dict[str, datetime] = field(default_factory=dict)

    def read_levels(self, listings: Sequence[ListingRef] | None) -> Iterator[Level]:
        wanted = (
            [ListingRef(bucket="main", bucket_external="1", external_id=i) for i in self.levels]
            if listings is None
            else listings
        )
        for listing in wanted:
            self.reads.append(listing.external_id)
            if listing.external_id in self.levels:
                yield Level(
                    listing=listing,
                    quantity_milli=self.levels[listing.external_id] * 1000,
                    asked_at=self.clock(),
                    answered_at=self.clock(),
                    changed_at=self.changed_at.get(listing.external_id),
                )

    def write_levels(self, writes: Sequence[LevelWrite], *, key: str) -> list[WriteOutcome]:
        assert len(writes) <= self.capabilities.batch_size
        if self.failures:
            raise self.failures.pop(0)
        self.keys.append(key)
        if any(write.listing.external_id in self.spoils for write in writes):
            raise ChannelRefused("no such item", system=self.system, call="write_levels")
        if self.all_or_nothing and any(map(self._stale, writes)):
            return [
                WriteOutcome(write=write, error=self._stale(write) or busy(retry_after_s=0))
                for write in writes
            ]
        outcomes = [WriteOutcome(write=write, error=self._write(write)) for write in writes]
        if self.fail_after_applying:
            raise self.fail_after_applying.pop(0)
        return outcomes

    def _stale(self, write: LevelWrite) -> StaleCompare | None:
        shown = self.levels[write.listing.external_id] * 1000
        if write.compare_milli in (None, shown):
            return None
        return StaleCompare(f"shows {shown}", system=self.system, call="write")

    def _write(self, write: LevelWrite) -> ChannelError | None:
        external_id = write.listing.external_id
        stale = self._stale(write)
        if stale is not None:
            return stale
        self.levels[external_id] = write.quantity_milli // 1000
        self.changed_at[external_id] = self.clock()
        self.writes.append((external_id, write.quantity_milli // 1000))
        return None

    def close(self) -> None:
        pass


def busy(retry_after_s: float = 2) -> ChannelBusy:
    return ChannelBusy("429", system="shop", call="write_levels", retry_after_s=retry_after_s)


def small_hub(*, mode: Mode = Mode.LIVE, skus: str = "ABC") -> Hub:
    """One warehouse whose stock the shop sells; skus of one letter each."""
    owns = (Ownership(states=OWNED_STATES, locations=("dc",)),)
    systems = {
        "wms": System(id="wms", connector="files", options={}, locations={}, owns=owns),
        "shop": System(
            id="shop", connector="fake", options={}, locations={}, poll=timedelta(seconds=10)
        ),
    }
    bucket = Bucket(id="main", external="1", locations=("dc",))
    return Hub(
        name="small",
        folder=Path(),
        locations={"dc": Location(id="dc")},
        systems=systems,
        channels={"web": Channel(id="web", system="shop", mode=mode, buckets=(bucket,))},
        rules=(),
        catalog=Catalog(
            items={
                sku: Item(sku=sku, title=sku, kind="simple", decimals=0, price=Decimal(1))
                for sku in skus
            }
        ),
        tolerances=Tolerances(),
        sync=Sync(),
        rollout=Rollout(),
        policy_hash="p",
        catalog_hash="c",
    )


def context(
    hub: Hub, pg: Postgres, state: Path, clock: Clock, channel: FakeChannel | None = None
) -> HubContext:
    return HubContext(
        hub=hub,
        pg=pg,
        state=state,
        clock=clock,
        connectors={"shop": channel or FakeChannel(clock)},
        policy_version=1,
        mapping_version=1,
    )


def land(
    ctx: HubContext, *, system: str = "wms", complete: bool = True, unit: int = 1, **on_hand: int
) -> None:
    """A snapshot of on_hand at dc, dated by the hub's clock, landed as flow/land.py does it.

    `on_hand` is in base units, of which the system's own unit of every item has `unit`.
    """
    at = ctx.clock()
    rows = pa.Table.from_pylist(
        [
            {
                "as_of": at, "item": sku, "external_location": "dc", "sku": sku, "location": "dc",
                "units_milli": unit * 1000, "on_hand": units * 1000, "held": False,
            }
            for sku, units in on_hand.items()
        ],
        schema=SNAPSHOT_ROWS,
    )  # fmt: skip
    path = Path("landing") / system / f"{at:%Y%m%dT%H%M%S%f}.parquet"
    (ctx.state / path).parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(rows, ctx.state / path)
    snapshot = CheckedSnapshot(
        system=system, feed="dc", as_of=at, complete=complete, states=("on_hand",),
        source=str(path), key=str(path), rows=rows, data_rows=len(rows),
    )  # fmt: skip
    with ctx.pg.connection() as connection:
        ledger.register_snapshot(
            connection, snapshot, path=str(path), landed_at=at, mapping_version=1
        )


def happened(ctx: HubContext, type_: str, sku: str, units: int, **fields: object) -> LedgerEvent:
    """One event, appended to the ledger."""
    with ctx.pg.connection() as connection:
        number = ledger.head(connection) + 1
        values: dict[str, object] = {
            "system": "wms", "event_id": f"e{number}", "type": type_, "occurred_at": ctx.clock(),
            "received_at": ctx.clock(), "content_hash": b"", "raw": "{}", "source": "test",
            "position": "1", "item": sku, "sku": sku, "quantity_milli": units * 1000,
        }  # fmt: skip
        event = LedgerEvent(**{**values, **fields})  # type: ignore[arg-type]
        ledger.append_events(
            connection, [event], [], received_at=event.received_at, mapping_version=1
        )
    return event


_STATES = ("on_hand", "damaged", "quality_control", "committed", "reserved", "incoming")
SNAPSHOT_ROWS = pa.schema(
    [
        ("as_of", pa.timestamp("us", tz="UTC")), ("item", pa.string()),
        ("external_location", pa.string()), ("sku", pa.string()), ("location", pa.string()),
        ("units_milli", pa.int64()), *((state, pa.int64()) for state in _STATES),
        ("held", pa.bool_()),
    ]
)  # fmt: skip
