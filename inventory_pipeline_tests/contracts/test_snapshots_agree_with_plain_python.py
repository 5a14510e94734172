"""The vectorized check of snapshots against the same rules, written row by row in plain Python."""

from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from inventory_pipeline.core.ledger import CheckedSnapshot
from inventory_pipeline_tests.contracts.small import checked

STATES = ("on_hand", "damaged")
TIMES = {
    "2026-03-02T08:00:00Z": 8,
    "2026-03-02T09:00:00+01:00": 8,
    "2026-03-02T09:00:00Z": 9,
    "2026-03-02T08:00:00": None,
    "soon": None,
    "": None,
}
LOCATIONS = {"1": "dc", "2": "dc", "dc": "dc", "nyc": "nyc", "moon": None, "": None}
ITEMS = {  # sku, units, decimals
    "SHIRT": ("SHIRT", "1", 0),
    "MUG": ("SHIRT", "1", 0),
    "CASE": ("MUG", "12", 0),
    "HALF": ("MUG", "0.5", 0),
    "ROPE": ("ROPE", "1", 2),
    "KIT": ("KIT", "1", 0),
    "NOBODY": None,
    "": None,
}
NUMBERS = [
    "",
    " ",
    "0",
    "1",
    "1.0",
    "2",
    "-1",
    "0.5",
    "0.25",
    "x",
    "1e3",
    "9999999.5",
    "123456789012",
]
ROWS = st.lists(
    st.tuples(
        st.sampled_from(list(TIMES)),
        st.sampled_from(list(LOCATIONS)),
        st.sampled_from(list(ITEMS)),
        st.sampled_from(NUMBERS),
        st.sampled_from(NUMBERS),
    ),
    min_size=1,
    max_size=8,
)
Row = tuple[str, str, str, str, str]


def value_of(text: str) -> Any:
    """None for an empty cell, a Decimal, or the text of what is no number."""
    if not text.strip():
        return None
    try:
        return Decimal(text)
    except InvalidOperation:
        return text


def reason_of(row: Row) -> str | None:  # noqa: C901, PLR0911 - one line a rule
    time, location, item, *cells = row
    if not (time and location and item):
        return "missing_key"
    if TIMES[time] is None:
        return "bad_time"
    if LOCATIONS[location] is None:
        return "unknown_location"
    target = ITEMS[item]
    if target is None:
        return "unknown_item"
    if item == "KIT":
        return "bundle_has_no_stock"
    for state, cell in zip(STATES, cells, strict=True):
        value = value_of(cell)
        if isinstance(value, str):
            return "bad_number"
        if value is not None:
            base = value * Decimal(target[1])
            if base % Decimal(10) ** -target[2]:
                return "fraction_of_indivisible"
            if abs(base) > 10**12:
                return "bad_number"
            if base < 0 and state != "on_hand":
                return "negative_quantity"
    return None


def expected(rows: list[tuple[int, Row]]) -> Any:
    """None if rows disagree; else reasons by line, and the value of each (sku, location)."""
    seen: dict[tuple[str, str], list[Any]] = {}
    kept = []
    for line, row in rows:
        key, values = (row[1], row[2]), [value_of(cell) for cell in row[3:]]
        if not all(key) or key not in seen:
            kept.append((line, row))
            seen[key] = values
        elif seen[key] != values:
            return None
    reasons = {line: reason for line, row in kept if (reason := reason_of(row))}
    found: dict[tuple[str, str], Any] = {}
    for line, row in kept:
        target, location = ITEMS[row[2]], LOCATIONS[row[1]]
        if target is None or location is None or target[0] == "KIT":
            continue
        place = (target[0], location)
        if line in reasons:
            found[place] = "held"
        elif found.get(place) != "held":
            sums = found.setdefault(place, [None, None])
            for index, cell in enumerate(row[3:]):
                value = value_of(cell)
                if value is not None:
                    sums[index] = (sums[index] or 0) + value * Decimal(target[1]) * 1000
    return reasons, found


def as_found(snapshot: CheckedSnapshot) -> Any:
    reasons = {int(bad.position): bad.reason.value for bad in snapshot.bad}
    found: dict[tuple[str, str], Any] = {}
    for row in snapshot.rows.to_pylist():
        place = (row["sku"], row["location"])
        if row["sku"] is None:
            assert row["held"]
        elif row["held"]:
            found[place] = "held"
        else:
            sums = found.setdefault(place, [None, None])
            for index, state in enumerate(STATES):
                if row[state] is not None:
                    sums[index] = (sums[index] or 0) + row[state]
    return reasons, found


@settings(max_examples=100, deadline=None)
@given(ROWS)
def test_every_snapshot_of_a_file_is_what_the_rules_say(rows):
    text = "as_of,location,item,on_hand,damaged\n" + "\n".join(",".join(row) for row in rows)
    found = checked(text)
    hours = sorted({hour for row in rows if (hour := TIMES[row[0]]) is not None})
    if not hours:
        assert [one.reason for one in found] == ["unreadable"]
        return
    assert [one.as_of for one in found] == [datetime(2026, 3, 2, h, tzinfo=UTC) for h in hours]
    for hour, snapshot in zip(hours, found, strict=True):
        own = [
            (line, row) for line, row in enumerate(rows, start=2) if TIMES[row[0]] in {hour, None}
        ]
        assert snapshot.data_rows == len(own)
        wanted = expected(own)
        if wanted is None:
            assert snapshot.reason == "conflicting_rows"
            continue
        assert as_found(snapshot) == wanted
        carried = [any(row[3 + i].strip() for _, row in own) for i in range(2)]
        assert snapshot.states == tuple(s for s, c in zip(STATES, carried, strict=True) if c)
