"""Exact quantities: Decimal at the edges, integer thousandths ("milli") inside.

DuckDB divides decimals as doubles, so everything that computes works in integers (architecture:
exactness).
"""

from decimal import Decimal, InvalidOperation

MILLI = 1000
MAX_DECIMALS = 3
# A quantity beyond this is a typing error, and keeps sums of many rows inside 64 bits.
MAX_UNITS = Decimal(10) ** 12


class InexactQuantity(ValueError):
    """The number has more decimals than thousandths, or more than its item allows."""


def parse_decimal(text: object) -> Decimal:
    """A finite decimal number from text, an int or a Decimal; never from a float.

    Raises ValueError for anything else: floats have already lost the digits that were sent.
    """
    if isinstance(text, (bool, float)) or text is None:
        raise ValueError(f"not a decimal number: {text!r}")
    try:
        value = Decimal(str(text).strip())
    except InvalidOperation:
        raise ValueError(f"not a decimal number: {text!r}") from None
    if not value.is_finite() or abs(value) > MAX_UNITS:
        raise ValueError(f"not a usable quantity: {text!r}")
    return value


def to_milli(value: Decimal, *, decimals: int = MAX_DECIMALS) -> int:
    """Thousandths of a base unit. Raises InexactQuantity if `value` has more than `decimals`
    decimals.
    """
    scaled = value.scaleb(decimals)
    if scaled != scaled.to_integral_value():
        raise InexactQuantity(f"{value} has more than {decimals} decimals")
    return int(scaled.scaleb(MAX_DECIMALS - decimals))


def from_milli(milli: int) -> Decimal:
    """The decimal number of units, without trailing zeros (12000 → 12, 1250 → 1.25)."""
    value = Decimal(milli).scaleb(-MAX_DECIMALS).normalize()
    return value.quantize(Decimal(1)) if value == value.to_integral_value() else value
