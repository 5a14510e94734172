"""Single values of what comes in: numbers, times, texts, and JSON in one spelling."""

import json
import re
from datetime import UTC, datetime
from decimal import Context, Decimal, localcontext
from typing import Any

from inventory_pipeline.core.quantities import MAX_UNITS, parse_decimal, to_milli

NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d{1,4})?", re.ASCII)
MAX_DEPTH = 64
MAX_NUMBER_TEXT = 60
# Wide enough that no product of two such numbers is ever rounded.
EXACT = Context(prec=4 * MAX_NUMBER_TEXT)
# Far beyond any quantity, price or id, and well inside what jsonb keeps.
MAX_DIGITS = 400


class BadValue(ValueError):
    """A value that cannot be kept as it is."""


def parse_number(value: object) -> Decimal:
    """A decimal number from JSON or text: 12, "12", "1.50", "1e3"; never a float, nan or "1_000".

    Raises ValueError.
    """
    if isinstance(value, str) and (
        len(value) > MAX_NUMBER_TEXT or not NUMBER.fullmatch(value.strip())
    ):
        raise ValueError(f"not a decimal number: {value[:MAX_NUMBER_TEXT]!r}")
    if isinstance(value, Decimal) and len(value.as_tuple().digits) > MAX_NUMBER_TEXT:
        raise ValueError(f"not a usable quantity: more than {MAX_NUMBER_TEXT} digits")
    with localcontext(EXACT):
        return parse_decimal(value)


def base_milli(number: Decimal, *, units: Decimal, decimals: int) -> int:
    """Thousandths of the base unit of `number` external units.

    Raises InexactQuantity if the item is not divisible so far, and ValueError if it is too much.
    """
    with localcontext(EXACT):
        base = number * units
        if abs(base) > MAX_UNITS:
            raise ValueError(f"more than {MAX_UNITS} base units")
        return to_milli(base, decimals=decimals)


def parse_time(value: object) -> datetime:
    """An ISO 8601 time with an offset, in UTC. Raises ValueError."""
    if not isinstance(value, str):
        raise ValueError(f"not a time: {value!r}")  # noqa: TRY004 - one error for every bad value
    when = datetime.fromisoformat(value.strip())
    if when.tzinfo is None:
        raise ValueError(f"a time without an offset: {value!r}")
    try:
        return when.astimezone(UTC)
    except OverflowError:
        raise ValueError(f"a time out of range: {value!r}") from None


def canonical(body: dict[str, Any]) -> str:
    """JSON with sorted keys and one spelling for each number: equal text means equal JSON.

    `quantity` is a number also where it is sent as text; every other text stays text. Raises
    BadValue for what no database keeps: NUL, half a surrogate pair, numbers of hundreds of digits,
    endless nesting.
    """
    known = dict(body)
    quantity = known.get("quantity")
    if isinstance(quantity, str):
        try:
            known["quantity"] = parse_number(quantity)
        except ValueError:
            known["quantity"] = quantity  # its own check says what is wrong with it
    return _spell(known, 0)


def printable(body: object) -> str:
    """JSON text of anything, for a person to read; never raises."""
    try:
        text = json.dumps(body, sort_keys=True, default=str, ensure_ascii=True)
    except (ValueError, TypeError, RecursionError):
        try:
            text = repr(body)
        except (ValueError, RecursionError):
            text = f"<{type(body).__name__} that cannot be shown>"
    return clean(text)


def clean(text: str) -> str:
    """The text with NUL and half surrogate pairs made visible, so that it can be stored."""
    return text.replace("\x00", "\\u0000").encode("utf-8", "backslashreplace").decode()


def _spell(value: Any, depth: int) -> str:
    if depth > MAX_DEPTH:
        raise BadValue(f"nested deeper than {MAX_DEPTH}")
    if isinstance(value, str):
        return _spell_text(value)
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    if isinstance(value, int | Decimal | float):
        return _spell_number(value)
    if isinstance(value, dict):
        pairs = sorted((_spell_text(str(k)), _spell(v, depth + 1)) for k, v in value.items())
        return "{" + ",".join(f"{key}:{text}" for key, text in pairs) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(_spell(v, depth + 1) for v in value) + "]"
    raise BadValue(f"no JSON value: {type(value).__name__}")


def _spell_text(text: str) -> str:
    if "\x00" in text:
        raise BadValue("a text holds a NUL character")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise BadValue("a text holds half a surrogate pair") from None
    return json.dumps(text)


def _spell_number(value: float | Decimal) -> str:
    if isinstance(value, int) and abs(value) < 10**15:
        return str(value)
    number = Decimal(repr(value)) if isinstance(value, float) else Decimal(value)
    if not number.is_finite():
        raise BadValue(f"not a number: {value}")
    _, digits, exponent = number.as_tuple()
    assert isinstance(exponent, int)
    if len(digits) > MAX_DIGITS or abs(exponent) > MAX_DIGITS:
        raise BadValue(f"a number of more than {MAX_DIGITS} digits")
    text = format(number, "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text in {"-0", "", "-"} else text
