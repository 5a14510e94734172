"""Snapshots that come in: shape, rows and mapping, by the fine print of SEMANTICS §1."""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from inventory_pipeline.config.policy import Hub, System
from inventory_pipeline.contracts.bad_rows import FIRST_ROW, bad_rows
from inventory_pipeline.contracts.cells import (
    CODE,
    Factors,
    Flags,
    Ints,
    Numbers,
    Texts,
    read_numbers,
    read_texts,
    take,
    times_of,
    to_base,
)
from inventory_pipeline.contracts.mapping import mapping_of
from inventory_pipeline.contracts.values import clean
from inventory_pipeline.core.ledger import CheckedSnapshot, RejectedSnapshot
from inventory_pipeline.core.ports import RawSnapshot
from inventory_pipeline.core.quantities import MILLI
from inventory_pipeline.core.vocabulary import Reason, Rejection, State

MAX_MOMENTS = 10_000  # snapshots in one file
MAX_FEED_NAME = 120
HUNDRED = Decimal(100)

LastRows = Callable[[str], int | None]
Checked = CheckedSnapshot | RejectedSnapshot


def check_snapshot(
    hub: Hub, system: str, raw: RawSnapshot, *, last_rows: LastRows
) -> list[Checked]:
    """The snapshots of one file, in the order of their as_of; each is fit to land or refused whole.

    `last_rows` gives the data rows of the last accepted snapshot of a feed, or None. Never raises
    for anything that the file holds.
    """
    counts = RowCounts(hub.systems[system], last_rows)
    return [counts.judge(checked) for checked in check_rows(hub, system, raw)]


def check_rows(hub: Hub, system: str, raw: RawSnapshot) -> list[Checked]:
    """As check_snapshot, without a look at how many rows the feed had before (`max_drop`)."""
    policy = hub.systems[system]
    refuse = _Refusal(policy, raw)
    if raw.frame is None:
        return [refuse(Rejection.UNREADABLE, raw.error or "it could not be read")]
    from inventory_pipeline.contracts.schemas import shape_problems

    if problems := shape_problems(raw.frame):
        found = ", ".join(map(str, raw.frame.columns)) or "none"
        said = f"{'; '.join(problems)} (columns found: {found})"
        return [refuse(Rejection.MISSING_COLUMNS, clean(said))]
    if raw.frame.empty:
        return [refuse(Rejection.EMPTY, "it has a header and no rows")]
    table = _Table.read(hub, system, raw)
    moments = sorted({time for time in table.times if time is not None})
    if not moments:
        example = table.as_of.at(0)
        said = f"no row has a time with an offset in as_of (first: {example!r})"
        return [refuse(Rejection.UNREADABLE, clean(said), data_rows=len(raw.frame))]
    if len(moments) > MAX_MOMENTS:
        said = f"{len(moments)} different as_of in one file, {MAX_MOMENTS} are allowed"
        return [refuse(Rejection.UNREADABLE, said, data_rows=len(raw.frame))]
    return [
        _check_one(table, policy, refuse, as_of, rows) for as_of, rows in table.by_moment(moments)
    ]


@dataclass(frozen=True, slots=True)
class _Refusal:
    """Says no to a snapshot of this file."""

    policy: System
    raw: RawSnapshot

    def __call__(
        self,
        reason: Rejection,
        message: str,
        *,
        as_of: datetime | None = None,
        data_rows: int = 0,
        feed: str = "",
    ) -> RejectedSnapshot:
        return RejectedSnapshot(
            system=self.policy.id,
            feed=feed or self.policy.feed,
            source=self.raw.source,
            key=self.raw.key,
            reason=reason,
            message=message,
            as_of=as_of,
            data_rows=data_rows,
        )


class RowCounts:
    """Compares row counts with the last accepted snapshot of a feed; snapshots come in order."""

    def __init__(self, policy: System, last_rows: LastRows) -> None:
        self._policy = policy
        self._last_rows = last_rows
        self._here: dict[str, int] = {}

    def judge(self, checked: Checked) -> Checked:
        """The same, or its rejection because too many rows are gone."""
        if isinstance(checked, RejectedSnapshot):
            return checked
        policy = self._policy
        max_drop = policy.snapshot.max_drop
        if policy.snapshot.complete and max_drop is not None:
            last = self._here.get(checked.feed)
            last = self._last_rows(checked.feed) if last is None else last
            rows = checked.data_rows
            if last and (last - rows) * HUNDRED > max_drop * last:
                return RejectedSnapshot(
                    system=checked.system,
                    feed=checked.feed,
                    source=checked.source,
                    key=checked.key,
                    reason=Rejection.MAX_DROP,
                    message=f"{rows} rows after {last}: a drop of more than {max_drop:f} % "
                    f"(snapshot.max_drop of {policy.id})",
                    as_of=checked.as_of,
                    data_rows=rows,
                )
        self._here[checked.feed] = checked.data_rows
        return checked


@dataclass(frozen=True, slots=True, kw_only=True)
class _Table:
    """A file's columns, understood. Skus and places are codes into `skus` and `places`, -1:
    none.
    """

    raw: RawSnapshot
    as_of: Texts
    location: Texts
    item: Texts
    states: dict[str, Numbers]
    times: list[datetime | None]
    unread: Flags  # per distinct as_of, and True for an empty one
    factors: Factors
    skus: list[str]
    sku_codes: Ints  # per row
    places: list[str]
    place_codes: Ints  # per row
    bundle: Flags  # per row

    @classmethod
    def read(cls, hub: Hub, system: str, raw: RawSnapshot) -> "_Table":
        frame = raw.frame
        mapping = mapping_of(hub, system)
        as_of, location, item = (read_texts(frame[name]) for name in ("as_of", "location", "item"))
        targets = [mapping.item(text) for text in item.texts]
        skus, sku_of = _coded(target and target.sku for target in targets)
        places, place_of = _coded(mapping.location(text) for text in location.texts)
        times = times_of(as_of)
        return cls(
            raw=raw,
            as_of=as_of,
            location=location,
            item=item,
            states={
                state.value: read_numbers(read_texts(frame[state.value]))
                for state in State
                if state.value in frame.columns
            },
            times=times,
            unread=np.array([*(time is None for time in times), True]),
            factors=Factors.of(targets),
            skus=skus,
            sku_codes=take(sku_of, item.codes, dtype=np.int64, missing=-1),
            places=places,
            place_codes=take(place_of, location.codes, dtype=np.int64, missing=-1),
            bundle=take(
                [target is not None and target.bundle for target in targets],
                item.codes,
                dtype=bool,
                missing=False,
            ),
        )

    def by_moment(self, moments: list[datetime]) -> Iterator[tuple[datetime, Ints]]:
        """Each moment with its rows, in file order; rows without a readable time belong to all."""
        if len(moments) == 1:
            yield moments[0], np.arange(len(self.as_of.codes))
            return
        place = {time: index for index, time in enumerate(moments)}
        codes = [-1 if time is None else place[time] for time in self.times]
        of_row = take(codes, self.as_of.codes, dtype=np.int64, missing=-1)
        order = np.argsort(of_row, kind="stable")
        bounds = np.searchsorted(of_row[order], np.arange(-1, len(moments) + 1))
        everywhere = order[bounds[0] : bounds[1]]
        for index, moment in enumerate(moments):
            own = order[bounds[index + 1] : bounds[index + 2]]
            yield moment, np.sort(np.concatenate([everywhere, own])) if len(everywhere) else own


def _check_one(
    table: _Table, policy: System, refuse: _Refusal, as_of: datetime, rows: Ints
) -> Checked:
    """The snapshot of one moment."""
    feed = policy.feed or _feed(table, rows)
    states = tuple(
        name for name, numbers in table.states.items() if (~numbers.cells.empty[rows]).any()
    )
    distinct, conflict = _without_repeats(table, rows)
    if conflict:
        return refuse(
            Rejection.CONFLICTING_ROWS, conflict, as_of=as_of, data_rows=len(rows), feed=feed
        )
    reasons, values = _judge_rows(table, distinct)
    landed = _landed(table, distinct, reasons, values, as_of)
    from inventory_pipeline.contracts.schemas import landing_problems

    if problems := landing_problems(_for_contract(landed)):
        said = "its rows do not fit what may land: " + "; ".join(problems)
        return refuse(Rejection.UNREADABLE, said, as_of=as_of, data_rows=len(rows), feed=feed)
    return CheckedSnapshot(
        system=policy.id,
        feed=feed,
        as_of=as_of,
        complete=policy.snapshot.complete,
        states=states,
        source=table.raw.source,
        key=table.raw.key,
        rows=landed,
        data_rows=len(rows),
        bad=tuple(bad_rows(table.raw, policy.id, distinct, reasons)),
    )


def _without_repeats(table: _Table, rows: Ints) -> tuple[Ints, str]:
    """The rows with agreeing repeats once, or a message about the first two that disagree."""
    locations, items = table.location.codes[rows], table.item.codes[rows]
    named = (locations >= 0) & (items >= 0)
    keys = locations * (len(table.item.texts) + 1) + items
    repeated = pd.Series(np.where(named, keys, -1)).duplicated(keep=False).to_numpy() & named
    if not repeated.any():
        return rows, ""
    frame = pd.DataFrame(
        {"key": keys[repeated]}
        | {name: n.by_value(rows[repeated]) for name, n in table.states.items()}
    )
    different = frame.drop_duplicates()
    if len(conflicts := np.flatnonzero(different["key"].duplicated())):
        key = different["key"].iloc[conflicts[0]]
        lines = [int(row) + FIRST_ROW for row in rows[keys == key][:5]]
        row = rows[keys == key][0]
        said = (
            f"rows {lines} are all about location {table.location.at(row)!r}, item "
            f"{table.item.at(row)!r} and disagree"
        )
        return rows, clean(said)
    again = pd.Series(np.where(named, keys, -1 - np.arange(len(keys)))).duplicated().to_numpy()
    return rows[~again], ""


def _judge_rows(table: _Table, rows: Ints) -> tuple[Ints, dict[str, Ints]]:
    """(the code of the first reason against each row; the values of each state)."""
    reasons = np.zeros(len(rows), dtype=np.int64)

    def object_to(flags: Any, reason: Reason) -> None:
        reasons[(reasons == 0) & flags] = CODE[reason]

    as_of = table.as_of.codes[rows]
    unread = table.unread[as_of]
    missing = (as_of < 0) | table.location.empty[rows] | table.item.empty[rows]
    object_to(missing, Reason.MISSING_KEY)
    object_to(unread, Reason.BAD_TIME)
    object_to(table.place_codes[rows] < 0, Reason.UNKNOWN_LOCATION)
    object_to(table.sku_codes[rows] < 0, Reason.UNKNOWN_ITEM)
    object_to(table.bundle[rows], Reason.BUNDLE_HAS_NO_STOCK)
    values = {}
    for name, numbers in table.states.items():
        base, wrong = to_base(numbers, table.item, table.factors, rows)
        for reason in (Reason.BAD_NUMBER, Reason.FRACTION_OF_INDIVISIBLE):
            object_to(wrong == CODE[reason], reason)
        if name != State.ON_HAND:
            object_to(base < 0, Reason.NEGATIVE_QUANTITY)
        values[name] = base
    return reasons, values


def _landed(
    table: _Table, rows: Ints, reasons: Ints, values: dict[str, Ints], as_of: datetime
) -> pa.Table:
    """CheckedSnapshot.rows. A bad row stays, without values, where its location is known."""
    bad = reasons != 0
    skus = np.where(table.bundle[rows], -1, table.sku_codes[rows])
    places = table.place_codes[rows]
    cells = places * (len(table.skus) + 1) + skus
    held = bad
    if bad.any():
        held = bad | np.isin(cells, np.unique(cells[bad & (skus >= 0) & (places >= 0)]))
    kept = places >= 0
    units = table.factors.units_milli[table.factors.of_item[table.item.codes[rows]]]
    columns = {
        "as_of": pa.repeat(pa.scalar(as_of, pa.timestamp("us", tz="UTC")), int(kept.sum())),
        "item": _strings(table.item.texts, table.item.codes[rows][kept]),
        "external_location": _strings(table.location.texts, table.location.codes[rows][kept]),
        "sku": _strings(table.skus, skus[kept]),
        "location": _strings(table.places, places[kept]),
        "units_milli": pa.array(np.where(skus >= 0, units, MILLI)[kept], pa.int64()),
    }
    for state in State:
        numbers = table.states.get(state.value)
        if numbers is None:
            columns[state.value] = pa.nulls(int(kept.sum()), pa.int64())
            continue
        absent = (numbers.cells.empty[rows] | bad)[kept]
        columns[state.value] = pa.array(values[state.value][kept], pa.int64(), mask=absent)
    columns["held"] = pa.array(held[kept])
    return pa.table(columns)


def _strings(texts: list[str], codes: Ints) -> pa.Array:
    """The texts at the codes; null where a code is -1."""
    return pa.array(texts, pa.string()).take(pa.array(codes, mask=codes < 0))


def _for_contract(rows: pa.Table) -> Any:
    """The rows' numbers, and whether every row with a value says of what and where."""
    states = [s.value for s in State if rows[s.value].null_count < len(rows)]
    frame = rows.select(["units_milli", *states]).to_pandas(types_mapper=_nullable)
    mapped = (rows["sku"].is_valid().to_numpy() & rows["location"].is_valid().to_numpy()) | (
        rows["held"].to_numpy()
    )
    return frame.assign(mapped=mapped)


def _nullable(kind: Any) -> Any:
    return pd.Int64Dtype() if pa.types.is_int64(kind) else None


def _feed(table: _Table, rows: Ints) -> str:
    """The feed of a system that names none: snapshots of the same locations are comparable."""
    found = sorted(table.places[code] for code in np.unique(table.place_codes[rows]) if code >= 0)
    name = ",".join(found)
    if len(name) > MAX_FEED_NAME:
        name = f"{len(found)} locations {hashlib.sha256(name.encode()).hexdigest()[:16]}"
    return name


def _coded(names: Any) -> tuple[list[str], list[int]]:
    """Distinct names, and for each given one its place among them, or -1 for None."""
    known: dict[str, int] = {}
    codes = [-1 if name is None else known.setdefault(name, len(known)) for name in names]
    return list(known), codes
