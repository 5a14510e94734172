"""Each check fails when it must, and says why."""

from datetime import UTC, datetime, timedelta

import pytest

from inventory_pipeline.core.verdicts import Level
from inventory_pipeline.flow import verdicts
from inventory_pipeline.flow.verdicts import Totals
from inventory_pipeline.memory.facts import Landed, LedgerShape, OpenVariance, Variances

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
WARN, ERROR = Level.WARNING, Level.ERROR


def landed(number: int = 1, **changed: object) -> Landed:
    values: dict[str, object] = {
        "snapshot_id": number, "feed": "dc", "source": f"{number}.csv", "as_of": NOW,
        "accepted": True, "reason": "", "message": "", "complete": True, "data_rows": 100,
        "quarantined_rows": 0, "path": None, "landed_at": NOW,
    }  # fmt: skip
    return Landed(**{**values, **changed})


def rejected(reason: str, number: int = 2, **changed: object) -> Landed:
    return landed(number, accepted=False, reason=reason, message="it says so", **changed)


def test_a_snapshot_too_broken_to_name_its_feed_fails_until_a_good_one_lands():
    broken = rejected("missing_columns", 2, feed="")
    assert not verdicts.snapshot_schema([broken, landed(1)]).passed
    assert verdicts.snapshot_schema([landed(3), broken, landed(1)]).passed
    assert not verdicts.snapshot_schema([rejected("unreadable", 3), broken, landed(1)]).passed


@pytest.mark.parametrize("reason", ["missing_columns", "unreadable", "empty"])
def test_a_newest_snapshot_of_a_bad_shape_fails_the_schema_check(reason):
    verdict = verdicts.snapshot_schema([rejected(reason), landed()])
    assert (verdict.passed, verdict.level) == (False, ERROR)
    assert verdict.description == (
        f"2.csv was rejected ({reason}): it says so. The last good one stays."
    )
    assert verdicts.snapshot_completeness([rejected(reason), landed()]).passed


@pytest.mark.parametrize("reason", ["max_drop", "conflicting_rows"])
def test_a_newest_snapshot_with_too_few_or_conflicting_rows_fails_completeness(reason):
    verdict = verdicts.snapshot_completeness([rejected(reason), landed()])
    assert (verdict.passed, verdict.level) == (False, ERROR)
    assert verdicts.snapshot_schema([rejected(reason), landed()]).passed


def test_a_later_good_snapshot_of_the_feed_ends_the_failure():
    assert verdicts.snapshot_schema([landed(3), rejected("unreadable")]).passed
    other_feed = landed(3, feed="nyc")
    assert not verdicts.snapshot_schema([other_feed, rejected("unreadable")]).passed


def test_a_plausible_snapshot_passes():
    before = Totals(on_hand_milli=100_000, rows=100, negative_rows=0)
    after = Totals(on_hand_milli=150_000, rows=100, negative_rows=5)
    assert verdicts.snapshot_plausibility(landed(), after, before).passed
    assert verdicts.snapshot_plausibility(None, None, None).passed


@pytest.mark.parametrize(
    ("newest", "totals", "doubt"),
    [
        (landed(as_of=NOW + timedelta(minutes=6)), None, "ahead of the clock"),
        (landed(quarantined_rows=6), None, "6 of 100 rows are in quarantine"),
        (landed(), Totals(on_hand_milli=100, rows=100, negative_rows=6), "negative stock"),
        (
            landed(),
            Totals(on_hand_milli=150_500, rows=1, negative_rows=0),
            "on hand went from 100 units to 150.5",
        ),
    ],
)
def test_an_implausible_snapshot_warns(newest, totals, doubt):
    before = Totals(on_hand_milli=100_000, rows=100, negative_rows=0)
    verdict = verdicts.snapshot_plausibility(newest, totals, before)
    assert (verdict.passed, verdict.level) == (False, WARN)
    assert doubt in verdict.description


def test_freshness_goes_by_what_the_source_speaks_of():
    newest = {"dc": NOW - timedelta(minutes=5), "nyc": NOW - timedelta(minutes=31)}
    late = verdicts.freshness(newest, max_age=timedelta(minutes=30), now=NOW)
    assert (late.passed, late.level) == (False, WARN)
    assert "feed nyc" in late.description
    assert "older than 30m" in late.description
    assert verdicts.freshness(newest, max_age=timedelta(minutes=31), now=NOW).passed
    assert not verdicts.freshness({}, max_age=timedelta(minutes=30), now=NOW).passed


def test_a_listing_below_zero_is_an_error():
    verdict = verdicts.no_negative_ats([("main", "A|1", "A", -1500)])
    assert (verdict.passed, verdict.level) == (False, ERROR)
    assert list(verdict.tables["worst"].rows) == [("main", "A|1", "A", "-1.5")]
    assert verdicts.no_negative_ats([]).passed


def variances(age: timedelta, total: int = 3) -> Variances:
    worst = OpenVariance(
        bucket="main", external_id="A", sku="A", expected_milli=5000, found_milli=7000,
        cause="lost_update", first_seen=NOW - age,
    )  # fmt: skip
    return Variances(total=total, oldest=NOW - age, worst=[worst], finished_at=NOW)


def judged(found: Variances) -> verdicts.Verdict:
    return verdicts.shows_what_it_must(found, escalate_after=timedelta(hours=4), now=NOW)


def test_a_young_variance_warns_and_an_old_one_is_an_error():
    assert (judged(variances(timedelta(hours=4))).level) is WARN
    old = judged(variances(timedelta(hours=4, seconds=1)))
    assert (old.passed, old.level) == (False, ERROR)
    [row] = old.tables["worst"].rows
    assert tuple(row)[:6] == ("main", "A", "A", "5", "7", "lost_update")


def test_no_variance_passes_and_so_does_what_was_never_compared():
    none = Variances(total=0, oldest=None, worst=[], finished_at=NOW)
    never = Variances(total=0, oldest=None, worst=[], finished_at=None)
    assert judged(none).passed
    assert judged(never).passed
    assert "not compared yet" in judged(never).description


def test_a_gap_in_the_offsets_is_an_error():
    assert verdicts.gapless(LedgerShape(counter=7, greatest=7, rows=7)).passed
    assert not verdicts.gapless(LedgerShape(counter=7, greatest=7, rows=6)).passed
    assert not verdicts.gapless(LedgerShape(counter=7, greatest=6, rows=6)).passed


def test_new_rows_in_quarantine_warn_and_old_ones_do_not():
    growing = verdicts.quarantine_grows(9, 2, [("wms", "bad_time", 9)])
    assert (growing.passed, growing.level) == (False, WARN)
    assert verdicts.quarantine_grows(9, 0, [("wms", "bad_time", 9)]).passed


@pytest.mark.parametrize(
    ("span", "text"),
    [
        (timedelta(hours=24), "1d"),
        (timedelta(hours=36), "36h"),
        (timedelta(minutes=90), "90m"),
        (timedelta(seconds=61), "61s"),
    ],
)
def test_durations_are_written_as_in_hub_yaml(span, text):
    assert verdicts.duration(span) == text
