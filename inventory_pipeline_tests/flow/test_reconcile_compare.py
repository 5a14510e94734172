"""Two tables side by side: what differs is found, and nothing else, whatever the order."""

import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pyarrow as pa

from inventory_pipeline.config.policy import Bucket, Channel, Tolerances
from inventory_pipeline.core.ports import Level, ListingRef
from inventory_pipeline.core.vocabulary import Mode
from inventory_pipeline.flow.reconcile_compare import Readings, compare, differences
from inventory_pipeline_tests.flow.test_push import Bench

AT = datetime(2026, 3, 2, 8, 0, 0, 123456, tzinfo=UTC)
CHANNEL = Channel(
    id="web",
    system="shop",
    mode=Mode.LIVE,
    buckets=(
        Bucket(id="main", external="L1", locations=("dc",)),
        Bucket(id="side", external="L2", locations=("dc",)),
    ),
)


def expected(*rows):
    buckets, names, units = zip(*rows, strict=True)
    milli = pa.array([None if u is None else u * 1000 for u in units], pa.int64())
    return pa.table([list(buckets), list(names), milli],
                    names=["bucket", "external_id", "expected_milli"])  # fmt: skip


def level(external_id, units, *, bucket="L1", **more):
    listing = ListingRef(bucket="", bucket_external=bucket, external_id=external_id)
    return Level(listing=listing, quantity_milli=units * 1000, asked_at=AT, answered_at=AT, **more)


def differing(rows, levels, tolerances=None):
    shown = Readings(CHANNEL).read(levels)
    found = compare(expected(*rows), shown, tolerances or Tolerances())
    return {d.place: d for d in differences(found, shown, {"main": "L1", "side": "L2"})}


def test_what_differs_is_missing_or_unknown_is_found_and_nothing_else():
    rows = [("main", "A", 1), ("main", "B", 2), ("main", "C", 3), ("side", "A", 9)]
    found = differing(rows, [level("A", 9, bucket="L2"), level("X", 4), level("B", 5),
                             level("A", 1)])  # fmt: skip
    assert set(found) == {("main", "B"), ("main", "C"), ("main", "X")}
    assert found["main", "B"].level.quantity_milli == 5000
    assert found["main", "C"].level is None
    assert not found["main", "X"].known


def test_a_reading_comes_back_as_it_was_read():
    changed = AT - timedelta(hours=3)
    sent = level("A", 7, changed_at=changed, reserved_milli=2000)
    [one] = differing([("main", "A", 7)], [sent]).values()
    assert one.level == replace(
        sent, listing=ListingRef(bucket="main", bucket_external="L1", external_id="A")
    )
    assert one.level.available_milli == 5000


def test_a_place_that_is_not_ours_is_left_out():
    assert differing([("main", "A", 1)], [level("A", 1), level("A", 3, bucket="L9")]) == {}


def test_a_listing_that_came_twice_is_one_of_ours_and_looked_at_again():
    found = differing([("main", "A", 1)], [level("A", 1), level("A", 3)])
    assert [(one.known, one.expected_milli) for one in found.values()] == [(True, 1000)]


def test_nothing_is_expected_of_a_listing_never_seen_but_it_must_be_there():
    rows = [("main", "A", None), ("main", "B", None)]
    assert set(differing(rows, [level("A", 4)])) == {("main", "B")}


def test_a_difference_within_either_tolerance_is_none():
    by_units = Tolerances(units=Decimal(2))
    by_percent = Tolerances(percent=Decimal("2.5"))
    rows = [("main", "A", 1000), ("main", "B", 10)]
    levels = [level("A", 975), level("B", 8)]
    assert set(differing(rows, levels, by_units)) == {("main", "A")}
    assert set(differing(rows, levels, by_percent)) == {("main", "B")}


def test_it_finds_what_a_dictionary_finds_among_many():
    source = random.Random(1)
    rows = [("main", f"S{n}", source.randrange(-3, 4)) for n in range(20_000)]
    shown = {name: units + (source.random() < 0.01) for _, name, units in rows}
    for n in range(0, 20_000, 400):
        del shown[f"S{n}"]
    shown |= {f"N{n}": 1 for n in range(50)}
    levels = [level(name, units) for name, units in shown.items()]
    source.shuffle(levels)
    known = {name: units for _, name, units in rows}
    names = known.keys() | shown.keys()
    wanted = {("main", name) for name in names if known.get(name) != shown.get(name)}
    assert set(differing(rows, levels)) == wanted


def test_progress_is_told_while_a_long_stream_is_read():
    told = []
    shown = Readings(CHANNEL, told.append).read(level(f"S{n}", 1) for n in range(140_000))
    assert shown.num_rows == 140_000
    assert told == [65_536, 131_072]


def test_the_whole_table_says_what_single_rows_say(pg, tmp_path):
    """Set by set and listing by listing are two statements: they must not drift apart."""
    from inventory_pipeline.memory.outbox import rows_to_look_at
    from inventory_pipeline.memory.showing import showing

    bench = Bench(pg, tmp_path, A=50, B=50, C=50)
    bench.want(A=50, B=40, C=30)
    bench.push()
    source = random.Random(2)
    for _ in range(12):
        bench.clock.pass_(seconds=source.choice([1, 3, 60]))
        bench.order(source.choice("ABC"), source.randrange(1, 3))
    bench.order("A", 1, at=bench.clock() - timedelta(days=1))
    channel, capabilities = bench.ctx.hub.channels["web"], bench.channel.capabilities
    with pg.connection() as connection:
        rows = rows_to_look_at(
            connection, channel, capabilities, now=bench.clock(), limit=10, everything=True
        )
        whole = showing(connection, channel, capabilities).to_pylist()
        some = showing(connection, channel, capabilities, [("main", "B")]).to_pylist()
    said = {(row["bucket"], row["external_id"]): row["expected_milli"] for row in whole}
    assert said == {row.place: row.showing_milli for row in rows}
    assert any(row.own_milli for row in rows)
    assert [row["external_id"] for row in some] == ["B"]
