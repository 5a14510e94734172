"""Two tables of a million listings side by side: only what differs becomes an object.

`shown` is what a channel showed, `expected` what it must be showing; both are keyed by bucket and
external id, quantities in thousandths of the channel's unit. Rows are matched by a 64-bit hash of
key and number together; only rows without a match are compared by key.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from inventory_pipeline.config.policy import Channel, Tolerances
from inventory_pipeline.core.ports import Level, ListingRef

if TYPE_CHECKING:
    import duckdb

Place = tuple[str, str]  # bucket, external id

PIECE = 65_536
SHARED = 122_880  # rows that one thread takes at a time
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
SHOWN = pa.schema(
    [
        ("bucket", pa.string()), ("external_id", pa.string()), ("shown_milli", pa.int64()),
        ("asked_us", pa.int64()), ("answered_us", pa.int64()), ("changed_us", pa.int64()),
        ("reserved_milli", pa.int64()),
    ]
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One listing whose numbers differ, or that only one side has.

    `expected_milli` is None where nothing is known of it, `known` says whether the hub has it.
    """

    place: Place
    expected_milli: int | None
    known: bool
    level: Level | None


class Readings:
    """Collects levels as they are read, in columns: a piece of the stream at a time."""

    def __init__(self, channel: Channel, told: Callable[[int], None] = lambda _: None) -> None:
        self._bucket_of: dict[str, str] = {}
        for bucket in channel.buckets:
            self._bucket_of.setdefault("", bucket.id)
            self._bucket_of.setdefault(bucket.external, bucket.id)
        self._told = told
        self._pieces: list[pa.RecordBatch] = []
        self._rows: list[tuple[str, str, int, int, int, int | None, int]] = []
        self._times: dict[datetime, int] = {}

    def read(self, levels: Iterable[Level]) -> pa.Table:
        """SHOWN, of all levels whose bucket is one of the channel's: the others are not ours."""
        count = 0
        for level in levels:
            self._add(level)
            if len(self._rows) >= PIECE:
                self._flush()
                count += PIECE
                self._told(count)
        self._flush()
        return pa.Table.from_batches(self._pieces, schema=SHOWN)

    def _add(self, level: Level) -> None:
        listing = level.listing
        bucket = listing.bucket or self._bucket_of.get(listing.bucket_external)
        if bucket is None:
            return
        reserved = level.reserved_milli
        self._rows.append(
            (
                bucket, listing.external_id, level.quantity_milli - reserved,
                self._us(level.asked_at), self._us(level.answered_at),
                None if level.changed_at is None else self._us(level.changed_at), reserved,
            )
        )  # fmt: skip

    def _us(self, at: datetime) -> int:
        """Microseconds since the epoch; a page's answers share their times."""
        found = self._times.get(at)
        if found is None:
            if len(self._times) >= PIECE:
                self._times.clear()
            found = self._times[at] = (at - EPOCH) // MICROSECOND
        return found

    def _flush(self) -> None:
        if self._rows:
            columns = zip(*self._rows, strict=True)
            arrays = [pa.array(c, f.type) for c, f in zip(columns, SHOWN, strict=True)]
            self._pieces.append(pa.RecordBatch.from_arrays(arrays, schema=SHOWN))
            self._rows.clear()


def compare(
    expected: pa.Table, shown: pa.Table, tolerances: Tolerances, *, one_bucket: bool = False
) -> pa.Table:
    """Rows that differ beyond tolerance, or that one side lacks, as FOUND.

    `known`: the hub has it; `shown_row`: its place in `shown`, null where the channel does not list
    it. A listing of which nothing is expected yet differs only where it is not listed.
    `one_bucket`: the channel has only one, which need not be looked at then.
    """
    key = "hash(external_id)" if one_bucket else "hash(bucket, external_id)"
    with _database().cursor() as db:
        db.register("expected", _numbered(expected.select(_EXPECTED)))
        db.register("shown", _numbered(shown.select(_SHOWN)))
        unmatched = db.execute(_UNMATCHED.format(key=key)).fetchnumpy()
        ours, theirs = (_numbers(unmatched[name]) for name in ("ours", "theirs"))
        if not ours.size and not theirs.size:
            return FOUND.empty_table()
        db.register("some_expected", expected.select(_EXPECTED).take(ours))
        db.register("some_shown", _numbered(shown.select(_SHOWN).take(theirs), theirs))
        values = {
            "units_milli": int(tolerances.units * 1000),
            "percent_milli": int(tolerances.percent * 1000),
        }
        db.execute(_DIFFERING, values)
        return db.sql(_WITH_LISTED_TWICE).to_arrow_table().cast(FOUND)


_EXPECTED = ["bucket", "external_id", "expected_milli"]
_SHOWN = ["bucket", "external_id", "shown_milli"]
FOUND = pa.schema(
    [
        ("bucket", pa.string()), ("external_id", pa.string()), ("expected_milli", pa.int64()),
        ("known", pa.bool_()), ("shown_row", pa.int64()),
    ]
)  # fmt: skip

_UNMATCHED = """
SELECT e.n AS ours, s.n AS theirs
FROM (SELECT n, xor({key}, hash(expected_milli)) AS h FROM expected) e
FULL JOIN (SELECT n, xor({key}, hash(shown_milli)) AS h FROM shown) s ON e.h = s.h
WHERE e.h IS NULL OR s.h IS NULL
"""
# Everything as whole numbers: a tolerance of 2.5 % is 2500 thousandths of a percent.
_DIFFERING = """
CREATE TEMP TABLE differing AS
SELECT coalesce(e.bucket, s.bucket) AS bucket,
       coalesce(e.external_id, s.external_id) AS external_id,
       e.expected_milli, e.bucket IS NOT NULL AS known, s.n AS shown_row
FROM some_expected e
FULL JOIN some_shown s ON e.bucket = s.bucket AND e.external_id = s.external_id
WHERE e.bucket IS NULL OR s.bucket IS NULL
   OR abs(s.shown_milli - e.expected_milli) > $units_milli
      AND abs(s.shown_milli - e.expected_milli)::HUGEINT * 100000
          > $percent_milli::HUGEINT * abs(e.expected_milli)
"""
# A channel whose pages shift while they are read lists an item twice, with two numbers: one agreed.
_WITH_LISTED_TWICE = """
SELECT d.bucket, d.external_id, coalesce(d.expected_milli, e.expected_milli) AS expected_milli,
       d.known OR e.bucket IS NOT NULL AS known, max(d.shown_row) AS shown_row
FROM differing d LEFT JOIN (
    SELECT bucket, external_id, expected_milli FROM expected
    SEMI JOIN (SELECT * FROM differing WHERE NOT known) u USING (bucket, external_id)
) e ON NOT d.known AND e.bucket = d.bucket AND e.external_id = d.external_id
GROUP BY ALL ORDER BY ALL
"""


@cache
def _database() -> "duckdb.DuckDBPyConnection":
    """In memory; each comparison has a cursor, and tables, of its own."""
    import duckdb

    db = duckdb.connect()
    db.execute("SET preserve_insertion_order = false")
    db.execute("SET autoinstall_known_extensions = false")
    return db


def _numbers(column: Any) -> Any:
    """Row numbers without the nulls."""
    return column.compressed() if hasattr(column, "compressed") else column


def _numbered(table: pa.Table, numbers: Any = None) -> pa.Table:
    """With its row numbers as `n`, in pieces that two threads can share."""
    import numpy as np

    n = np.arange(table.num_rows, dtype=np.int32) if numbers is None else numbers
    whole = table.append_column("n", pa.array(n, pa.int32()))
    return pa.Table.from_batches(whole.to_batches(max_chunksize=SHARED), schema=whole.schema)


def differences(found: pa.Table, shown: pa.Table, buckets: Mapping[str, str]) -> list[Difference]:
    """The rows of `compare` as objects, in the order of their places. `buckets`: id → external."""
    rows = found.to_pylist()
    places = [row["shown_row"] for row in rows if row["shown_row"] is not None]
    readings = dict(zip(places, shown.take(places).to_pylist(), strict=True)) if places else {}
    return [
        Difference(
            place=(row["bucket"], row["external_id"]),
            expected_milli=row["expected_milli"],
            known=row["known"],
            level=None
            if row["shown_row"] is None
            else level_of(readings[row["shown_row"]], buckets),
        )
        for row in rows
    ]


def level_of(row: Mapping[str, Any], buckets: Mapping[str, str]) -> Level:
    """A row of SHOWN as it was read."""
    listing = ListingRef(
        bucket=row["bucket"],
        bucket_external=buckets.get(row["bucket"], ""),
        external_id=row["external_id"],
    )
    changed_us = row["changed_us"]
    return Level(
        listing=listing,
        quantity_milli=row["shown_milli"] + row["reserved_milli"],
        asked_at=_at(row["asked_us"]),
        answered_at=_at(row["answered_us"]),
        changed_at=None if changed_us is None else _at(changed_us),
        reserved_milli=row["reserved_milli"],
    )


def agreeing(shown: pa.Table, places: Iterable[Place], buckets: Mapping[str, str]) -> list[Level]:
    """The readings of these listings."""
    wanted = list(places)
    if not wanted:
        return []
    some = pa.table({"bucket": [b for b, _ in wanted], "external_id": [e for _, e in wanted]})
    found = shown.join(some, ["bucket", "external_id"], join_type="inner")
    return [level_of(row, buckets) for row in found.to_pylist()]


def _at(microseconds: int) -> datetime:
    return EPOCH + microseconds * MICROSECOND
