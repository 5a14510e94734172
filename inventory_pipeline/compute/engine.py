"""The derived store: DuckDB tables computed by sql/ from events, snapshots and policy.

Everything here can be deleted and computed again. An engine is opened for one piece of work, by
one process at a time (architecture: who may do what). Times come in and go out timezone-aware.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from inventory_pipeline.compute.calculation import Calculation
from inventory_pipeline.compute.database import Database
from inventory_pipeline.compute.models import models
from inventory_pipeline.compute.moments import aware, naive, without_zone
from inventory_pipeline.compute.policy_store import (
    OF_LISTINGS,
    OF_POSITIONS,
    concerns,
    give_numbers,
    replace_policy,
)
from inventory_pipeline.compute.store_file import attached, configure, quoted
from inventory_pipeline.compute.tables import EVENTS_SCHEMA, SCHEMA_VERSION, STATES, ddl
from inventory_pipeline.config.policy import Hub
from inventory_pipeline.core.errors import HubError

# Before all entries and all times: nothing was computed yet.
EVERY_POSITION: Mapping[str, Any] = {"reached": -1, "since": datetime(1, 1, 1)}  # noqa: DTZ001
ATS_STAMP = ("policy_version", "mapping_version", "ledger_offset", "computed_at")
DESIRED = "channel, bucket, bucket_external, external_id, sku, units_milli, desired_milli"


class DerivedOutdated(HubError):
    """The DuckDB file was made by another version of the calculation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Computed:
    """What one run did: `skus` were looked at, `changed` listings of each channel are pending."""

    at: datetime
    ledger_offset: int
    full: bool
    skus: int
    positions: int
    rows: int
    changed: Mapping[str, int]
    next_wakeup: datetime | None


@contextmanager
def open_engine(path: Path | None) -> Iterator["Engine"]:
    """The store at `path` (None: in memory), its tables created when absent.

    Raises DerivedOutdated for a file of another version.
    """
    with _in_memory() if path is None else attached(path) as connection:
        engine = Engine(connection)
        engine._prepare()
        yield engine


@contextmanager
def _in_memory() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect(":memory:") as connection:
        configure(connection)
        yield connection


class Engine:
    """SEMANTICS §3 to §6 over one DuckDB connection; call its verbs inside `transaction()`."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self._db = Database(connection)
        self._calculation = Calculation(self._db)
        self._positions_old = False  # the policy changed so that every position must be computed
        self._listings_old = False  # `listed_before` holds what was listed before a change
        self._due: datetime | None = None  # the next moment at which time alone changes a number
        self._due_known = False
        self._explained = False  # the tables of the last run are those of the whole catalogue

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """One DuckDB transaction: everything in it, or nothing."""
        self._db.run("BEGIN")
        try:
            yield
        except BaseException:
            self._due_known = False
            self._db.run("ROLLBACK")
            raise
        self._db.run("COMMIT")

    # What comes in

    def load_policy(self, hub: Hub, *, policy_version: int, mapping_version: int) -> bool:
        """Fills the policy tables; True if they changed: then everything needs a full run.

        Raises ConfigInvalid for a number that is finer than the hub keeps.
        """
        version = (policy_version, mapping_version, hub.policy_hash, hub.catalog_hash)
        columns = "policy_version, mapping_version, policy_hash, catalog_hash"
        before = self._db.row(f"SELECT {columns} FROM meta")
        if before == version:
            return False
        self._due_known = False
        listed = self.desired()
        changed = replace_policy(self._db, hub)
        self._positions_old |= before[0] is None or concerns(changed, OF_POSITIONS)
        self._listings_old = concerns(changed, OF_LISTINGS)
        if self._listings_old:
            self._db.replace("listed_before", listed)
        self._db.run(f"UPDATE meta SET ({columns}, ruled_at) = (?, ?, ?, ?, NULL)", list(version))
        return True

    def append_events(self, events: pa.Table) -> None:
        """Ledger entries of kind `event`: the columns of `EVENTS_SCHEMA`, others are ignored."""
        self._db.insert("events", without_zone(events.select(EVENTS_SCHEMA.names)))

    def append_snapshot(
        self,
        *,
        ledger_offset: int,
        system: str,
        as_of: datetime,
        complete: bool,
        states: Sequence[str],
        parquet: Path,
        source: str = "",
    ) -> None:
        """One accepted snapshot: the Parquet file holds `CheckedSnapshot.rows`.

        Of two snapshots of one system and one moment the greater `source` counts (default: the
        file's name), so that the order of arrival does not matter.
        """
        stamp = {
            "ledger_offset": ledger_offset,
            "system": system,
            "as_of": naive(as_of),
            "source": source or parquet.name,
        }
        self._db.run(
            "INSERT INTO snapshots VALUES ($ledger_offset, $system, $as_of, $source, $complete)",
            {**stamp, "complete": complete},
        )
        rows = "read_parquet(" + quoted(str(parquet)) + ")"
        give_numbers(self._db, "item_numbers", f"{rows} WHERE sku IS NOT NULL", ("sku",))
        # A held row, or one without any value, is kept: it says that nothing was left out.
        sums = ", ".join(
            f"CASE WHEN NOT bool_or(coalesce(held, false)) THEN sum({state})::BIGINT END"
            if state in states
            else "NULL"
            for state in STATES
        )
        self._db.run(
            "INSERT INTO cells"
            f" SELECT $ledger_offset, $system, $as_of, $source, item_no, location, {sums}"
            f" FROM {rows} JOIN item_numbers USING (sku) WHERE location IS NOT NULL"
            " GROUP BY item_no, location ORDER BY item_no",
            stamp,
        )
        if complete:
            carried = ", ".join(str(state in states).lower() for state in STATES)
            self._db.run(
                "INSERT INTO sweeps"
                f" SELECT DISTINCT $ledger_offset, $system, $as_of, $source, location, {carried}"
                f" FROM {rows} WHERE location IS NOT NULL",
                stamp,
            )

    def withdraw(self, offsets: Sequence[int]) -> None:
        """Takes back what was appended under these ledger offsets; a full run must follow."""
        for table in ("events", "snapshots", "cells", "sweeps"):
            self._db.run(
                f"DELETE FROM {table} WHERE ledger_offset IN (SELECT unnest(?::BIGINT[]))",
                [list(offsets)],
            )
        self._positions_old = True

    # What a run does

    def touched(self, at: datetime) -> int:
        """Fills `scope` with what was appended since the last run or is due by time; its size."""
        reached, since = self._db.row("SELECT ledger_offset, computed_at FROM meta")
        return self._calculation.touched(at=naive(at), reached=reached, since=since)

    def compute(self, *, at: datetime, ledger_offset: int, full: bool) -> Computed:
        """Positions, order lines and offers of the scope at the time `at`.

        Changed listings are appended to `pending`. `full` takes the whole catalogue as its scope,
        and forgets what is no longer in it; positions that nothing can have moved stay.
        """
        now = naive(at)
        before, since = self._db.row("SELECT ledger_offset, computed_at FROM meta")
        anew = full and (self._positions_old or since is None)
        if full:
            self._calculation.everything(at=now)
        self._calculation.rules(at=now)
        if anew:
            self._db.run("DELETE FROM stock")
            self._calculation.positions(at=now, **EVERY_POSITION)
        else:
            self._calculation.positions(at=now, reached=before, since=since or now)
        self._calculation.keep_positions(all_of_them=anew)
        self._calculation.offers(at=now)
        self._calculation.make("later_moments", {"at": now})
        self._keep(at=now, ledger_offset=ledger_offset, full=full)
        if self._db.any("snapshots WHERE ledger_offset > $before", {"before": before}):
            self._calculation.forget(at=now)
        self._positions_old = self._listings_old = False
        self._explained = anew
        changed = "SELECT channel, count(*) FROM changes GROUP BY channel ORDER BY channel"
        return Computed(
            at=at,
            ledger_offset=ledger_offset,
            full=full,
            skus=self._db.count("scope"),
            positions=self._db.count("balances"),
            rows=self._db.count("offers_now"),
            changed=dict(self._db.rows(changed)),
            next_wakeup=self.next_wakeup(),
        )

    # What it leaves behind

    def ledger_offset(self) -> int:
        """The offset up to which everything is computed."""
        return int(self._db.row("SELECT ledger_offset FROM meta")[0])

    def pending(self) -> pa.Table:
        """Listings whose quantity changed and which the outbox may not have yet, oldest first.

        channel, bucket, bucket_external, external_id, sku string; units_milli, desired_milli,
        ledger_offset, caused_by int64; occurred_at, received_at timestamp[us, UTC]; listed bool.
        """
        return self._db.table(
            "SELECT * FROM pending ORDER BY ledger_offset, channel, bucket, external_id"
        )

    def clear_pending(self) -> None:
        """Forgets what the outbox has taken."""
        self._db.run("DELETE FROM pending")

    def next_wakeup(self) -> datetime | None:
        """The next moment at which time alone changes a number."""
        if self._due_known:
            return self._due
        [due] = self._db.row(
            "SELECT least((SELECT min(due_at) FROM wakeups), (SELECT min(date) FROM"
            " (SELECT from_at AS date FROM rules UNION ALL SELECT until_at FROM rules)"
            " WHERE date > (SELECT computed_at FROM meta)))"
        )
        self._due, self._due_known = (None if due is None else aware(due)), True
        return self._due

    def positions(self) -> pa.Table:
        """One row a sku and location: six states in thousandths, and the time of each snapshot."""
        self._explain_everything()
        return self._db.table("SELECT * FROM balances ORDER BY sku, location")

    def position_count(self) -> int:
        """How many positions there are."""
        places = "SELECT coalesce(sum(len(location_nos)), 0) FROM stock"
        return int(self._db.row(places)[0])

    def below_zero(self, *, most: int) -> list[tuple[str, str, int]]:
        """Positions of less than nothing, the lowest first: (sku, location, on_hand_milli)."""
        return self._db.rows(
            "SELECT sku, location, on_hand_milli FROM below_zero"
            " ORDER BY on_hand_milli, sku, location LIMIT ?",
            [most],
        )

    def order_lines(self) -> pa.Table:
        """One row a (system, order_id, line_id, component): every term of SEMANTICS §5."""
        self._explain_everything()
        return self._db.table("SELECT * FROM line_units ORDER BY system, order_id, line_id, sku")

    def ats(self) -> pa.Table:
        """One row a channel, bucket and sku: every term of SEMANTICS §6 and the rules that won."""
        return self._ats("true", {})

    def desired(self) -> pa.Table:
        """One row a listing: `desired_milli` in thousandths of the channel's unit."""
        self._calculation.list_everything()
        return self._db.table(
            f"SELECT {DESIRED} FROM quantities ORDER BY channel, bucket, external_id"
        )

    def explain(self, sku: str, channel: str | None = None) -> list[dict[str, Any]]:
        """The waterfall of one sku, a dict a bucket, with the terms of each of its locations."""
        rows: list[dict[str, Any]] = self._ats(
            "sku = $sku AND ($channel IS NULL OR channel = $channel)",
            {"sku": sku, "channel": channel},
        ).to_pylist()
        for row in rows:
            row["locations"] = self._db.table(
                "SELECT p.* FROM balances p"
                " JOIN bucket_locations f USING (location)"
                " WHERE p.sku = $sku AND f.channel = $channel AND f.bucket = $bucket"
                " ORDER BY location",
                {"sku": sku, "channel": row["channel"], "bucket": row["bucket"]},
            ).to_pylist()
        return rows

    # How

    def _prepare(self) -> None:
        fingerprint = _fingerprint()
        try:
            [kept] = self._db.row("SELECT fingerprint FROM meta")
        except duckdb.CatalogException:
            self._create(fingerprint)
        else:
            if kept != fingerprint:
                raise DerivedOutdated(
                    "the computed tables were made by another version of the calculation",
                    hint="run `inventory-pipeline rebuild`: it makes them again from the ledger.",
                )
        self._db.read_shapes()

    def _create(self, fingerprint: str) -> None:
        with self.transaction():
            for statement in ddl():
                self._db.run(statement)
            self._db.run(
                "INSERT INTO meta (fingerprint, ledger_offset) VALUES (?, 0)", [fingerprint]
            )

    def _keep(self, *, at: datetime, ledger_offset: int, full: bool) -> None:
        self._due_known = False
        self._calculation.make("offer_rows", {})
        if not (full and self._listings_old):
            self._calculation.compare_offers()
        scope = "SELECT item_no FROM scope"
        self._db.run("DELETE FROM offers" + ("" if full else f" WHERE item_no IN ({scope})"))
        self._db.run("INSERT INTO offers BY NAME SELECT * FROM offer_rows")
        if full and self._listings_old:
            self._calculation.list_everything()
        self._calculation.changes(ledger_offset=ledger_offset, relisted=full and self._listings_old)
        self._db.run("UPDATE meta SET ledger_offset = ?, computed_at = ?", [ledger_offset, at])
        # One row a listing: the newest quantity is the only one worth sending.
        self._db.run(
            "DELETE FROM pending p USING changes c WHERE p.channel = c.channel"
            " AND p.bucket = c.bucket AND p.external_id = c.external_id"
        )
        self._db.run("INSERT INTO pending BY NAME SELECT * FROM changes")
        self._db.run(
            "DELETE FROM wakeups" + ("" if full else " WHERE sku IN (SELECT sku FROM scope)")
        )
        self._db.run("INSERT INTO wakeups BY NAME SELECT * FROM later_moments")
        self._db.run("DELETE FROM last_blindness")
        self._db.run("INSERT INTO last_blindness SELECT channel, bucket, quarters FROM blindness")
        self._db.keep_shapes()

    def _ats(self, where: str, parameters: Mapping[str, Any]) -> pa.Table:
        self._explain_everything()
        return self._db.table(
            f"SELECT a.*, {_stamp()} FROM ({models()['ats'].statement}) a CROSS JOIN meta"
            f" WHERE {where} ORDER BY channel, bucket, sku",
            parameters,
        )

    def _explain_everything(self) -> None:
        """The terms of the whole catalogue as of the last run, beside the quantities it left."""
        if self._explained:
            return
        [at] = self._db.row("SELECT coalesce(computed_at, TIMESTAMP '1970-01-01') FROM meta")
        self._calculation.everything(at=at)
        self._calculation.rules(at=at)
        self._calculation.positions(at=at, **EVERY_POSITION)
        self._calculation.offers(at=at)
        self._explained = True


def _stamp() -> str:
    return ", ".join(f"meta.{column}" for column in ATS_STAMP)


@cache
def _fingerprint() -> str:
    text = "\n".join([str(SCHEMA_VERSION), *ddl(), *(model.sql for model in models().values())])
    return hashlib.sha256(text.encode()).hexdigest()
