"""Exact quantities at the edges."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inventory_pipeline.core.quantities import (
    InexactQuantity,
    from_milli,
    parse_decimal,
    to_milli,
)


@given(st.integers(-(10**12), 10**12))
def test_thousandths_survive_the_way_out_and_in(milli):
    assert to_milli(from_milli(milli)) == milli


@given(st.decimals(-(10**9), 10**9, places=3))
def test_a_number_survives_the_way_in_and_out(value):
    assert from_milli(to_milli(value)) == value


def test_more_decimals_than_the_item_has_are_never_rounded_away():
    assert to_milli(Decimal("1.50"), decimals=1) == 1500
    with pytest.raises(InexactQuantity):
        to_milli(Decimal("1.25"), decimals=1)


@pytest.mark.parametrize("text", [1.5, True, None, "", "abc", "NaN", "Infinity", "1e30"])
def test_what_is_not_an_exact_number_is_refused(text):
    with pytest.raises(ValueError, match=r"not a"):
        parse_decimal(text)


def test_numbers_are_shown_plainly():
    assert str(from_milli(100_000_000)) == "100000"
    assert str(from_milli(1250)) == "1.25"
