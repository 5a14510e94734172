"""The first cause that holds is the cause."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from inventory_pipeline.core.causes import (
    ChannelFacts,
    Effect,
    Shared,
    SourceFacts,
    channel_cause,
    source_cause,
    systemic,
)
from inventory_pipeline.core.heals import Heal, decide
from inventory_pipeline.core.vocabulary import Cause

NOW = datetime(2026, 3, 2, 8, tzinfo=UTC)


@pytest.mark.parametrize(
    ("facts", "cause"),
    [
        ({"under_way": True, "failure": "x"}, Cause.IN_FLIGHT),
        ({"own_events_near": True}, Cause.IN_FLIGHT),
        ({"failure": "HTTP 500"}, Cause.PUSH_FAILED),
        ({"expected_milli": None}, Cause.UNMAPPED),
        ({"shown_milli": None}, Cause.NOT_LISTED),
        ({"before_write_milli": 5000}, Cause.LOST_UPDATE),
        ({"changed_at": NOW, "write_answered_at": NOW - timedelta(1)}, Cause.EXTERNAL_EDIT),
        ({"changed_at": NOW - timedelta(1), "write_answered_at": NOW}, Cause.UNEXPLAINED),
        ({}, Cause.UNEXPLAINED),
    ],
)
def test_a_cause(facts, cause):
    known = {"shown_milli": 5000, "expected_milli": 8000}
    assert channel_cause(ChannelFacts(**{**known, **facts})) is cause


def test_equal_numbers_have_no_cause():
    with pytest.raises(ValueError, match="no variance"):
        channel_cause(ChannelFacts(shown_milli=1, expected_milli=1))


AT = NOW


def sold(milli, *, counted=True, event_id="e1", minutes=0):
    return Effect(
        event_id=event_id, type="order_placed", occurred_at=AT + timedelta(minutes=minutes),
        effect_milli=milli, counted=counted,
    )  # fmt: skip


def test_the_first_cause_of_the_table_that_holds_is_the_cause():
    """Everything holds at first; then one after the other is taken away."""
    facts = ChannelFacts(
        shown_milli=7_000, expected_milli=10_000, under_way=True, awaits_receipt=True,
        failure="503", missing_orders=(sold(-3_000, counted=False),), before_write_milli=7_000,
        write_answered_at=AT, events=(sold(-3_000),), step_milli=5_000,
        changed_at=AT + timedelta(hours=1),
    )  # fmt: skip
    steps = [
        ({}, Cause.IN_FLIGHT),
        ({"under_way": False}, Cause.NOT_YET_APPLIED),
        ({"awaits_receipt": False}, Cause.PUSH_FAILED),
        ({"failure": ""}, Cause.ORDER_NOT_INGESTED),
        ({"missing_orders": ()}, Cause.LOST_UPDATE),
        ({"before_write_milli": 4_000}, Cause.DUPLICATE_EFFECT),
        ({"events": ()}, Cause.ROUNDING),
        ({"step_milli": 1_000}, Cause.EXTERNAL_EDIT),
        ({"changed_at": AT}, Cause.UNEXPLAINED),
    ]
    for change, cause in steps:
        facts = replace(facts, **change)
        assert channel_cause(facts) is cause


def test_orders_that_explain_only_a_part_explain_nothing():
    facts = ChannelFacts(
        shown_milli=7_000, expected_milli=10_000, missing_orders=(sold(-2_000, counted=False),)
    )
    assert channel_cause(facts) is Cause.UNEXPLAINED


def test_a_sale_that_the_numbers_do_not_have_yet_is_in_flight():
    facts = ChannelFacts(
        shown_milli=7_000, expected_milli=10_000, not_computed=(sold(-3_000, counted=False),)
    )
    assert channel_cause(facts) is Cause.IN_FLIGHT


def test_a_unit_that_was_given_back_was_not_counted_twice():
    facts = ChannelFacts(shown_milli=13_000, expected_milli=10_000, events=(sold(-3_000),))
    assert channel_cause(facts) is Cause.UNEXPLAINED


def test_a_listing_of_which_nothing_is_known_yet_may_still_be_missing_there():
    facts = ChannelFacts(shown_milli=None, expected_milli=None, known=True)
    assert channel_cause(facts) is Cause.NOT_LISTED


def test_what_is_old_is_stale_only_if_nothing_else_explains_it():
    facts = SourceFacts(
        expected_milli=10_000, found_milli=7_000, events=(sold(-3_000),), age_s=9, max_age_s=5
    )
    assert source_cause(facts) is Cause.DUPLICATE_EFFECT
    assert source_cause(replace(facts, events=())) is Cause.STALE_SOURCE
    assert source_cause(replace(facts, events=(), age_s=5)) is Cause.UNEXPLAINED


def test_two_different_sales_of_one_size_are_not_one_sale_twice():
    events = (sold(-3_000), sold(-3_000, event_id="e2", minutes=1))
    facts = SourceFacts(expected_milli=4_000, found_milli=7_000, events=events)
    assert source_cause(facts) is Cause.UNEXPLAINED


def shared(rows, *, dimension="cause", of_web=0):
    return Shared(dimension=dimension, value="x", rows=rows, of_channels={"web": of_web})


def test_systemic_is_half_of_all_and_twenty_or_a_twentieth_of_a_channel():
    def is_systemic(group, open_rows):
        return bool(systemic([group], open_rows=open_rows, listings={"web": 1_000}))

    assert is_systemic(shared(20), 40)
    assert not is_systemic(shared(20), 41)
    assert not is_systemic(shared(19), 19)
    assert is_systemic(shared(50, of_web=50), 1_000)
    assert not is_systemic(shared(49, of_web=49), 1_000)


def test_what_nothing_explains_is_repushed_once_and_the_rest_three_times():
    def heals(cause):
        return [decide(cause, "channel", tries=n) for n in range(4)]

    assert heals(Cause.UNEXPLAINED) == ["repush", "alert", "alert", "alert"]
    assert heals(Cause.LOST_UPDATE) == ["repush", "repush", "repush", "alert"]
    assert heals(Cause.ORDER_NOT_INGESTED) == ["ingest", "ingest", "ingest", "alert"]
    assert heals(Cause.EXTERNAL_EDIT)[0] == "repush_and_alert"


def test_a_repush_waits_while_it_is_not_possible_and_sources_are_never_repushed():
    assert decide(Cause.PUSH_FAILED, "channel", tries=0, possible=False) is Heal.WAIT
    assert decide(Cause.UNEXPLAINED, "systems", tries=0) is Heal.ALERT
    override = {"unexplained": "none"}
    assert decide(Cause.UNEXPLAINED, "channel", tries=0, overrides=override) is Heal.NONE
