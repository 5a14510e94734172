"""Single values of what comes in: numbers, times, texts, and JSON in one spelling."""

import functools
import json
import re
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Context, Decimal, localcontext
from json.encoder import encode_basestring_ascii
from typing import Any

from inventory_pipeline.core.quantities import MAX_UNITS, parse_decimal, to_milli

NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d{1,4})?", re.ASCII)
MAX_DEPTH = 64
MAX_NUMBER_TEXT = 60
# Wide enough that no product of two such numbers is ever rounded.
EXACT = Context(prec=4 * MAX_NUMBER_TEXT)
# Far beyond any quantity, price or id, and well inside what jsonb keeps.
MAX_DIGITS = 400
# Whole numbers below this need no look at their digits.
SHORT = 10**15


def _as_text(value: object) -> str:
    if isinstance(value, Decimal):
        raise TypeError("a number is no text")
    return str(value)


_PRINTED = json.JSONEncoder(sort_keys=True, default=_as_text, ensure_ascii=True)


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
    """JSON text of anything, for a person to read; never raises.

    What is JSON reads back as the same values, decimals too: a row that is let in later is the same
    event as the one that comes again.
    """
    spellings: tuple[Callable[[Any], str], ...] = (_PRINTED.encode, lambda it: _spell(it, 0), repr)
    for spelled in spellings:
        try:
            return clean(spelled(body))
        except (ValueError, TypeError, RecursionError):
            continue
    return f"<{type(body).__name__} that cannot be shown>"


def clean(text: str) -> str:
    """The text with NUL and half surrogate pairs made visible, so that it can be stored."""
    if text.isascii() and "\x00" not in text:
        return text
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
        inner = depth + 1
        if value and inner > MAX_DEPTH:
            raise BadValue(f"nested deeper than {MAX_DEPTH}")
        pairs = sorted(
            [
                (_spell_key(str(k)), _spell_text(v) if type(v) is str else _spell(v, inner))
                for k, v in value.items()
            ]
        )
        return "{" + ",".join([f"{key}:{text}" for key, text in pairs]) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join([_spell(v, depth + 1) for v in value]) + "]"
    raise BadValue(f"no JSON value: {type(value).__name__}")


def _spell_text(text: str) -> str:
    spelled = encode_basestring_ascii(text)
    if "\\u" not in spelled:  # else something beyond ASCII, or what cannot be stored
        return spelled
    if "\x00" in text:
        raise BadValue("a text holds a NUL character")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise BadValue("a text holds half a surrogate pair") from None
    return spelled


# A feed has few names and many events.
_spell_key = functools.lru_cache(maxsize=4096)(_spell_text)


def _spell_number(value: float | Decimal) -> str:
    if isinstance(value, int) and -SHORT < value < SHORT:
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
