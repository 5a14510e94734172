"""Each cause of `ledger` and `systems` made to happen in files of a warehouse and a counting team:
named with its evidence, decided about, and closed.
"""

from datetime import timedelta

import pytest

from inventory_pipeline.core.vocabulary import Cause
from inventory_pipeline.flow.heal import heal
from inventory_pipeline.flow.land import land_changes, land_snapshots
from inventory_pipeline.flow.reconcile_sources import reconcile_ledger, reconcile_systems
from inventory_pipeline.memory import variance_views as views
from inventory_pipeline_tests.flow import worlds

HUB = """\
hub: small
locations:
  dc: {kind: warehouse}
systems:
  wms:
    connector: files
    options: {snapshots: "in/wms/*.csv", events: "in/wms/*.jsonl", settle_s: 0}
    locations: {"1": dc}
    owns: [{states: [on_hand, damaged, quality_control, incoming], locations: [dc]}]
    snapshot: {complete: true}
  team:
    connector: files
    options: {snapshots: "in/team/*.csv", settle_s: 0}
    locations: {"1": dc}
    snapshot: {complete: false, max_age: 2h}
  shop:
    connector: files
    options: {events: "in/shop/*.jsonl", settle_s: 0}
channels:
  web: {system: shop, mode: shadow, buckets: [{id: main, locations: [dc]}]}
"""
HEAD = "as_of,location,item,on_hand\n"
CASE = 12  # the team counts cases of C


class Stock(worlds.World):
    """The warehouse says A 10, B 5, C 30, an hour ago; the team says what a test lets it say."""

    def policy(self, **_options):
        (self.folder / "in/team").mkdir(parents=True, exist_ok=True)
        (self.folder / "hub.yaml").write_text(HUB)

    def __init__(self, folder, url):
        super().__init__(folder, url)
        self.identifiers(f"team,CASE-C,C,{CASE}")
        self.open()
        self.files = 0
        self.counts("wms", A=10, B=5, C=30)
        self.clock.pass_(hours=1)

    def counts(self, system, **on_hand):
        """A snapshot of this moment, as a file that the hub reads."""
        self.files += 1
        rows = "".join(
            f"{self.clock().isoformat()},1,{item.replace('_', '-')},{units}\n"
            for item, units in on_hand.items()
        )
        self._leave(f"in/{system}/{self.files}.csv", HEAD + rows)
        self.clock.pass_(minutes=1)
        return land_snapshots(self.ctx, system)

    def issues(self, sku, units, *, event_id="i1", ago=timedelta(0)):
        self.files += 1
        body = {
            "event_id": event_id, "type": "goods_issued", "item": sku, "quantity": units,
            "location": "1", "occurred_at": (self.clock() - ago).isoformat(),
        }  # fmt: skip
        self.events("wms", f"e{self.files}", body)
        self.clock.pass_(minutes=1)

    def causes(self, compare):
        return {v.sku or v.external_id: v.cause for v in compare(self.ctx).variances}

    def healed(self):
        """Sku → what was decided about it, and whether a person is told."""
        assert heal(self.ctx) == {}, "nothing is sent about stock"
        with self.ctx.pg.connection() as connection:
            rows = views.open_variances(connection)
        return {row.sku or row.external_id: (row.heal, row.alert_at is not None) for row in rows}

    def evidence(self):
        with self.ctx.pg.connection() as connection:
            [row] = views.open_variances(connection)
        return row.evidence

    def closed(self):
        with self.ctx.pg.connection() as connection:
            assert views.open_variances(connection) == []
            rows = views.history(connection)
        return {row.sku or row.external_id: row.cause for row in rows if row.closed_at}


@pytest.fixture
def stock(tmp_path, pg_url):
    world = Stock(tmp_path, pg_url)
    yield world
    world.close()


def test_cases_that_cannot_say_single_units(stock):
    stock.counts("team", CASE_C=2)
    assert stock.causes(reconcile_systems) == {"C": Cause.ROUNDING}
    assert stock.evidence()["snapshot"]
    assert stock.healed() == {"C": ("none", False)}
    stock.issues("C", 6)
    stock.counts("team", CASE_C=2)
    assert stock.causes(reconcile_systems) == {}, "24 are two cases"
    assert stock.closed() == {"C": Cause.ROUNDING}


def test_a_whole_case_that_is_missing_is_told(stock):
    stock.counts("team", CASE_C=1)
    assert stock.causes(reconcile_systems) == {"C": Cause.UNEXPLAINED}
    assert stock.healed() == {"C": ("alert", True)}
    stock.counts("team", CASE_C=2.5)
    assert stock.causes(reconcile_systems) == {}
    assert stock.closed() == {"C": Cause.UNEXPLAINED}


def test_a_count_that_is_older_than_its_max_age(stock):
    stock.counts("team", A=12)
    stock.clock.pass_(hours=3)
    assert stock.causes(reconcile_systems) == {"A": Cause.STALE_SOURCE}
    assert stock.evidence()["age_s"] > 2 * 3600
    assert stock.healed() == {"A": ("reread", False)}
    stock.counts("team", A=10)
    assert stock.causes(reconcile_systems) == {}
    assert stock.closed() == {"A": Cause.STALE_SOURCE}


def test_an_old_count_that_agrees_is_no_variance(stock):
    stock.counts("team", A=10)
    stock.clock.pass_(days=3)
    assert stock.causes(reconcile_systems) == {}


@pytest.mark.parametrize(
    ("system", "compare"), [("wms", reconcile_ledger), ("team", reconcile_systems)]
)
def test_an_event_that_came_after_the_count(stock, system, compare):
    stock.counts(system, A=7, B=5, C=30) if system == "wms" else stock.counts(system, A=7)
    stock.issues("A", 3, event_id="late", ago=timedelta(minutes=30))
    assert stock.causes(compare) == {"A": Cause.LATE_EVENT}
    assert stock.evidence()["events"] == ["late"]
    assert stock.healed() == {"A": ("none", False)}
    stock.counts("wms", A=7, B=5, C=30)
    stock.counts(system, A=7, B=5, C=30) if system == "wms" else stock.counts(system, A=7)
    assert stock.causes(compare) == {}
    assert stock.closed() == {"A": Cause.LATE_EVENT}


@pytest.mark.parametrize(
    ("system", "compare"), [("wms", reconcile_ledger), ("team", reconcile_systems)]
)
def test_an_event_that_was_counted_twice_there(stock, system, compare):
    stock.issues("A", 3, event_id="twice")
    stock.counts(system, A=4, B=5, C=30) if system == "wms" else stock.counts(system, A=4)
    assert stock.causes(compare) == {"A": Cause.DUPLICATE_EFFECT}
    assert stock.evidence()["events"] == ["twice"]
    assert stock.healed() == {"A": ("alert", True)}
    if system == "wms":
        stock.counts("wms", A=4, B=5, C=30)
    else:
        stock.counts("team", A=7)
    assert stock.causes(compare) == {}
    assert stock.closed() == {"A": Cause.DUPLICATE_EFFECT}


def test_a_unit_that_nobody_booked(stock):
    stock.counts("wms", A=9, B=5, C=30)
    assert stock.causes(reconcile_ledger) == {"A": Cause.UNEXPLAINED}
    assert stock.healed() == {"A": ("alert", True)}
    stock.counts("wms", A=9, B=5, C=30)
    assert stock.causes(reconcile_ledger) == {}
    assert stock.closed() == {"A": Cause.UNEXPLAINED}


def test_an_item_that_nobody_mapped(stock):
    stock.counts("team", NOBODY=7)
    assert stock.causes(reconcile_systems) == {"NOBODY": Cause.UNMAPPED}
    assert stock.evidence()["quarantine"]
    assert stock.healed() == {"NOBODY": ("alert", True)}
    stock.counts("team", A=10)
    assert stock.causes(reconcile_systems) == {}
    assert stock.closed() == {"NOBODY": Cause.UNMAPPED}


def test_a_snapshot_that_is_older_than_its_max_age_says_so_of_the_ledger_too(stock):
    stock.counts("wms", A=9, B=5, C=30)
    stock.clock.pass_(days=2)
    assert stock.causes(reconcile_ledger) == {"A": Cause.STALE_SOURCE}
    assert stock.healed() == {"A": ("reread", False)}
    assert land_changes(stock.ctx, "wms") is not None
    stock.counts("wms", A=9, B=5, C=30)
    assert stock.causes(reconcile_ledger) == {}
    assert stock.closed() == {"A": Cause.STALE_SOURCE}
