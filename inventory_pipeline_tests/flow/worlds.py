"""A hub folder whose catalogue and files a test changes, and what the running hub makes of it."""

import json
import os
from datetime import UTC, timedelta

from inventory_pipeline.flow.context import HubContext, open_context
from inventory_pipeline.flow.cycle import run_cycle
from inventory_pipeline.flow.derived import derived
from inventory_pipeline.flow.evaluate import evaluate
from inventory_pipeline.flow.land import land_changes, land_snapshots
from inventory_pipeline.flow.rebuild import rebuild
from inventory_pipeline.flow.release import Outcome, release_rows
from inventory_pipeline_tests.fakes import START, Clock

HUB = """\
hub: small
locations:
  dc: {{kind: warehouse}}
  nyc: {{kind: store}}
systems:
  wms:
    connector: files
    options: {{snapshots: "in/wms/*.csv", events: "in/wms/*.jsonl", settle_s: 0}}
    locations: {{"1": dc{locations}}}
    owns: [{{states: [on_hand, damaged, quality_control, incoming], locations: [dc, nyc]}}]
    snapshot: {{complete: {complete}}}
  shop:
    connector: files
    options: {{events: "in/shop/*.jsonl", settle_s: 0}}
channels:
  web: {{system: shop, mode: shadow, buckets: [{{id: main, locations: [dc, nyc]}}]}}
"""
HEAD = "as_of,location,item,on_hand,damaged\n"
STAMPS = {"policy_version", "mapping_version", "ledger_offset", "computed_at", "rules"}


class World:
    """A hub folder, its state and its clock; `open` starts it as a process would."""

    def __init__(self, folder, url):
        self.folder = folder / "hub"
        self.state = folder / "state"
        self.url = url
        self.clock = Clock()
        self.ctx: HubContext | None = None
        for name in ("catalog", "in/wms", "in/shop"):
            (self.folder / name).mkdir(parents=True)
        self.policy()
        self.items("A", "B", "C")

    def policy(self, *, locations="", complete="false"):
        text = HUB.format(locations=locations, complete=complete)
        (self.folder / "hub.yaml").write_text(text)

    def items(self, *rows):
        """`A`, or `A:2` for two decimals, or `A:bundle`."""
        lines = []
        for row in rows:
            sku, _, more = row.partition(":")
            kind = "bundle" if more == "bundle" else "simple"
            lines.append(f"{sku},{sku},{kind},{more if more.isdigit() else 0},\n")
        text = "sku,title,kind,decimals,tags\n" + "".join(lines)
        (self.folder / "catalog" / "items.csv").write_text(text)

    def identifiers(self, *rows):
        """`wms,X1,A,12`: system, external id, sku, units."""
        text = "system,external_id,sku,units\n" + "".join(f"{row}\n" for row in rows)
        (self.folder / "catalog" / "identifiers.csv").write_text(text)

    def bundle(self, *rows):
        text = "bundle_sku,component_sku,quantity\n" + "".join(f"{row}\n" for row in rows)
        (self.folder / "catalog" / "bundles.csv").write_text(text)

    def open(self):
        """Closes what was open, and opens the folder as it is now."""
        self.close()
        self.ctx = open_context(self.folder, self.state, self.url, self.clock)
        return self.ctx

    def close(self):
        if self.ctx is not None:
            self.ctx.close()
            self.ctx = None

    def snapshot(self, name, *rows, hours=-1):
        """Rows like `1,X1,5,0`: location, item, on_hand, damaged."""
        at = (START + timedelta(hours=hours)).isoformat()
        text = HEAD + "".join(f"{at},{row}\n" for row in rows)
        self._leave(f"in/wms/{name}.csv", text)
        return land_snapshots(self.ctx, "wms")

    def events(self, system, name, *bodies):
        lines = "".join(json.dumps(body) + "\n" for body in bodies)
        self._leave(f"in/{system}/{name}.jsonl", lines)
        return land_changes(self.ctx, system)

    def _leave(self, name, text):
        path = self.folder / name
        path.write_text(text)
        # Settled long ago, whatever the machine's own clock says.
        os.utime(path, (1, 1))

    def cycle(self):
        return run_cycle(self.ctx)

    def numbers(self):
        """What the derived store says: positions, order lines, waterfalls."""
        with derived(self.ctx) as engine:
            return _numbers(engine)

    def available(self, numbers=None):
        """Sku → what web may sell."""
        ats = (numbers or self.numbers())["ats"]
        return {key[2]: row["available_milli"] // 1000 for key, row in ats.items()}

    def rebuilt(self):
        rebuild(self.ctx)
        return self.numbers()

    def by_the_files(self):
        """Sku → what `evaluate` makes of the folder's files with today's mapping."""
        result = evaluate(self.folder, as_of=self.clock().isoformat())
        return {row["sku"]: row["available_milli"] // 1000 for row in result.rows}

    def rows(self, sql, *values):
        with self.ctx.pg.connection() as connection:
            return connection.execute(sql, values).fetchall()

    def held(self):
        """(reason, kind) of every row that is in quarantine now."""
        return self.rows(
            "SELECT reason, kind FROM hub.quarantine WHERE released_at IS NULL"
            " ORDER BY quarantine_id"
        )

    def open_ids(self):
        found = self.rows(
            "SELECT quarantine_id FROM hub.quarantine WHERE released_at IS NULL ORDER BY 1"
        )
        return [number for (number,) in found]

    def release(self, *ids, **options) -> list[Outcome]:
        return release_rows(self.ctx, ids or self.open_ids(), **options)


def _numbers(engine):
    found = {
        "positions": {(r["sku"], r["location"]): r for r in engine.positions().to_pylist()},
        "lines": {
            (r["system"], r["order_id"], r["line_id"], r["sku"]): r
            for r in engine.order_lines().to_pylist()
        },
        "ats": {(r["channel"], r["bucket"], r["sku"]): r for r in engine.ats().to_pylist()},
    }
    return {
        name: {
            key: {column: value for column, value in row.items() if column not in STAMPS}
            for key, row in table.items()
        }
        for name, table in found.items()
    }


def sale(number, item, quantity=1, **more):
    """A sale at the warehouse's own till."""
    return {
        "event_id": f"e{number}", "type": "pos_sale", "item": item, "quantity": quantity,
        "location": "1", "occurred_at": moment(-0.5),
    } | more  # fmt: skip


def order(number, item, quantity=1, **more):
    """An order line of the shop."""
    return {
        "event_id": f"o{number}", "type": "order_placed", "order_id": str(number), "line_id": "1",
        "item": item, "quantity": quantity, "occurred_at": moment(-0.5),
    } | more  # fmt: skip


def moment(hours):
    return (START + timedelta(hours=hours)).astimezone(UTC).isoformat()
