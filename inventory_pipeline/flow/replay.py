"""The calculation as of a moment, from the ledger and the landing files, in memory.

The same SQL as the running hub's, over a choice of entries; it takes no lock and changes nothing.
"""

import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from inventory_pipeline.compute.engine import Engine, open_engine
from inventory_pipeline.core.vocabulary import EventType
from inventory_pipeline.flow.closure import Closure
from inventory_pipeline.flow.context import HubContext
from inventory_pipeline.flow.cycle import append_entries, load_policy
from inventory_pipeline.memory import history, ledger
from inventory_pipeline.memory.ledger import LandedSnapshot
from inventory_pipeline.memory.postgres import Postgres


@contextmanager
def replayed(
    ctx: HubContext,
    *,
    at: datetime,
    upto: int,
    without_snapshots: frozenset[int] = frozenset(),
) -> Iterator[Engine]:
    """An engine that computed everything up to ledger offset `upto`, evaluated at `at`.

    Snapshots with an offset in `without_snapshots` are left out, as if they had not come.
    """
    with open_engine(None) as engine:
        with engine.transaction():
            load_policy(ctx, engine)
            append_entries(ctx, engine, 0, upto, without_snapshots=without_snapshots)
            engine.compute(at=at, ledger_offset=upto, full=True)
        yield engine


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """One landed snapshot and what it says of a few skus: the columns of `CheckedSnapshot.rows`.

    Where it is complete, `rows` has a row without a sku for each location that it speaks of.
    """

    landed: LandedSnapshot
    rows: pa.Table


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """A computed part of the catalogue, and what it was computed from.

    `engine` is right for the closure's sku and its components; of other items it has only what
    these need. `events` are rows of the ledger's EVENT_SCHEMA.
    """

    engine: Engine
    events: list[dict[str, Any]]
    snapshots: list[Said]


@contextmanager
def replayed_sku(
    pg: Postgres,
    state: Path,
    part: Closure,
    *,
    at: datetime,
    upto: int,
    policy_version: int,
    mapping_version: int,
) -> Iterator[Replay]:
    """As `replayed`, of one sku under the rules of `part.hub`: reads nothing of other items."""
    with pg.connection() as connection:
        events = ledger.read_events(connection, 0, upto, skus=part.skus, mapped_upto=upto)
        landed = ledger.read_snapshots(connection, 0, upto, mapped_upto=upto)
        # An auto buffer asks when each system was last heard, whatever it spoke of.
        automatic = any(rule.auto for rule in part.hub.rules)
        heard = history.last_heard(connection, upto, at) if automatic else {}
    said = list(_said(part, landed, state, at))
    with tempfile.TemporaryDirectory() as scratch, open_engine(None) as engine:
        with engine.transaction():
            engine.load_policy(
                part.hub, policy_version=policy_version, mapping_version=mapping_version
            )
            engine.append_events(pa.concat_tables([events, _signs_of_life(heard, upto)]))
            for one in said:
                _append(engine, one, Path(scratch))
            engine.compute(at=at, ledger_offset=upto, full=True)
        yield Replay(engine=engine, events=events.to_pylist(), snapshots=said)


def _signs_of_life(heard: Mapping[str, datetime], upto: int) -> pa.Table:
    """An event of each system that posts nothing, for it names no item."""
    rows = [
        {
            "ledger_offset": upto,
            "system": system,
            "event_id": "",
            "type": str(EventType.ADJUSTED),
            "occurred_at": occurred_at,
            "received_at": occurred_at,
        }
        for system, occurred_at in heard.items()
    ]
    return pa.Table.from_pylist(rows, schema=ledger.EVENT_SCHEMA)


def _said(part: Closure, landed: list[LandedSnapshot], state: Path, at: datetime) -> Iterator[Said]:
    """Each system's snapshots, the newest first, until every value that it owns is known.

    What an older one says of the same cell is not part of any number.
    """
    by_system: dict[str, list[LandedSnapshot]] = {}
    for snapshot in landed:
        if snapshot.as_of <= at:
            by_system.setdefault(snapshot.system, []).append(snapshot)
    for system, snapshots in by_system.items():
        wanted = _owned(part, system)
        for number, snapshot in enumerate(sorted(snapshots, key=_age, reverse=True)):
            # The newest says when the system was heard, even where it answers nothing.
            if number and not {wish[2] for wish in wanted} & set(snapshot.states):
                continue
            said = Said(landed=snapshot, rows=_read(state / snapshot.path, snapshot, part.skus))
            wanted -= set(_answers(said, part.skus))
            yield said


def _age(snapshot: LandedSnapshot) -> tuple[datetime, str]:
    """Of two with one as_of the greater source counts."""
    return (snapshot.as_of, snapshot.source)


def _owned(part: Closure, system: str) -> set[tuple[str, str, str]]:
    """(sku, location, state) that the system decides."""
    hub = part.hub
    if system not in hub.systems:
        return set()
    stocked = [item.sku for item in hub.catalog.items.values() if item.kind == "simple"]
    return {
        (sku, location, str(state))
        for owned in hub.systems[system].owns
        for location in owned.locations
        for state in owned.states
        for sku in stocked
    }


def _read(path: Path, snapshot: LandedSnapshot, skus: frozenset[str]) -> pa.Table:
    wanted = pa.array(sorted(skus), pa.string())
    rows = pq.read_table(path, filters=pc.field("sku").isin(wanted))
    if not snapshot.complete:
        return rows
    places = pq.read_table(path, columns=["location"])["location"].drop_null().unique()
    return pa.concat_tables(
        [rows, pa.table({"location": places.cast(rows.schema.field("location").type)})],
        promote_options="default",
    )


def _answers(said: Said, skus: Iterable[str]) -> Iterator[tuple[str, str, str]]:
    """(sku, location, state) of which the snapshot gives a value."""
    held: set[tuple[str, str]] = set()
    named: set[tuple[str, str]] = set()
    values: set[tuple[str, str, str]] = set()
    places: set[str] = set()
    for row in said.rows.to_pylist():
        if row["location"] is None:
            continue
        places.add(row["location"])
        if row["sku"] is None:
            continue
        cell = (row["sku"], row["location"])
        named.add(cell)
        if row["held"]:
            held.add(cell)
        states = [s for s in said.landed.states if row[s] is not None]
        values.update((*cell, state) for state in states)
    yield from (value for value in values if value[:2] not in held)
    if said.landed.complete:
        yield from (
            (sku, place, state)
            for sku in skus
            for place in places
            if (sku, place) not in named
            for state in said.landed.states
        )


def _append(engine: Engine, said: Said, scratch: Path) -> None:
    path = scratch / f"{said.landed.ledger_offset}.parquet"
    pq.write_table(said.rows, path)
    engine.append_snapshot(
        ledger_offset=said.landed.ledger_offset,
        system=said.landed.system,
        as_of=said.landed.as_of,
        complete=said.landed.complete,
        states=said.landed.states,
        parquet=path,
        source=said.landed.source,
    )
