"""SEMANTICS §3 to §6 as the files of sql/ say it, run in the order of their numbers.

The scope is a table: the items that are computed. A run over everything is the same run with
another scope. Positions are computed where something can have changed since the last run.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from inventory_pipeline.compute.database import Database, of_rules
from inventory_pipeline.compute.location_sums import write_location_sums
from inventory_pipeline.compute.models import models

# Which model's rows are deleted from which table once they are of no more use.
FORGOTTEN = {"superseded_sweeps": "sweeps", "superseded_cells": "cells"}
_SCOPE = "SELECT i.sku, i.item_no, i.kind, i.profile, i.step_milli,"
_BUNDLE_POOLS = (
    "CREATE OR REPLACE TEMP TABLE bundle_pools"
    " (item_no INTEGER, profile INTEGER, step_milli BIGINT, bucket_no SMALLINT, pool_milli BIGINT)"
)


class Calculation:
    """The models over one database; `at` is the evaluation time, without a zone."""

    def __init__(self, db: Database) -> None:
        self._db = db

    # What is computed

    def touched(self, *, at: datetime, reached: int, since: datetime | None) -> int:
        """Scope: what came since the last run (`reached`, `since`) or is due by time; its size."""
        parameters = {"at": at, "reached": reached, "since": since or at}
        self.make("blindness", parameters)
        self.make("touched", parameters)
        self._db.copy(
            "scope",
            f"{_SCOPE} t.caused_by, t.occurred_at, t.received_at"
            " FROM items i JOIN touched t ON t.sku = i.sku",
        )
        return self._db.count("scope")

    def everything(self, *, at: datetime) -> None:
        """Scope: the whole catalogue."""
        self.make("blindness", {"at": at})
        self._db.copy(
            "scope",
            f"{_SCOPE} NULL::BIGINT AS caused_by, NULL::TIMESTAMP AS occurred_at,"
            " NULL::TIMESTAMP AS received_at FROM items i",
        )

    # How

    def rules(self, *, at: datetime) -> None:
        """What rules say at this time, made again if they or one of their dates changed."""
        [ruled_at] = self._db.row("SELECT ruled_at FROM meta")
        if ruled_at is not None and ruled_at <= at:
            between = "> $ruled_at AND {0} <= $at"
            dates = " OR ".join(f"{d} {between.format(d)}" for d in ("from_at", "until_at"))
            [passed] = self._db.row(
                f"SELECT count(*) FROM rules WHERE {dates}", {"ruled_at": ruled_at, "at": at}
            )
            if not passed:
                return
        for model in of_rules():
            self._db.make(model, {"at": at})
        write_location_sums(self._db)
        self._db.run("UPDATE meta SET ruled_at = ?", [at])

    def positions(self, *, at: datetime, reached: int, since: datetime) -> None:
        """§3 to §5 of the scope; positions where something can have changed since the last run."""
        parameters = {"at": at, "reached": reached, "since": since}
        for name, model in models().items():
            if "10" <= model.file < "50" and not model.ephemeral:
                self.make(name, parameters)

    def keep_positions(self, *, all_of_them: bool) -> None:
        """Writes what `positions` computed into `stock` and `expected`."""
        if all_of_them:
            self._db.run("DELETE FROM stock")
            self._db.run("DELETE FROM expected")
            self._db.run("DELETE FROM below_zero")
        else:
            self._db.run("DELETE FROM stock WHERE item_no IN (SELECT item_no FROM stock_rows)")
            self._db.run(
                "DELETE FROM expected e USING spoken_places p"
                " WHERE p.item_no = e.item_no AND p.location = e.location"
            )
            self._db.run(
                "DELETE FROM below_zero z USING spoken_places p"
                " WHERE p.sku = z.sku AND p.location = z.location"
            )
        self._db.run("INSERT INTO stock BY NAME SELECT * FROM stock_rows")
        self._db.run(
            "INSERT INTO expected SELECT s.item_no, b.location, b.incoming_milli"
            " FROM balances b JOIN scope s ON s.sku = b.sku WHERE b.incoming_milli <> 0"
        )
        self._db.run(
            "INSERT INTO below_zero SELECT sku, location, on_hand_milli FROM balances"
            " WHERE on_hand_milli < 0"
        )
        if all_of_them:
            self._db.run(
                "INSERT INTO stock SELECT s.item_no, list_transform(range(coalesce("
                "(SELECT max(location_no) FROM locations), 0)), lambda _: 0), []"
                " FROM scope s ANTI JOIN stock k ON k.item_no = s.item_no WHERE s.kind = 'simple'"
            )

    def offers(self, *, at: datetime) -> None:
        """§6 of the scope, into `offers_now`; positions must be there."""
        for name, model in models().items():
            if not "50" <= model.file < "72" or model.ephemeral:
                continue
            if name == "component_rests":
                self._price("SEMI JOIN components x ON x.component = s.sku")
                self._db.run(_BUNDLE_POOLS)
            elif name == "offers_now":
                self._price("")
            self.make(name, {"at": at})

    def compare_offers(self) -> None:
        """Those of `offers_now` that are not what `offers` still holds, into `moved_offers`."""
        for name in ("offer_differences", "offers_before", "moved_offers"):
            self.make(name, {})

    def changes(self, *, ledger_offset: int, relisted: bool) -> None:
        """Listings whose quantity is not what it was, into `changes`."""
        if not relisted:
            self.make("quantities", {})
        name = "relisted_changes" if relisted else "changes"
        self._db.make(models()[name], {"ledger_offset": ledger_offset}, name="changes")

    def list_everything(self) -> None:
        """The quantity of every listing, into `quantities`."""
        self._db.copy(
            "moved_offers",
            "SELECT item_no, offer.bucket_no AS bucket_no,"
            " offer.available_milli AS available_milli, NULL::BIGINT AS before_milli"
            " FROM (SELECT item_no, unnest(buckets) AS offer FROM offers)",
        )
        self.make("quantities", {})

    def forget(self, *, at: datetime) -> None:
        """Deletes what newer snapshots say again, so that the store does not grow with each."""
        for name, table in FORGOTTEN.items():
            self.make(name, {"at": at})
            keys = ["system", "as_of", "source", "location", *["item_no"] * (table == "cells")]
            same = " AND ".join(f"t.{key} = f.{key}" for key in keys)
            self._db.run(f"DELETE FROM {table} t USING {name} f WHERE {same}")

    def make(self, name: str, parameters: Mapping[str, Any]) -> None:
        self._db.make(models()[name], parameters)

    def _price(self, which: str) -> None:
        self._db.copy(
            "priced",
            f"SELECT s.item_no, s.profile, s.step_milli FROM scope s {which}"
            " WHERE s.kind = 'simple'",
        )
