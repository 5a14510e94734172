"""What is done about a listing, in which order, and under which key."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from inventory_pipeline.core.outbox import (
    OutboxRow,
    PlannedWrite,
    intent_key,
    is_unexplained_drop,
    must_be_fresh,
    must_be_verified,
    must_wait,
    plan_writes,
    revision_allowed,
)
from inventory_pipeline.core.ports import Basis, Capabilities, ListingRef, Write
from inventory_pipeline.core.vocabulary import MovesAt

NOW = datetime(2026, 3, 2, 8, tzinfo=UTC)


def row(external_id: str = "A", *, desired: int = 10, base: int | None = 10, **fields) -> OutboxRow:
    values = {
        "channel": "web",
        "listing": ListingRef(bucket="main", bucket_external="1", external_id=external_id),
        "sku": external_id, "desired_milli": desired * 1000, "desired_offset": 7,
        "policy_version": 1, "computed_at": NOW, "occurred_at": NOW, "received_at": NOW,
        "base_milli": None if base is None else base * 1000, "base_sent_at": NOW,
        "base_answered_at": NOW, "own_milli": 0, "uncertain": False, "last_own_at": None,
        "attempts": 0,
    }  # fmt: skip
    return OutboxRow(**{**values, **fields})


def test_a_channel_that_sold_what_the_hub_deducted_needs_no_write():
    sold = row(desired=8, base=10, own_milli=-2000)
    assert sold.settled
    assert plan_writes([sold]) == []


def test_a_row_without_a_base_is_read_first():
    assert row(base=None).needs_reading
    assert plan_writes([row(base=None)]) == []


def test_an_uncertain_row_is_read_even_if_desired_equals_what_it_must_show():
    assert not row(uncertain=True).settled
    assert row(uncertain=True).needs_reading


def test_a_failed_compare_is_read_again():
    assert row(unread=True).needs_reading


def test_zeros_leave_first_then_other_decreases_then_restocks_then_the_rest():
    rows = [
        row("rise", desired=20, base=10),
        row("restock", desired=5, base=0),
        row("fall", desired=9, base=10),
        row("zero", desired=0, base=10),
    ]
    assert [w.row.sku for w in plan_writes(rows)] == ["zero", "fall", "restock", "rise"]


def test_ties_leave_by_age():
    older = row("b", desired=0, computed_at=NOW - timedelta(minutes=1))
    assert [w.row.sku for w in plan_writes([row("a", desired=0), older])] == ["b", "a"]


def test_the_compare_value_is_what_the_channel_must_be_showing():
    [write] = plan_writes([row(desired=3, base=10, own_milli=-2000)])
    assert write.compare_milli == 8000


def test_an_increase_waits_while_the_channel_has_just_sold():
    sold = row(desired=12, base=10, last_own_at=NOW - timedelta(seconds=1))
    assert must_wait(sold, now=NOW, skew=timedelta(seconds=5)) == NOW + timedelta(seconds=4)
    assert must_wait(sold, now=NOW + timedelta(seconds=5), skew=timedelta(seconds=5)) is None


def test_a_decrease_never_waits():
    sold = row(desired=2, base=10, last_own_at=NOW)
    assert must_wait(sold, now=NOW, skew=timedelta(seconds=5)) is None


def test_a_reading_below_what_is_expected_is_an_order_on_its_way():
    assert is_unexplained_drop(row(desired=10, base=10), 8000)
    assert not is_unexplained_drop(row(desired=8, base=10), 8000)
    assert not is_unexplained_drop(row(desired=10, base=None), 8000)


def test_the_same_intent_has_the_same_key_and_another_base_another():
    writes = plan_writes([row(desired=3)])
    assert intent_key("web", writes) == intent_key("web", plan_writes([row(desired=3)]))
    later = plan_writes([row(desired=3, base_answered_at=NOW + timedelta(seconds=1))])
    assert intent_key("web", writes) != intent_key("web", later)
    assert intent_key("web", writes) != intent_key("market", writes)


def test_what_falls_fastest_leaves_before_what_is_nearer_to_zero():
    slow = row("slow", desired=3)
    fast = row("fast", desired=5, falling_milli=60_000)
    assert [w.row.sku for w in plan_writes([slow, fast])] == ["fast", "slow"]


def test_every_tenth_place_belongs_to_whatever_has_waited_longest():
    zeros = [row(f"z{n:02}", desired=0) for n in range(30)]
    old = row("old", desired=20, base=10, waiting_since=NOW - timedelta(hours=1))
    ordered = [w.row.sku for w in plan_writes([*zeros, old])]
    assert ordered.index("old") == 9
    assert sorted(ordered) == sorted([z.sku for z in zeros] + ["old"])


def test_age_is_that_of_the_wait_and_not_of_the_newest_number():
    renewed = row("renewed", desired=0, waiting_since=NOW - timedelta(minutes=5))
    other = row("a", desired=0, computed_at=NOW - timedelta(minutes=1))
    assert [w.row.sku for w in plan_writes([other, renewed])] == ["renewed", "a"]


def test_a_write_is_of_the_desired_quantity_unless_it_says_otherwise():
    one = row(desired=3)
    assert PlannedWrite(row=one, compare_milli=10_000).quantity_milli == 3000
    assert PlannedWrite(row=one, compare_milli=10_000, quantity_milli=8000).quantity_milli == 8000


def test_the_same_number_from_another_base_is_another_intent():
    again = plan_writes([row(desired=3, bases=4)])
    assert intent_key("web", plan_writes([row(desired=3, bases=3)])) != intent_key("web", again)


SELLS = Capabilities(levels=True, write=Write.ABSOLUTE, moves_at=MovesAt.ORDER)


def test_compare_and_swap_is_emulated_only_where_a_write_could_give_units_back():
    assert must_be_fresh(SELLS, 1000)
    assert must_be_verified(SELLS, 1000)
    assert not must_be_fresh(SELLS, 0)
    for harmless in (
        replace(SELLS, compare_and_swap=True),
        replace(SELLS, moves_at=MovesAt.NONE),
        replace(SELLS, write=Write.DELTA),
        replace(SELLS, levels=False),
    ):
        assert not must_be_fresh(harmless, 1000)
        assert not must_be_verified(harmless, 1000)


def test_on_hand_is_always_read_first_because_what_is_reserved_is_added():
    on_hand = replace(SELLS, basis=Basis.ON_HAND, compare_and_swap=True)
    assert must_be_fresh(on_hand, 0)
    assert not must_be_verified(on_hand, 0)
    assert must_be_verified(replace(on_hand, compare_and_swap=False), 0)


def test_the_last_tenth_of_a_days_revisions_is_kept_for_falls_to_near_zero():
    def allowed(spent, **numbers):
        [write] = plan_writes([row(**numbers)])
        return revision_allowed(write, spent=spent, per_day=20)

    assert allowed(17, desired=20, base=10)
    assert not allowed(18, desired=20, base=10)
    assert not allowed(18, desired=9, base=10)
    assert allowed(18, desired=0, base=10)
    assert allowed(19, desired=5, base=10)
    assert not allowed(20, desired=0, base=10)
