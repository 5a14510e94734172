"""Columns of text, understood once per distinct text: fast and exact for a million rows."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd

from inventory_pipeline.contracts.mapping import Target
from inventory_pipeline.contracts.values import base_milli, parse_number, parse_time
from inventory_pipeline.core.quantities import MAX_DECIMALS, MILLI, InexactQuantity
from inventory_pipeline.core.vocabulary import Reason

Ints = np.ndarray[Any, np.dtype[np.int64]]
Flags = np.ndarray[Any, np.dtype[np.bool_]]

# A reason as a small number, so that a million of them are one array; 0 is no reason.
REASONS: tuple[Reason | None, ...] = (None, *Reason)
CODE = {reason: code for code, reason in enumerate(REASONS)}

# Products of two numbers up to this stay inside 64 bits; larger ones are computed one by one.
FAST_MILLI = 10**9
MAX_FAST_DIGITS = 12
MAX_MILLI = 2**62
PRODUCT_DECIMALS = 6  # thousandths times thousandths
NO_FACTOR = (Decimal(1), MAX_DECIMALS)  # of an item that nothing maps


@dataclass(frozen=True, slots=True)
class Texts:
    """A column: row → place in `texts`, or -1 where the cell is empty."""

    codes: Ints
    texts: list[str]

    @property
    def empty(self) -> Flags:
        return self.codes < 0

    def at(self, row: int) -> str | None:
        code = int(self.codes[row])
        return self.texts[code] if code >= 0 else None


def read_texts(column: Any) -> Texts:
    """A pandas column of strings; blank cells are empty."""
    codes, uniques = pd.factorize(column)
    texts = [str(text) for text in uniques]
    blank = [place for place, text in enumerate(texts) if not text.strip()]
    if blank:
        codes = np.where(np.isin(codes, blank), -1, codes)
    return Texts(np.asarray(codes, dtype=np.int64), texts)


def take(values: Sequence[Any], codes: Ints, *, dtype: Any, missing: Any) -> Any:
    """`values` at the codes; `missing` where a code is -1."""
    return np.array([*values, missing], dtype=dtype)[codes]


def times_of(column: Texts) -> list[datetime | None]:
    """Each distinct text as a time; None where it is none."""
    found: list[datetime | None] = []
    for text in column.texts:
        try:
            found.append(parse_time(text))
        except ValueError:
            found.append(None)
    return found


@dataclass(frozen=True, slots=True)
class Numbers:
    """A state's column: its texts, each distinct one as a number, or None where it is none.

    `milli` are its thousandths where `fast` says that 64 bits are enough; `bad` says that it is no
    number. One more entry of these three stands for the empty cell: 0, fast and not bad.
    """

    cells: Texts
    values: list[Decimal | None]
    milli: Ints
    fast: Flags
    bad: Flags

    def by_value(self, rows: Ints) -> Ints:
        """A code that is equal where numbers are (bad ones by their text); -1 where empty."""
        known: dict[object, int] = {}
        codes = [
            known.setdefault(text if value is None else value, len(known))
            for text, value in zip(self.cells.texts, self.values, strict=True)
        ]
        by_value: Ints = take(codes, self.cells.codes[rows], dtype=np.int64, missing=-1)
        return by_value


def read_numbers(cells: Texts) -> Numbers:
    values: list[Decimal | None] = []
    milli, fast, bad = [], [], []
    for text in cells.texts:
        try:
            value = parse_number(text)
        except ValueError:
            value = None
        thousandths = None if value is None else _thousandths(value)
        values.append(value)
        milli.append(thousandths or 0)
        fast.append(thousandths is not None)
        bad.append(value is None)
    return Numbers(
        cells,
        values,
        np.array([*milli, 0], dtype=np.int64),
        np.array([*fast, True]),
        np.array([*bad, False]),
    )


def _thousandths(value: Decimal) -> int | None:
    """None where it has finer decimals or is too large for the fast path."""
    _, digits, exponent = value.as_tuple()
    assert isinstance(exponent, int)
    if not -MAX_DECIMALS <= exponent <= MAX_DECIMALS or len(digits) > MAX_FAST_DIGITS:
        return None
    whole = int(value * MILLI)
    return whole if abs(whole) <= FAST_MILLI else None


@dataclass(frozen=True, slots=True)
class Factors:
    """What turns an external quantity into base units: one entry for each pair (units, decimals).

    `of_item` gives each distinct item its entry; the last one stands for a row without an item.
    `divisor` is what a product must be divisible by, so that no decimal is lost.
    """

    pairs: list[tuple[Decimal, int]]
    of_item: Ints
    units_milli: Ints
    fast: Flags
    divisor: Ints

    @classmethod
    def of(cls, targets: Sequence[Target | None]) -> "Factors":
        known: dict[tuple[Decimal, int], int] = {}
        of_item = [
            known.setdefault((t.units, t.decimals) if t else NO_FACTOR, len(known))
            for t in [*targets, None]
        ]
        pairs = list(known)
        scaled = [units * MILLI for units, _ in pairs]
        fast = [s == s.to_integral_value() and abs(s) <= FAST_MILLI for s in scaled]
        divisor = [10 ** (PRODUCT_DECIMALS - decimals) for _, decimals in pairs]
        return cls(
            pairs,
            np.array(of_item, dtype=np.int64),
            np.array([min(int(s), MAX_MILLI) for s in scaled], dtype=np.int64),
            np.array(fast),
            np.array(divisor, dtype=np.int64),
        )


def to_base(numbers: Numbers, items: Texts, factors: Factors, rows: Ints) -> tuple[Ints, Ints]:
    """(thousandths of the base unit, code of the reason) of `rows`.

    Both are 0 where the cell is empty. Each pair of a distinct text and a factor is computed once.
    """
    width = len(numbers.values) + 1
    codes = numbers.cells.codes[rows] % width  # -1, empty, is the last entry
    pairs = factors.of_item[items.codes[rows]] * width + codes
    if len(factors.pairs) * width <= len(rows):
        table: Ints = np.arange(len(factors.pairs) * width)
        place = pairs
    else:
        table, place = np.unique(pairs, return_inverse=True)
    base, reasons = _computed(numbers, factors, table % width, table // width)
    return base[place], reasons[place]


def _computed(numbers: Numbers, factors: Factors, codes: Ints, factor: Ints) -> tuple[Ints, Ints]:
    bad = numbers.bad[codes]
    fast = numbers.fast[codes] & factors.fast[factor]
    units = np.where(fast, factors.units_milli[factor], 0)
    product = np.where(fast, numbers.milli[codes], 0) * units
    fraction = product % factors.divisor[factor] != 0
    reasons = np.zeros(len(codes), dtype=np.int64)
    reasons[bad] = CODE[Reason.BAD_NUMBER]
    reasons[fraction & ~bad] = CODE[Reason.FRACTION_OF_INDIVISIBLE]
    base = np.where(fraction | bad, 0, product // MILLI)
    for place in np.flatnonzero(~fast & ~bad):
        number = numbers.values[codes[place]]
        units_of, decimals = factors.pairs[factor[place]]
        assert number is not None
        try:
            base[place] = base_milli(number, units=units_of, decimals=decimals)
        except InexactQuantity:
            reasons[place] = CODE[Reason.FRACTION_OF_INDIVISIBLE]
        except ValueError:
            reasons[place] = CODE[Reason.BAD_NUMBER]
    return base, reasons
