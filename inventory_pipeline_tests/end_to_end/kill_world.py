"""A small hub with a warehouse and two real shops, whose sync runs can be killed at any point.

`web` compares and swaps and remembers keys (Shopify), `market` has neither (WooCommerce); both sell
by themselves. Everything that happens is made up from the number of its episode, so that two
worlds that lived through the same episodes have to look alike.
"""

import json
import os
import random
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from contextlib import ExitStack, closing
from pathlib import Path

import httpx
import psycopg

from inventory_pipeline.core import faults
from inventory_pipeline.simulate import shopify, woocommerce
from inventory_pipeline.simulate.shopify_cost import Bucket
from inventory_pipeline.simulate.webhooks import DeliveryFaults
from inventory_pipeline_tests.connectors.servers import serving
from inventory_pipeline_tests.end_to_end.kill_runs import Ahead

SKUS = ("A", "B", "C", "D", "E", "F")
STOCK = 500
LOCATION = "gid://shopify/Location/1"
KILLED = -9
ENOUGH_RUNS = 12
# Longer than the channels' skew and than the time that the hub waits for an order that is missing.
CALM_S = 3.0
SECRETS = {"KILL_TOKEN": "token", "KILL_KEY": "ck", "KILL_SECRET": "cs"}

HUB = """\
hub: killed
locations:
  dc: {{kind: warehouse}}
systems:
  wms:
    connector: files
    options: {{snapshots: "in/*.csv", events: "in/*.jsonl", settle_s: 0}}
    owns: [{{states: [on_hand, damaged, quality_control, incoming], locations: [dc]}}]
  shop:
    connector: shopify
    poll: 1s
    options: {{url: "{web}", access_token: {{env: KILL_TOKEN}}, batch_size: 4}}
  bazaar:
    connector: woocommerce
    poll: 1s
    options:
      url: "{market}"
      consumer_key: {{env: KILL_KEY}}
      consumer_secret: {{env: KILL_SECRET}}
      batch_size: 4
channels:
  web:
    {{system: shop, mode: live, skew: 1s,
      buckets: [{{id: main, external: "gid://shopify/Location/1", locations: [dc]}}]}}
  market: {{system: bazaar, mode: live, skew: 1s, buckets: [{{id: main, locations: [dc]}}]}}
"""


class KillWorld:
    """The hub folder, its shops, and the process that forks its runs."""

    def __init__(self, folder: Path, postgres_url: str) -> None:
        self.folder = folder
        self.url = postgres_url
        (folder / "hub" / "in").mkdir(parents=True)
        self.clock = Ahead(folder / "clock")
        self.units = dict.fromkeys(SKUS, STOCK)  # what there is to sell, whoever knows it
        self.sold: Counter[str] = Counter()
        self.orders = 0
        self.kills = 0
        self.seen_writes = {"web": 0, "market": 0}
        self.open = ExitStack()

    def __enter__(self) -> "KillWorld":
        self.shops = {
            "web": self.open.enter_context(serving(self._web())),
            "market": self.open.enter_context(serving(self._market())),
        }
        self._write_hub()
        self.client = self.open.enter_context(httpx.Client(trust_env=False))
        self.runner = subprocess.Popen(
            [
                sys.executable, "-m", "inventory_pipeline_tests.end_to_end.kill_runs",
                str(self.folder / "hub"), str(self.folder / "state"), self.url,
                str(self.folder / "clock"),
            ],
            env=os.environ | SECRETS,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.open.enter_context((self.folder / "said").open("w")),
            text=True,
        )  # fmt: skip
        self._take_stock()
        self.until_quiet()
        self.check_writes()
        return self

    def __exit__(self, *_: object) -> None:
        self.runner.stdin.close()
        self.runner.wait(timeout=30)
        self.runner.stdout.close()
        self.open.close()

    # -- what happens ---------------------------------------------------------------------------

    def happen(self, number: int) -> None:
        """Moves in the warehouse and orders in both shops; some of them a moment ago only."""
        chance = random.Random(number)
        self.clock.pass_(CALM_S)
        lines = []
        for place in range(chance.randint(1, 3)):
            sku, units = chance.choice(SKUS), chance.randint(1, 5)
            kind = chance.choice(("goods_received", "pos_sale", "adjusted"))
            self.units[sku] += -units if kind == "pos_sale" else units
            lines.append(
                {
                    "event_id": f"w{number}-{place}", "type": kind, "item": sku,
                    "quantity": units, "location": "dc", "reason": "count",
                    "occurred_at": self.clock().isoformat(),
                }
            )  # fmt: skip
        path = self.folder / "hub" / "in" / f"{number:05}.jsonl"
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
        os.utime(path, (1, 1))
        for channel in ("web", "market"):
            self.sell(channel, chance.choice(SKUS), chance.randint(1, 2))
        if chance.random() < 0.6:
            self.clock.pass_(CALM_S)

    def sell(self, channel: str, sku: str, quantity: int) -> None:
        self.orders += 1
        self.units[sku] -= quantity
        self.sold[channel] += 1
        answer = self.client.post(
            f"{self.shops[channel]}/storefront/orders",
            json={
                "order_id": str(self.orders),
                "lines": [{"sku": sku, "quantity": quantity}],
            },
        )
        assert answer.status_code == 200, answer.text

    # -- runs -----------------------------------------------------------------------------------

    def run(self, **env: str) -> int:
        """One run to its end; True if it was killed. Any other end than a good one fails."""
        self.runner.stdin.write(json.dumps({"env": env}) + "\n")
        self.runner.stdin.flush()
        answer = self.runner.stdout.readline()
        assert answer, f"the runner ended: {self.said()}"
        code = int(json.loads(answer)["code"])
        assert code in {0, KILLED}, self.said()
        if code == KILLED:
            self.kills += 1
        return code

    def run_killed(self, at: str) -> bool:
        """Whether it died; it may have come to its end before."""
        return self.run(**{faults.AT: at}) == KILLED

    def points(self) -> list[str]:
        """The names of the points that a run passes, in order."""
        log = self.folder / "points"
        self.run(**{faults.LOG: str(log)})
        found = log.read_text().splitlines()
        log.unlink()
        return found

    def until_quiet(self) -> None:
        """Runs, each some time after the one before, until no listing needs a look."""
        for _ in range(ENOUGH_RUNS):
            assert self.run() == 0
            if not self.query("SELECT 1 FROM hub.outbox WHERE look"):
                return
            self.clock.pass_(CALM_S)
        looks = self.query("SELECT * FROM hub.outbox WHERE look")
        breakers = self.query("SELECT * FROM hub.breakers")
        raise AssertionError(f"not quiet: {looks}, {breakers}, {self.said()}")

    # -- what there is then ---------------------------------------------------------------------

    def shown(self, channel: str) -> dict[str, int]:
        state = self.client.get(f"{self.shops[channel]}/control/state?orders=0").json()
        return {row["sku"]: row["available"] for row in state["levels"]}

    def check_writes(self) -> None:
        """Each write since the last look set what was true at that moment, and changed something.

        A write that was repeated would set what stands there already, or give a sold unit back.
        """
        for channel in self.shops:
            for number, sku, before, after in self._writes(channel):
                self.seen_writes[channel] = number
                assert before != after, f"{channel} was told {sku} = {after}, which it showed"
                assert after == self.units[sku], (
                    f"{channel} was told {sku} = {after}; there are {self.units[sku]}"
                )

    def check(self) -> None:
        """Both shops show what there is, nothing is open, and nothing is lost."""
        for channel in self.shops:
            assert self.shown(channel) == self.units
        desired = self.query("SELECT channel, sku, desired_milli / 1000 FROM hub.outbox")
        assert {(c, sku): units for c, sku, units in desired} == {
            (channel, sku): units for channel in self.shops for sku, units in self.units.items()
        }
        assert self.query("SELECT * FROM hub.attempts WHERE outcome IS NULL") == []
        assert self.query("SELECT * FROM hub.intents") == []
        assert self.query("SELECT * FROM hub.quarantine") == []

    def remembered(self) -> dict[str, object]:
        """What two worlds with the same episodes must have in common: no times, no offsets."""
        return {
            "ledger": sorted(
                self.query(
                    "SELECT system, event_id, type, sku, quantity_milli, order_id, channel"
                    " FROM hub.ledger WHERE kind = 'event'"
                )
            ),
            "outbox": sorted(
                self.query(
                    "SELECT channel, bucket, external_id, sku, desired_milli, listed, look,"
                    " coalesce(failure, ''), dead_at IS NULL FROM hub.outbox"
                )
            ),
            "shown": {channel: self.shown(channel) for channel in self.shops},
        }

    def query(self, sql: str) -> list[tuple[object, ...]]:
        with psycopg.connect(self.url) as connection:
            return connection.execute(sql).fetchall()

    def said(self) -> str:
        return (self.folder / "said").read_text()[-3000:]

    # -- inside ---------------------------------------------------------------------------------

    def _writes(self, channel: str) -> list[tuple[int, str, int, int]]:
        with closing(sqlite3.connect(self.folder / f"{channel}.sqlite")) as connection:
            return connection.execute(
                "SELECT write_id, sku, before, after FROM writes JOIN items USING (item_id)"
                " WHERE source = 'api' AND write_id > ? ORDER BY write_id",
                (self.seen_writes[channel],),
            ).fetchall()

    def _write_hub(self) -> None:
        hub = self.folder / "hub"
        (hub / "hub.yaml").write_text(HUB.format(**self.shops))
        (hub / "catalog").mkdir()
        items = "".join(f"{sku},{sku},simple,0,\n" for sku in SKUS)
        (hub / "catalog" / "items.csv").write_text("sku,title,kind,decimals,tags\n" + items)

    def _take_stock(self) -> None:
        path = self.folder / "hub" / "in" / "stock.csv"
        rows = "".join(f"{self.clock().isoformat()},dc,{sku},{STOCK}\n" for sku in SKUS)
        path.write_text("as_of,location,item,on_hand\n" + rows)
        os.utime(path, (1, 1))

    def _catalog(self) -> Path:
        path = self.folder / "items.csv"
        rows = "".join(f"{n},{sku},{sku},1.00,0\n" for n, sku in enumerate(SKUS, start=1))
        path.write_text("id,sku,title,price,available\n" + rows)
        return path

    def _web(self):
        return shopify.build_shop(
            state=self.folder / "web.sqlite",
            catalog=self._catalog(),
            token=SECRETS["KILL_TOKEN"],
            locations=[LOCATION],
            bucket=Bucket(maximum=1e6, restore=1e6, timer=time.monotonic),
            webhook_url="",
            webhook_secret="",
            delivery=DeliveryFaults(),
            clock=self.clock,
        )

    def _market(self):
        return woocommerce.build_shop(
            state=self.folder / "market.sqlite",
            catalog=self._catalog(),
            key=SECRETS["KILL_KEY"],
            secret=SECRETS["KILL_SECRET"],
            webhook_url="",
            webhook_secret="",
            delivery=DeliveryFaults(),
            clock=self.clock,
        )
