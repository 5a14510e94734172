"""What the guard holds, against a reading of its rule in a dozen lines of Python."""

from datetime import timedelta
from decimal import Decimal
from fractions import Fraction

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from inventory_pipeline.config.policy import Guard
from inventory_pipeline.core.guard import Window, fewest_that_trip, is_alarming
from inventory_pipeline_tests.fakes import START
from inventory_pipeline_tests.flow.guarded import CHANNEL, Guarded

LISTING = st.fixed_dictionaries(
    {
        "shows": st.integers(0, 8),
        "wants": st.integers(0, 12),
        "before": st.none() | st.integers(1, 12),  # what it showed before a write of a moment ago
        "sold": st.booleans(),
        "planned": st.booleans(),
    }
)
GUARD = st.builds(
    Guard,
    percent=st.sampled_from([Decimal(0), Decimal("12.5"), Decimal(50), Decimal(100)]),
    share=st.sampled_from([Decimal(0), Decimal(10), Decimal("33.3"), Decimal(50)]),
    min_listings=st.integers(0, 6),
)


def alarming(start, end, percent):
    return start > 0 and (end <= 0 or Fraction(abs(end - start), start) * 100 > Fraction(percent))


def expected(listings, guard):
    """Skus of the batch that must be held."""
    too_far = set()
    for sku, one in listings.items():
        start = one["shows"] if one["before"] is None else one["before"]
        if alarming(start, one["wants"], guard.percent):
            too_far.add(sku)
    share = Fraction(len(too_far) * 100, len(listings))
    if len(too_far) < guard.min_listings or share <= Fraction(guard.share):
        return set()
    differ = {sku for sku, one in listings.items() if one["wants"] != one["shows"]}
    bought = {sku for sku, one in listings.items() if one["sold"] and one["wants"] < one["shows"]}
    batch = {sku for sku, one in listings.items() if one["planned"] or one["before"] is not None}
    return (too_far & differ & batch) - bought


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(listings=st.lists(LISTING, min_size=1, max_size=24), guard=GUARD)
def test_what_is_held_is_what_the_rule_says(pg, tmp_path, listings, guard):
    with pg.connection() as connection:
        connection.execute(
            "TRUNCATE hub.outbox, hub.holds, hub.attempts, hub.intents;"
            "ALTER TABLE hub.ledger DISABLE TRIGGER ledger_is_append_only;"
            "DELETE FROM hub.ledger;"
            "UPDATE hub.counter SET ledger_offset = 0; UPDATE hub.sync_cursor SET ledger_offset = 0"
        )
    hub = Guarded(pg, tmp_path, len(listings), guard=guard)
    world = dict(zip(hub.skus, listings, strict=True))
    hub.shows(**{sku: one["shows"] for sku, one in world.items()})
    sent_a_moment_ago(hub, world)
    hub.imported()
    for number, (sku, one) in enumerate(world.items()):
        if one["sold"] and one["wants"] < one["shows"]:
            hub.sold(sku, one["shows"] - one["wants"], number)
    hub.want(**{sku: one["wants"] for sku, one in world.items()})
    batch = [
        write
        for write in hub.planned()
        if world[write.row.sku]["planned"] or world[write.row.sku]["before"] is not None
    ]
    judged = hub.push(batch)
    assert {row.sku for row in hub.held()} == expected(world, guard)
    assert {w.row.sku for w in batch} - {w.row.sku for w in judged.send} == expected(world, guard)


def sent_a_moment_ago(hub, world):
    with hub.ctx.pg.connection() as connection:
        for sku, one in world.items():
            if one["before"] is not None:
                connection.execute(
                    "INSERT INTO hub.attempts (key, channel, bucket, external_id, sku, epoch,"
                    " quantity_milli, compare_milli, desired_offset, policy_version, mode,"
                    " computed_at, sent_at, outcome) VALUES ('k', %s, 'main', %s, %s, 1, %s, %s, 0,"
                    " 1, 'live', %s, %s, 'acked')",
                    (
                        CHANNEL, sku, sku, one["shows"] * 1000, one["before"] * 1000, hub.clock(),
                        hub.clock() - timedelta(minutes=5),
                    ),
                )  # fmt: skip


@given(start=st.integers(-2, 30), end=st.integers(0, 60), percent=st.sampled_from([0, 1, 50, 100]))
def test_the_boundary_of_a_great_move_is_exact(start, end, percent):
    found = is_alarming(start * 1000, end * 1000, percent=Decimal(percent))
    assert found == alarming(start, end, percent)


@given(listings=st.integers(0, 400), share=st.sampled_from(["0", "12.5", "20", "33.3", "100"]))
def test_the_boundary_of_the_share_is_exact(listings, share):
    fewest = fewest_that_trip(listings, share=Decimal(share), min_listings=0)
    assert Fraction(fewest * 100) > Fraction(share) * listings
    assert Fraction((fewest - 1) * 100) <= Fraction(share) * listings


@given(
    writes=st.lists(st.tuples(st.integers(0, 40), st.integers(0, 2), st.integers(0, 9))),
    now=st.integers(0, 60),
)
def test_the_window_forgets_and_adds_up_as_a_list_would(writes, now):
    writes = sorted(writes)
    window, shown = Window(percent=Decimal(50)), dict.fromkeys(range(3), 10)
    kept = {}
    for at, place, to in writes:
        window.note(("main", str(place)), START + timedelta(minutes=at), shown[place], to)
        if at >= now - 15:
            kept.setdefault(place, [shown[place]]).append(to)
        shown[place] = to
    window.forget(START + timedelta(minutes=now - 15))
    loud = {("main", str(p)) for p, seen in kept.items() if alarming(seen[0], seen[-1], 50)}
    assert window.alarming == loud
    assert all(window.start(("main", str(p)), -1) == seen[0] for p, seen in kept.items())
