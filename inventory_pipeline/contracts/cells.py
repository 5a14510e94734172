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
PRODUCT_DECIMALS = 6  # thousandths times thousandths


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
    """A state's column: its texts, and each distinct text as a number, or None where it is none."""

    cells: Texts
    values: list[Decimal | None]

    def by_value(self) -> Ints:
        """Row → a code that is equal where numbers are (bad ones by their text); -1 where empty."""
        known: dict[object, int] = {}
        codes = [
            known.setdefault(text if value is None else value, len(known))
            for text, value in zip(self.cells.texts, self.values, strict=True)
        ]
        by_value: Ints = take(codes, self.cells.codes, dtype=np.int64, missing=-1)
        return by_value


def read_numbers(cells: Texts) -> Numbers:
    values: list[Decimal | None] = []
    for text in cells.texts:
        try:
            values.append(parse_number(text))
        except ValueError:
            values.append(None)
    return Numbers(cells, values)


@dataclass(frozen=True, slots=True)
class Factors:
    """For each distinct item: units in thousandths, and the divisor that its decimals leave."""

    targets: list[Target | None]
    units_milli: Ints
    fast: Flags
    divisor: Ints

    @classmethod
    def of(cls, targets: list[Target | None]) -> "Factors":
        scaled = [t.units * MILLI if t else Decimal(MILLI) for t in targets]
        fast = [s == s.to_integral_value() and abs(s) <= FAST_MILLI for s in scaled]
        left = [PRODUCT_DECIMALS - (t.decimals if t else MAX_DECIMALS) for t in targets]
        return cls(
            targets,
            np.array([int(s) if ok else 0 for s, ok in zip(scaled, fast, strict=True)] + [0]),
            np.array([*fast, True]),
            np.array([10**places for places in left] + [1], dtype=np.int64),
        )


def to_base(numbers: Numbers, items: Texts, factors: Factors, rows: Ints) -> tuple[Ints, Ints]:
    """(thousandths of the base unit, code of the reason) of `rows`; 0 where the cell is empty or bad."""
    codes = numbers.cells.codes[rows]
    item_codes = items.codes[rows]
    milli, fast_text, bad_text = _scaled(numbers.values)
    bad = bad_text[codes]
    fast = fast_text[codes] & factors.fast[item_codes]
    product = np.where(fast, milli[codes], 0) * np.where(fast, factors.units_milli[item_codes], 0)
    fraction = product % factors.divisor[item_codes] != 0
    reasons = np.zeros(len(rows), dtype=np.int64)
    reasons[bad] = CODE[Reason.BAD_NUMBER]
    reasons[fraction & ~bad] = CODE[Reason.FRACTION_OF_INDIVISIBLE]
    base = np.where(fraction | bad, 0, product // MILLI)
    for row in np.flatnonzero(~fast & ~bad):
        number, target = numbers.values[codes[row]], factors.targets[item_codes[row]]
        assert number is not None
        try:
            base[row] = base_milli(
                number,
                units=target.units if target else Decimal(1),
                decimals=target.decimals if target else MAX_DECIMALS,
            )
        except InexactQuantity:
            reasons[row] = CODE[Reason.FRACTION_OF_INDIVISIBLE]
        except ValueError:
            reasons[row] = CODE[Reason.BAD_NUMBER]
    return base, reasons


def _scaled(values: list[Decimal | None]) -> tuple[Ints, Flags, Flags]:
    """Per distinct text: thousandths, whether the fast path is exact for it, whether it is no number.

    One more entry stands for the empty cell: 0, fast, and not bad.
    """
    milli = np.zeros(len(values) + 1, dtype=np.int64)
    fast = np.ones(len(values) + 1, dtype=bool)
    bad = np.zeros(len(values) + 1, dtype=bool)
    for place, value in enumerate(values):
        if value is None:
            bad[place] = True
            continue
        _, digits, exponent = value.as_tuple()
        assert isinstance(exponent, int)
        fast[place] = -MAX_DECIMALS <= exponent <= MAX_DECIMALS and len(digits) <= 12
        if fast[place]:
            whole = int(value * MILLI)
            fast[place] = abs(whole) <= FAST_MILLI
            milli[place] = whole if fast[place] else 0
    return milli, fast, bad
