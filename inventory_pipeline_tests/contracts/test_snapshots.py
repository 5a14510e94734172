"""The fine print of snapshots, one sentence a test (SEMANTICS §1)."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest

from inventory_pipeline.contracts.schemas import landing_problems
from inventory_pipeline.contracts.snapshots import check_snapshot
from inventory_pipeline.core.ledger import CheckedSnapshot, RejectedSnapshot
from inventory_pipeline.core.ports import RawSnapshot
from inventory_pipeline_tests.contracts.small import AT, cells, checked, raw_snapshot, small_hub

HEAD = "as_of,location,item,on_hand,damaged"


def one(text: str, **kwargs) -> CheckedSnapshot:
    (found,) = checked(text, **kwargs)
    assert isinstance(found, CheckedSnapshot), found
    return found


def refused(text: str, **kwargs) -> RejectedSnapshot:
    (found,) = checked(text, **kwargs)
    assert isinstance(found, RejectedSnapshot), found
    return found


def test_rows_are_mapped_and_counted_in_thousandths_of_the_base_unit():
    found = one(f"{HEAD}\n2026-03-02T08:00:00Z,1,CASE,40,1\n2026-03-02T09:00:00+01:00,dc,SHIRT,-3,")
    assert found.as_of == AT
    assert found.states == ("on_hand", "damaged")
    assert found.data_rows == 2
    assert found.bad == ()
    assert cells(found, "item", "external_location", "sku", "location", "units_milli") == [
        ("CASE", "1", "MUG", "dc", 12_000),
        ("SHIRT", "dc", "SHIRT", "dc", 1_000),
    ]
    assert cells(found, "on_hand", "damaged", "held") == [
        (480_000, 12_000, False),
        (-3_000, None, False),
    ]


def test_a_row_of_identifiers_counts_even_where_the_identifier_is_a_sku_itself():
    found = one(f"{HEAD}\n2026-03-02T08:00:00Z,dc,MUG,4,")
    assert cells(found, "sku", "on_hand") == [("SHIRT", 4_000)]


def test_a_state_is_carried_if_one_cell_of_its_column_is_filled():
    found = one(
        "as_of,location,item,on_hand,damaged,reserved\n"
        "2026-03-02T08:00:00Z,dc,SHIRT,4,,\n2026-03-02T08:00:00Z,nyc,SHIRT,,0, "
    )
    assert found.states == ("on_hand", "damaged")
    assert cells(found, "on_hand", "damaged") == [(4_000, None), (None, 0)]


def test_several_moments_in_one_file_are_several_snapshots():
    first, second = checked(
        f"{HEAD}\n2026-03-02T09:00:00Z,dc,SHIRT,2,\n2026-03-02T08:00:00Z,dc,SHIRT,1,"
        "\n2026-03-02T10:00:00+01:00,nyc,SHIRT,3,"
    )
    assert (first.as_of.hour, second.as_of.hour) == (8, 9)
    assert cells(first, "on_hand") == [(1_000,)]
    assert cells(second, "location", "on_hand") == [("dc", 2_000), ("nyc", 3_000)]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("2026-03-02T08:00:00Z,dc,NOBODY,1,", "unknown_item"),
        ("2026-03-02T08:00:00Z,dc,X,1,", "unknown_item"),
        ("2026-03-02T08:00:00Z,moon,SHIRT,1,", "unknown_location"),
        ("2026-03-02T08:00:00Z,,SHIRT,1,", "missing_key"),
        ("2026-03-02T08:00:00Z,dc, ,1,", "missing_key"),
        (",dc,SHIRT,1,", "missing_key"),
        ("2026-03-02T08:00:00,dc,SHIRT,1,", "bad_time"),
        ("yesterday,dc,SHIRT,1,", "bad_time"),
        ("2026-03-02T08:00:00Z,dc,SHIRT,many,", "bad_number"),
        ("2026-03-02T08:00:00Z,dc,SHIRT,1,nan", "bad_number"),
        ("2026-03-02T08:00:00Z,dc,SHIRT,1_000,", "bad_number"),
        ("2026-03-02T08:00:00Z,dc,SHIRT,1e13,", "bad_number"),
        ("2026-03-02T08:00:00Z,dc,SHIRT,1.5,", "fraction_of_indivisible"),
        (
            "2026-03-02T08:00:00Z,dc,SHIRT,1.0000000000000000000000000000001,",
            "fraction_of_indivisible",
        ),
        ("2026-03-02T08:00:00Z,dc,ROPE,1.005,", "fraction_of_indivisible"),
        ("2026-03-02T08:00:00Z,dc,HALF,1,", "fraction_of_indivisible"),
        ("2026-03-02T08:00:00Z,dc,SHIRT,1,-1", "negative_quantity"),
        ("2026-03-02T08:00:00Z,dc,KIT,1,", "bundle_has_no_stock"),
    ],
)
def test_a_bad_row_is_kept_with_its_reason_and_the_good_ones_go_on(row, reason):
    found = one(f"{HEAD}\n2026-03-02T08:00:00Z,nyc,SHIRT,7,\n{row}")
    (bad,) = found.bad
    assert (bad.reason, bad.position, bad.source, bad.kind) == (
        reason, "3", "stock.csv", "snapshot_row",
    )  # fmt: skip
    assert ("nyc", 7_000) in cells(found, "location", "on_hand")
    assert found.data_rows == 2


def test_numbers_are_exact_whatever_their_size_and_unit():
    found = one(
        f"{HEAD}\n2026-03-02T08:00:00Z,dc,ROPE,0.29,\n2026-03-02T08:00:00Z,dc,HALF,3e0,1"
        "\n2026-03-02T08:00:00Z,nyc,SHIRT,999999999999,\n2026-03-02T08:00:00Z,nyc,HALF, 4.0 ,"
    )
    # Three halves are no whole mug.
    assert [bad.reason for bad in found.bad] == ["fraction_of_indivisible"]
    assert cells(found, "item", "on_hand") == [
        ("ROPE", 290),
        ("HALF", None),
        ("SHIRT", 999_999_999_999_000),
        ("HALF", 2_000),
    ]


def test_one_bad_row_holds_all_of_its_sku_at_its_location():
    found = one(
        f"{HEAD}\n2026-03-02T08:00:00Z,1,CASE,2,\n2026-03-02T08:00:00Z,2,CASE,oops,"
        "\n2026-03-02T08:00:00Z,nyc,CASE,5,"
    )
    assert cells(found, "external_location", "on_hand", "held") == [
        ("1", 24_000, True),
        ("2", None, True),
        ("nyc", 60_000, False),
    ]


def test_a_row_with_an_unreadable_time_belongs_to_every_snapshot_of_its_file():
    first, second = checked(
        f"{HEAD}\n2026-03-02T08:00:00Z,dc,SHIRT,1,\n2026-03-02T09:00:00Z,nyc,SHIRT,2,"
        "\nnever,dc,SHIRT,9,"
    )
    assert isinstance(first, RejectedSnapshot)  # it says 1 and 9 of one shirt
    assert first.reason == "conflicting_rows"
    assert cells(second, "location", "on_hand", "held") == [
        ("nyc", 2_000, False),
        ("dc", None, True),
    ]
    assert second.data_rows == 2


def test_a_quarantined_row_of_an_unknown_item_still_shows_that_its_location_was_reported():
    found = one(f"{HEAD}\n2026-03-02T08:00:00Z,dc,NOBODY,1,")
    assert cells(found, "sku", "location", "on_hand", "held") == [(None, "dc", None, True)]


def test_agreeing_repeats_count_once_and_numbers_agree_by_value():
    found = one(
        f"{HEAD}\n2026-03-02T08:00:00Z,dc,SHIRT,1,0\n2026-03-02T08:00:00+00:00,dc,SHIRT,1.0,0e5"
    )
    assert cells(found, "on_hand") == [(1_000,)]
    assert found.data_rows == 2


@pytest.mark.parametrize("other", ["2,0", ",0", "1,"])
def test_repeats_that_disagree_refuse_the_whole_snapshot(other):
    found = refused(
        f"{HEAD}\n2026-03-02T08:00:00Z,dc,SHIRT,1,0\n2026-03-02T08:00:00Z,dc,SHIRT,{other}"
    )
    assert found.reason == "conflicting_rows"
    assert "'dc'" in found.message
    assert "[2, 3]" in found.message


def test_different_identifiers_of_one_sku_are_no_repeats():
    found = one(f"{HEAD}\n2026-03-02T08:00:00Z,1,CASE,1,\n2026-03-02T08:00:00Z,2,CASE,2,")
    assert cells(found, "location", "on_hand") == [("dc", 12_000), ("dc", 24_000)]


@pytest.mark.parametrize(
    "head",
    [
        "as_of,location,on_hand",
        "as_of,item,on_hand",
        "location,item,on_hand",
        "as_of,location,item,onhand",
    ],
)
def test_a_missing_column_refuses_the_file_and_names_what_is_there(head):
    found = refused(f"{head}\n" + ",".join("1" for _ in head.split(",")))
    assert found.reason == "missing_columns"
    assert "columns found: " + ", ".join(head.split(",")) in found.message


def test_missing_columns_are_said_in_a_sentence():
    found = refused("as_of,place,onhand\n1,2,3")
    assert found.message == (
        "the column location is missing; the column item is missing; it has no column of a state, "
        "one of on_hand, damaged, quality_control, committed, reserved, incoming "
        "(columns found: as_of, place, onhand)"
    )


def test_an_unreadable_file_is_refused_with_its_error():
    raw = RawSnapshot(source="s", key="k", frame=None, error="it is a picture")
    (found,) = check_snapshot(small_hub(), "wms", raw, last_rows=lambda _: None)
    assert (found.reason, found.message) == ("unreadable", "it is a picture")


def test_a_file_without_rows_is_refused():
    assert refused(HEAD + "\n").reason == "empty"


def test_a_file_whose_times_are_all_bad_is_refused():
    found = refused(f"{HEAD}\n2026-03-02,dc,SHIRT,1,")
    assert found.reason == "unreadable"
    assert "2026-03-02" in found.message


@pytest.mark.parametrize(
    ("rows", "complete", "max_drop", "accepted"),
    [
        (80, True, "20", True),
        (79, True, "20", False),
        (1, False, "20", True),
        (1, True, None, True),
    ],
)
def test_max_drop_counts_all_rows_and_exactly_max_drop_passes(rows, complete, max_drop, accepted):
    hub = small_hub(complete=complete, max_drop=max_drop and Decimal(max_drop))
    # Rows of unknown items are rows as well.
    lines = "\n".join(f"2026-03-02T08:00:00Z,dc,UNKNOWN-{n},1," for n in range(rows))
    (found,) = checked(f"{HEAD}\n{lines}", hub=hub, last_rows=100)
    assert isinstance(found, CheckedSnapshot) is accepted
    if not accepted:
        assert found.reason == "max_drop"
        assert "79 rows after 100" in found.message
        assert found.data_rows == 79


def test_max_drop_compares_within_one_file_too():
    hub = small_hub(complete=True, max_drop=Decimal(20), feed="f")
    lines = [f"2026-03-02T08:00:00Z,dc,I{n},1," for n in range(10)]
    lines += [f"2026-03-02T09:00:00Z,dc,I{n},1," for n in range(7)]
    lines += [f"2026-03-02T10:00:00Z,dc,I{n},1," for n in range(8)]
    first, second, third = checked(HEAD + "\n" + "\n".join(lines), hub=hub)
    assert isinstance(first, CheckedSnapshot)
    assert second.reason == "max_drop"
    assert isinstance(third, CheckedSnapshot)  # compared with the last accepted one


def test_snapshots_of_the_same_locations_are_one_feed_unless_it_is_named():
    row = "2026-03-02T08:00:00Z"
    assert one(f"{HEAD}\n{row},1,SHIRT,1,\n{row},nyc,SHIRT,1,").feed == "dc,nyc"
    assert one(f"{HEAD}\n{row},nyc,SHIRT,1,\n{row},dc,SHIRT,1,").feed == "dc,nyc"
    assert one(f"{HEAD}\n{row},1,SHIRT,1,", hub=small_hub(feed="night")).feed == "night"


def test_a_text_that_looks_missing_is_a_text():
    found = one(f"{HEAD}\n2026-03-02T08:00:00Z,dc,NA,1,")
    assert found.bad[0].reason == "unknown_item"
    assert '"item": "NA"' in found.bad[0].raw


def test_what_may_not_land_is_found_before_it_does():
    import pandas as pd

    good = {"on_hand": [-1], "units_milli": [1000], "mapped": [True]}
    states = ("damaged", "quality_control", "committed", "reserved", "incoming")
    frame = pd.DataFrame(good | {state: [None] for state in states})
    frame = frame.astype(
        {"on_hand": "Int64", "units_milli": "Int64"} | dict.fromkeys(states, "Int64")
    )
    assert landing_problems(frame) == []
    assert landing_problems(frame.assign(damaged=pd.array([-1], dtype="Int64"))) != []
    assert landing_problems(frame.assign(mapped=False)) != []


def test_a_moment_is_kept_in_utc():
    found = one(f"{HEAD}\n2026-03-02T23:30:00.5-05:00,dc,SHIRT,1,")
    assert found.as_of == datetime(2026, 3, 3, 4, 30, 0, 500_000, tzinfo=UTC)
    assert found.rows["as_of"].to_pylist() == [found.as_of]


def test_the_raw_text_is_what_stood_there():
    assert raw_snapshot(f"{HEAD}\nx,1,007,1.0,").frame["item"].tolist() == ["007"]
