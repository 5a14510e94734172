"""The derived store: DuckDB tables computed by sql/ from events, snapshots and policy.

Everything here can be deleted and computed again. An engine is opened for one piece of work, by
one process at a time (architecture: who may do what). Times come in and go out timezone-aware.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from inventory_pipeline.compute.models import models
from inventory_pipeline.compute.moments import aware, naive, with_zone, without_zone
from inventory_pipeline.compute.policy_tables import policy_tables
from inventory_pipeline.compute.tables import EVENTS_SCHEMA, SCHEMA_VERSION, STATES, ddl
from inventory_pipeline.config.policy import Hub
from inventory_pipeline.core.errors import HubError

# Which model's rows are kept, and under which name.
KEPT = {
    "line_units": "order_lines",
    "open_reservations": "reservations",
    "balances": "positions",
    "waterfall": "ats",
}
ATS_STAMP = ("policy_version", "mapping_version", "ledger_offset", "computed_at")
BEFORE_SCOPE = ("blindness", "touched")
# Which model's rows are deleted from which table once they are of no more use.
FORGOTTEN = {"superseded_sweeps": "sweeps", "superseded_cells": "cells"}


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
    connection = duckdb.connect(":memory:" if path is None else str(path))
    try:
        connection.execute("SET preserve_insertion_order = false")
        # Everything that is needed is built in: nothing is fetched.
        connection.execute("SET autoinstall_known_extensions = false")
        engine = Engine(connection)
        engine._prepare()
        yield engine
    finally:
        connection.close()


class Engine:
    """SEMANTICS §3 to §6 over one DuckDB connection; call its verbs inside `transaction()`."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self._db = connection
        self._shapes: dict[str, str] = {}  # of each model: its columns, as CREATE TABLE takes them

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """One DuckDB transaction: everything in it, or nothing."""
        self._db.execute("BEGIN")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    # What comes in

    def load_policy(self, hub: Hub, *, policy_version: int, mapping_version: int) -> bool:
        """Fills the policy tables; True if they changed: then everything needs a full run.

        Raises ConfigInvalid for a number that is finer than the hub keeps.
        """
        version = (policy_version, mapping_version, hub.policy_hash, hub.catalog_hash)
        columns = "policy_version, mapping_version, policy_hash, catalog_hash"
        if self._one(f"SELECT {columns} FROM meta") == version:
            return False
        for name, table in policy_tables(hub).items():
            self._db.execute(f"DELETE FROM {name}")
            self._insert(name, table)
        self._db.execute(f"UPDATE meta SET ({columns}) = (?, ?, ?, ?)", list(version))
        return True

    def append_events(self, events: pa.Table) -> None:
        """Ledger entries of kind `event`: the columns of `EVENTS_SCHEMA`, others are ignored."""
        self._insert("events", without_zone(events.select(EVENTS_SCHEMA.names)))

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
        self._db.execute(
            "INSERT INTO snapshots VALUES ($ledger_offset, $system, $as_of, $source, $complete)",
            {**stamp, "complete": complete},
        )
        # A held row, or one without any value, is kept: it says that nothing was left out.
        sums = ", ".join(
            f"CASE WHEN NOT bool_or(coalesce(held, false)) THEN sum({state})::BIGINT END"
            if state in states
            else "NULL"
            for state in STATES
        )
        self._db.execute(
            "INSERT INTO cells"
            f" SELECT $ledger_offset, $system, $as_of, $source, sku, location, {sums}"
            " FROM read_parquet($parquet) WHERE sku IS NOT NULL AND location IS NOT NULL"
            " GROUP BY sku, location",
            {**stamp, "parquet": str(parquet)},
        )
        if complete:
            carried = ", ".join(str(state in states).lower() for state in STATES)
            self._db.execute(
                "INSERT INTO sweeps"
                f" SELECT DISTINCT $ledger_offset, $system, $as_of, $source, location, {carried}"
                " FROM read_parquet($parquet) WHERE location IS NOT NULL",
                {**stamp, "parquet": str(parquet)},
            )

    # What a run does

    def touched(self, at: datetime) -> int:
        """Fills `scope` with what was appended since the last run or is due by time; its size."""
        parameters = {"at": naive(at), "reached": self.ledger_offset()}
        self._make("blindness", parameters)
        self._make("touched", parameters)
        self._db.execute(
            "CREATE OR REPLACE TEMP TABLE scope AS"
            " SELECT t.* FROM touched t SEMI JOIN items i ON i.sku = t.sku"
        )
        return self._count("scope")

    def compute(self, *, at: datetime, ledger_offset: int, full: bool) -> Computed:
        """Positions, order lines, waterfalls and quantities of the scope at the time `at`.

        Changed listings are appended to `pending`. `full` takes the whole catalogue as its scope,
        and forgets what is no longer in it.
        """
        if full:
            self._make("blindness", {"at": naive(at)})
            self._db.execute(
                "CREATE OR REPLACE TEMP TABLE scope AS"
                " SELECT sku, NULL::TIMESTAMP AS occurred_at, NULL::TIMESTAMP AS received_at"
                " FROM (SELECT sku FROM items UNION SELECT sku FROM desired)"
            )
        snapshots_came = self._any(f"snapshots WHERE ledger_offset > {self.ledger_offset()}")
        self._run(at=naive(at), ledger_offset=ledger_offset)
        self._keep(at=naive(at), ledger_offset=ledger_offset, full=full)
        if snapshots_came:
            self._forget(at=naive(at))
        return Computed(
            at=at,
            ledger_offset=ledger_offset,
            full=full,
            skus=self._count("scope"),
            positions=self._count("balances"),
            rows=self._count("waterfall"),
            changed=dict(
                self._db.execute(
                    "SELECT channel, count(*) FROM changes GROUP BY channel ORDER BY channel"
                ).fetchall()
            ),
            next_wakeup=self.next_wakeup(),
        )

    # What it leaves behind

    def ledger_offset(self) -> int:
        """The offset up to which everything is computed."""
        return int(self._one("SELECT ledger_offset FROM meta")[0])

    def pending(self) -> pa.Table:
        """Listings whose quantity changed and which the outbox may not have yet, oldest first.

        channel, bucket, bucket_external, external_id, sku string; units_milli, desired_milli,
        ledger_offset int64; occurred_at, received_at timestamp[us, UTC]; listed bool.
        """
        return self._table(
            "SELECT * FROM pending ORDER BY ledger_offset, channel, bucket, external_id"
        )

    def clear_pending(self) -> None:
        """Forgets what the outbox has taken."""
        self._db.execute("DELETE FROM pending")

    def next_wakeup(self) -> datetime | None:
        """The next moment at which time alone changes a number."""
        due = self._one("SELECT min(due_at) FROM wakeups")[0]
        return None if due is None else aware(due)

    def positions(self) -> pa.Table:
        """One row a sku and location: six states in thousandths, and the time of each snapshot."""
        return self._table("SELECT * FROM positions ORDER BY sku, location")

    def order_lines(self) -> pa.Table:
        """One row a (system, order_id, line_id, component): every term of SEMANTICS §5."""
        return self._table("SELECT * FROM order_lines ORDER BY system, order_id, line_id, sku")

    def ats(self) -> pa.Table:
        """One row a channel, bucket and sku: every term of SEMANTICS §6 and the rules that won."""
        return self._table("SELECT * FROM ats ORDER BY channel, bucket, sku")

    def desired(self) -> pa.Table:
        """One row a listing: `desired_milli` in thousandths of the channel's unit."""
        return self._table("SELECT * FROM desired ORDER BY channel, bucket, external_id")

    def explain(self, sku: str, channel: str | None = None) -> list[dict[str, Any]]:
        """The waterfall of one sku, a dict a bucket, with the terms of each of its locations."""
        rows: list[dict[str, Any]] = self._table(
            "SELECT * FROM ats WHERE sku = $sku AND ($channel IS NULL OR channel = $channel)"
            " ORDER BY channel, bucket",
            {"sku": sku, "channel": channel},
        ).to_pylist()
        for row in rows:
            row["locations"] = self._table(
                "SELECT p.* FROM positions p JOIN bucket_locations f USING (location)"
                " WHERE p.sku = $sku AND f.channel = $channel AND f.bucket = $bucket"
                " ORDER BY location",
                {"sku": sku, "channel": row["channel"], "bucket": row["bucket"]},
            ).to_pylist()
        return rows

    # How

    def _prepare(self) -> None:
        fingerprint = _fingerprint()
        exists = self._one(
            "SELECT count(*) FROM information_schema.tables WHERE table_name = 'meta'"
        )[0]
        if exists:
            if self._one("SELECT fingerprint FROM meta")[0] != fingerprint:
                raise DerivedOutdated(
                    "the computed tables were made by another version of the calculation",
                    hint="run `inventory-pipeline rebuild`: it makes them again from the ledger.",
                )
        else:
            with self.transaction():
                for statement in ddl():
                    self._db.execute(statement)
                self._db.execute(
                    "INSERT INTO meta (fingerprint, ledger_offset) VALUES (?, 0)", [fingerprint]
                )
                self._shape_tables()
        self._shapes = dict(self._db.execute("SELECT model, columns FROM shapes").fetchall())

    def _shape_tables(self) -> None:
        """A table has the columns of the SELECT that fills it: run once over nothing."""
        nothing = datetime(1970, 1, 1)  # noqa: DTZ001 — inside, times are UTC without a zone
        self._make("blindness", {"at": nothing})
        self._db.execute(
            "CREATE OR REPLACE TEMP TABLE scope"
            " (sku VARCHAR, occurred_at TIMESTAMP, received_at TIMESTAMP)"
        )
        self._run(at=nothing, ledger_offset=0)
        for model, table in KEPT.items():
            extra = f", {_stamp()}" if table == "ats" else ""
            self._db.execute(
                f"CREATE TABLE {table} AS SELECT m.*{extra} FROM {model} m CROSS JOIN meta LIMIT 0",
            )
        names = ", ".join(f"'{name}'" for name in models())
        self._db.execute(
            "INSERT INTO shapes SELECT table_name,"
            " string_agg(column_name || ' ' || data_type, ', ' ORDER BY column_index)"
            f" FROM duckdb_columns() WHERE table_name IN ({names}) GROUP BY table_name"
        )

    def _run(self, *, at: datetime, ledger_offset: int) -> None:
        parameters = {"at": at, "ledger_offset": ledger_offset}
        for name in models():
            if name in BEFORE_SCOPE or name in FORGOTTEN:
                continue
            self._make(name, parameters)
            if name == "bundle_pools":
                # Bundles take the same steps 3 and 4 with their own rules.
                self._db.execute("INSERT INTO pools BY NAME SELECT * FROM bundle_pools")
                self._make("after_protect", parameters)

    def _make(self, name: str, parameters: Mapping[str, Any]) -> None:
        model = models()[name]
        if name in self._shapes and model.empty_unless and not self._any(model.empty_unless):
            self._db.execute(f"CREATE OR REPLACE TEMP TABLE {name} ({self._shapes[name]})")
            return
        bound = {key: parameters[key] for key in model.parameters}
        self._db.execute(f"CREATE OR REPLACE TEMP TABLE {name} AS {model.sql}", bound)

    def _keep(self, *, at: datetime, ledger_offset: int, full: bool) -> None:
        forget = "" if full else " WHERE sku IN (SELECT sku FROM scope)"
        self._db.execute("UPDATE meta SET ledger_offset = ?, computed_at = ?", [ledger_offset, at])
        for model, table in KEPT.items():
            self._db.execute(f"DELETE FROM {table}{forget}")
            extra = f", {_stamp()}" if table == "ats" else ""
            self._db.execute(
                f"INSERT INTO {table} BY NAME SELECT m.*{extra} FROM {model} m CROSS JOIN meta"
            )
        # One row a listing: the newest quantity is the only one worth sending.
        self._db.execute(
            "DELETE FROM pending p USING changes c WHERE p.channel = c.channel"
            " AND p.bucket = c.bucket AND p.external_id = c.external_id"
        )
        self._db.execute("INSERT INTO pending BY NAME SELECT * FROM changes")
        self._db.execute(f"DELETE FROM desired{forget}")
        self._db.execute("INSERT INTO desired BY NAME SELECT * FROM quantities")
        self._db.execute(f"DELETE FROM wakeups{forget}")
        self._db.execute("INSERT INTO wakeups BY NAME SELECT * FROM later_moments")
        self._db.execute("DELETE FROM last_blindness")
        self._db.execute(
            "INSERT INTO last_blindness SELECT channel, bucket, quarters FROM blindness"
        )

    def _forget(self, *, at: datetime) -> None:
        """Deletes what newer snapshots say again, so that the store does not grow with each."""
        for name, table in FORGOTTEN.items():
            self._make(name, {"at": at})
            keys = ["system", "as_of", "source", "location", *(["sku"] if table == "cells" else [])]
            same = " AND ".join(f"t.{key} = f.{key}" for key in keys)
            self._db.execute(f"DELETE FROM {table} t USING {name} f WHERE {same}")

    def _insert(self, table: str, rows: pa.Table) -> None:
        self._db.register("incoming_rows", rows)
        self._db.execute(f"INSERT INTO {table} BY NAME SELECT * FROM incoming_rows")
        self._db.unregister("incoming_rows")

    def _one(self, sql: str) -> tuple[Any, ...]:
        # All of it: a result that is not read to its end keeps the connection busy.
        [row] = self._db.execute(sql).fetchall()
        return tuple(row)

    def _any(self, source: str) -> bool:
        return bool(self._one(f"SELECT EXISTS (SELECT 1 FROM {source})")[0])

    def _count(self, table: str) -> int:
        return int(self._one(f"SELECT count(*) FROM {table}")[0])

    def _table(self, sql: str, parameters: Mapping[str, Any] | None = None) -> pa.Table:
        return with_zone(self._db.sql(sql, params=dict(parameters or {})).to_arrow_table())


def _stamp() -> str:
    return ", ".join(f"meta.{column}" for column in ATS_STAMP)


def _fingerprint() -> str:
    text = "\n".join([str(SCHEMA_VERSION), *ddl(), *(model.sql for model in models().values())])
    return hashlib.sha256(text.encode()).hexdigest()
