"""A sku's own entries alone give the numbers that the whole ledger gives, told line by line."""

import json
import os
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from inventory_pipeline.config.policy import AutoBuffer
from inventory_pipeline.core.ledger import CheckedSnapshot, LedgerEvent
from inventory_pipeline.flow import waterfall, why
from inventory_pipeline.flow.closure import closure
from inventory_pipeline.flow.replay import replayed, replayed_sku
from inventory_pipeline.memory import ledger
from inventory_pipeline_tests.compute import hubs
from inventory_pipeline_tests.compute.hubs import Snapshot
from inventory_pipeline_tests.fakes import Clock, context, happened, land, small_hub
from inventory_pipeline_tests.properties.worlds import worlds

EXAMPLES = max(10, int(os.environ.get("HUB_EXAMPLES", "100")) // 10)
SKUS_OF_EACH = 4


def remember(ctx, history):
    """The history in an empty ledger, entry by entry."""
    with ctx.pg.connection() as connection:
        connection.execute("TRUNCATE hub.ledger, hub.snapshots CASCADE")
        connection.execute("UPDATE hub.counter SET ledger_offset = 0")
        for number, entry in enumerate(history.numbered(), 1):
            if isinstance(entry, Snapshot):
                register(ctx, connection, entry)
            else:
                fields = {name: value for name, value in entry.items() if name != "ledger_offset"}
                event = LedgerEvent(
                    content_hash=b"", raw=json.dumps({}), source="test", position=str(number),
                    **fields,
                )  # fmt: skip
                ledger.append_events(
                    connection, [event], [], received_at=event.received_at, mapping_version=1
                )
        return ledger.head(connection)


def register(ctx, connection, entry):
    path = Path("landing") / f"{entry.ledger_offset}.parquet"
    (ctx.state / path).parent.mkdir(parents=True, exist_ok=True)
    rows = hubs.snapshot_table(entry)
    pq.write_table(rows, ctx.state / path)
    snapshot = CheckedSnapshot(
        system=entry.system, feed="", as_of=entry.as_of, complete=entry.complete,
        states=entry.states, source=entry.source, key=entry.source, rows=rows,
        data_rows=len(rows),
    )  # fmt: skip
    ledger.register_snapshot(
        connection, snapshot, path=str(path), landed_at=entry.as_of, mapping_version=1
    )


def of(table, sku, *without):
    rows = table.drop_columns(["computed_at", *without]).to_pylist()
    return [row for row in rows if row["sku"] == sku]


def told_of(history, hub):
    """Skus that something happened to, and the bundles that take them."""
    named = {row[0] for e in history.entries if isinstance(e, Snapshot) for row in e.rows}
    named |= {e["sku"] for e in history.entries if not isinstance(e, Snapshot)}
    takers = {part.bundle_sku for part in hub.catalog.parts if part.component_sku in named}
    return sorted((named & hub.catalog.items.keys()) | takers) or sorted(hub.catalog.items)


@pytest.fixture
def ctx(pg, tmp_path):
    return context(hubs.hub(), pg, tmp_path, Clock())


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
@given(world=worlds(), data=st.data())
def test_a_sku_replayed_alone_has_the_row_that_the_whole_ledger_gives_it(ctx, world, data):
    head = remember(ctx, world.history)
    some = st.sampled_from(told_of(world.history, world.hub))
    with replayed(replace(ctx, hub=world.hub), at=world.at, upto=head) as whole:
        for sku in data.draw(st.lists(some, max_size=SKUS_OF_EACH, min_size=1, unique=True)):
            part = closure(world.hub, sku)
            with replayed_sku(
                ctx.pg, ctx.state, part, at=world.at, upto=head, policy_version=1,
                mapping_version=1,
            ) as alone:  # fmt: skip
                assert of(alone.engine.ats(), sku) == of(whole.ats(), sku)
                assert alone_in(alone.engine.desired(), sku) == alone_in(whole.desired(), sku)
                for component in part.parts:
                    assert alone_in(alone.engine.order_lines(), component) == alone_in(
                        whole.order_lines(), component
                    )
                adds_up(part, alone)
                names_what_is_there(part, alone, world.at)


def alone_in(table, sku):
    return [row for row in table.to_pylist() if row["sku"] == sku]


def adds_up(part, alone):
    """Each line goes on from the one before it, and ends in what may be sold."""
    for row in alone.engine.explain(part.sku):
        lines = waterfall.lines(row)
        after = 0
        for line in lines:
            assert line.after_milli == after + line.change_milli
            after = line.after_milli
        assert after == row["available_milli"]
        if part.is_bundle:
            assert row["pool_milli"] == put_together(part, alone, row)
        else:
            places = waterfall.location_terms(row, part.hub)
            assert sum(place.sellable_milli for place in places) == row["sellable_milli"]


def put_together(part, alone, row):
    """The pool of a bundle from what is told of its components."""
    told = []
    for sku, units in part.parts.items():
        rows = alone.engine.explain(sku, row["channel"])
        [one] = [r for r in rows if r["bucket"] == row["bucket"]]
        told.append(waterfall.component_terms(row, one, part.hub, units))
    everywhere = min(one.possible_milli for one in told)
    if row["fulfilment"] == "split":
        return everywhere
    places = waterfall.bucket_locations(part.hub, row["channel"], row["bucket"])
    return min(
        everywhere, sum(min(one.possible_at_milli[place] for one in told) for place in places)
    )


def names_what_is_there(part, alone, at):
    """Positions have a word where they have a number; holds add up to what is reserved."""
    lines = alone.engine.order_lines().to_pylist()
    positions = {(row["sku"], row["location"]): row for row in alone.engine.positions().to_pylist()}
    for told in why._positions(part, alone, lines, at):
        for word in told.words:
            row = positions[told.sku, word.location]
            assert word.quantity_milli == row[f"{word.state}_milli"]
            assert word.kind or not word.quantity_milli
            if word.kind == "snapshot":
                assert word.ledger_offset is not None
    holds = list(why._reservations(part, alone.events, at))
    for (sku, location), row in positions.items():
        if sku in part.parts and row["reserved_taken_at"] is None:
            here = [h.quantity_milli for h in holds if (h.sku, h.location) == (sku, location)]
            assert sum(here) == row["reserved_milli"]


@pytest.fixture
def small(pg, tmp_path):
    return context(small_hub(), pg, tmp_path, Clock())


def both(ctx, sku):
    """(the sku's row replayed with everything, and alone) at the hub's time."""
    with ctx.pg.connection() as connection:
        head = ledger.head(connection)
    part = closure(ctx.hub, sku)
    with replayed(ctx, at=ctx.clock(), upto=head) as whole:
        expected = of(whole.ats(), sku)
    with replayed_sku(
        ctx.pg, ctx.state, part, at=ctx.clock(), upto=head, policy_version=1, mapping_version=1
    ) as alone:
        return expected, of(alone.engine.ats(), sku)


def test_a_complete_snapshot_that_leaves_the_sku_out_says_zero(small):
    land(small, A=10, B=5)
    small.clock.pass_(minutes=1)
    land(small, B=5)
    whole, alone = both(small, "A")
    assert alone == whole
    assert alone[0]["on_hand_milli"] == 0


def test_an_auto_buffer_hears_its_owner_speak_of_other_skus(small):
    auto = AutoBuffer(factor=Decimal(1), max_units=Decimal(50), window=timedelta(hours=10))
    rules = hubs.rules({"kind": "buffer", "auto": auto})
    ctx = replace(small, hub=replace(small.hub, rules=rules))
    land(ctx, A=40, B=5)
    happened(ctx, "order_placed", "A", 10, system="shop", order_id="1", line_id="1")
    small.clock.pass_(hours=4)
    happened(ctx, "adjusted", "B", 1, location="dc")
    small.clock.pass_(hours=1)
    whole, alone = both(ctx, "A")
    assert alone == whole
    assert alone[0]["buffer_milli"] == 1_000  # one unit an hour, and one hour since B was heard of


def test_only_the_snapshots_that_count_are_read(small):
    for units in (10, 9, 8):
        land(small, A=units, B=5)
        small.clock.pass_(minutes=1)
    part = closure(small.hub, "A")
    with replayed_sku(
        small.pg, small.state, part, at=small.clock(), upto=3, policy_version=1, mapping_version=1
    ) as alone:
        assert alone.engine.ats().to_pylist()[0]["on_hand_milli"] == 8_000
        assert [said.landed.ledger_offset for said in alone.snapshots] == [3]
