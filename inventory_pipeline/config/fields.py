"""What the texts of hub.yaml mean: durations, percents, quantities, moments, names.
 Each `parse_*` takes the text as written and raises ValueError with a phrase that goes on from
the key's name ("should be …"). No number passes through a float.
"""

import re
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from typing import Annotated, Any
from zoneinfo import ZoneInfo

from pydantic import BeforeValidator, InstanceOf, WithJsonSchema

from inventory_pipeline.core.alerts import QuietHours
from inventory_pipeline.core.quantities import InexactQuantity, parse_decimal, to_milli

_DURATION = re.compile(r"(\d{1,9})\s*([smhdw])")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
_WHOLE = re.compile(r"\d{1,9}")
_QUIET = re.compile(r"(\d{1,2}:\d{2})\s*-\s*(\d{1,2}:\d{2})(?:\s+([A-Za-z0-9_+/-]+))?")
MAX_PERCENT_DECIMALS = 4  # percents are computed in millionths of the whole
MAX_FACTOR_DECIMALS = 3
DURATION_PATTERN = r"^(0|\d{1,9}\s*[smhdw])$"
PERCENT_PATTERN = r"^\d+(\.\d{1,4})?\s*%?$"


def _as_text(value: object, should: str) -> str:
    if isinstance(value, bool | float) or not isinstance(value, str | int | Decimal):
        raise ValueError(should)  # noqa: TRY004 - pydantic collects ValueErrors
    text = str(value).strip()
    if not text:
        raise ValueError(should)
    return text


def parse_text(value: object) -> str:
    """A text with something in it, without blanks around it."""
    text = _as_text(value, "should be a text")
    if text != str(value) or not text.isprintable():
        raise ValueError("should have no blanks around it and no control characters")
    return text


def parse_name(value: object) -> str:
    """A name that can stand in an address, a folder and an asset key."""
    text = _as_text(value, "should be a name")
    if not _NAME.fullmatch(text):
        raise ValueError(
            "should be a name of letters, digits, _ and -, beginning with a letter or digit"
        )
    return text


def parse_place(value: object) -> str:
    """A location's id: any text that cannot be taken for a selector."""
    text = parse_text(value)
    if text.startswith(("region:", "kind:")) or text == "*":
        raise ValueError("should not look like a selector (region:…, kind:…, *)")
    return text


def parse_bucket(value: object) -> str:
    """A bucket's id: a text without a slash, since `channel/bucket` names it."""
    text = parse_text(value)
    if "/" in text:
        raise ValueError("should have no '/': `channel/bucket` names a bucket")
    return text


def parse_quiet(value: object) -> QuietHours:
    """`22:00-07:00 Europe/Berlin`: two times of day and a time zone; without one, UTC."""
    should = "should be two times of day and a time zone, as in 22:00-07:00 Europe/Berlin"
    if isinstance(value, QuietHours):
        return value
    found = _QUIET.fullmatch(_as_text(value, should))
    if found is None:
        raise ValueError(should)
    try:
        begin, until = (time.fromisoformat(text.zfill(5)) for text in found.group(1, 2))
        return QuietHours(begin=begin, until=until, zone=ZoneInfo(found[3] or "UTC"))
    except (ValueError, KeyError, OSError):
        raise ValueError(should) from None


def parse_duration(value: object) -> timedelta:
    """`30m` and the like: an integer and one of s, m, h, d, w; a bare 0 is none."""
    should = "should be a whole number and a unit s, m, h, d or w, as in 30m"
    if isinstance(value, timedelta):
        return value
    text = _as_text(value, should)
    if text == "0":
        return timedelta(0)
    found = _DURATION.fullmatch(text)
    if found is None:
        raise ValueError(should)
    try:
        return timedelta(seconds=int(found[1]) * _SECONDS[found[2]])
    except OverflowError:
        raise ValueError("is longer than anything that is kept") from None


def parse_positive_duration(value: object) -> timedelta:
    duration = parse_duration(value)
    if not duration:
        raise ValueError("should be longer than 0")
    return duration


def parse_percent(value: object) -> Decimal:
    """`20`, `20%` or `20 %`: percent, 0 or more, exact to four decimals."""
    should = "should be a percentage of 0 or more, as in 20 or 20%"
    text = _as_text(value, should)
    try:
        percent = parse_decimal(text.removesuffix("%").rstrip())
    except ValueError:
        raise ValueError(should) from None
    if percent < 0:
        raise ValueError(should)
    return _exact(percent, MAX_PERCENT_DECIMALS)


def parse_part(value: object) -> Decimal:
    """A percentage of something that it cannot exceed."""
    percent = parse_percent(value)
    if percent > 100:
        raise ValueError("should be at most 100 %")
    return percent


def parse_units(value: object) -> Decimal:
    """A quantity in base units: 0 or more, at most three decimals."""
    should = "should be a number of base units, 0 or more"
    text = _as_text(value, should)
    try:
        units = parse_decimal(text)
    except ValueError:
        raise ValueError(should) from None
    if units < 0:
        raise ValueError(should)
    try:
        to_milli(units)
    except InexactQuantity:
        raise ValueError("should have at most 3 decimals") from None
    return units


def parse_factor(value: object) -> Decimal:
    """A multiplier, 0 or more."""
    should = "should be a number, 0 or more"
    text = _as_text(value, should)
    try:
        factor = parse_decimal(text)
    except ValueError:
        raise ValueError(should) from None
    if factor < 0:
        raise ValueError(should)
    return _exact(factor, MAX_FACTOR_DECIMALS)


def _exact(number: Decimal, decimals: int) -> Decimal:
    exponent = number.normalize().as_tuple().exponent
    if isinstance(exponent, int) and -exponent > decimals:
        raise ValueError(f"should have at most {decimals} decimals")
    return number


def parse_count(value: object) -> int:
    """A whole number, 0 or more."""
    should = "should be a whole number, 0 or more"
    text = _as_text(value, should)
    if not _WHOLE.fullmatch(text):
        raise ValueError(should)
    return int(text)


def parse_positive_count(value: object) -> int:
    count = parse_count(value)
    if count == 0:
        raise ValueError("should be 1 or more")
    return count


def parse_decimals(value: object) -> int:
    """How many decimals a quantity has: 0 to 3."""
    should = "should be 0, 1, 2 or 3"
    text = _as_text(value, should)
    if text not in {"0", "1", "2", "3"}:
        raise ValueError(should)
    return int(text)


def parse_priority(value: object) -> int:
    """A whole number; below 0 is weaker than a rule that names none."""
    should = "should be a whole number"
    text = _as_text(value, should)
    if not _WHOLE.fullmatch(text.removeprefix("-")):
        raise ValueError(should)
    return int(text)


def parse_flag(value: object) -> bool:
    """`true` or `false`, in YAML's other spellings as well."""
    if isinstance(value, bool):
        return value
    text = _as_text(value, "should be true or false").lower()
    if text in {"true", "yes", "on"}:
        return True
    if text in {"false", "no", "off"}:
        return False
    raise ValueError("should be true or false")


def parse_moment(value: object) -> datetime:
    """A date (midnight UTC) or a time with an offset; the result is in UTC."""
    should = "should be a date (2026-01-31) or a time with an offset (2026-01-31T08:00:00Z)"
    text = _as_text(value, should)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(should) from None
    if _DATE.fullmatch(text):
        return moment.replace(tzinfo=UTC)
    if moment.tzinfo is None:
        raise ValueError("should have an offset, as in 2026-01-31T08:00:00Z or +01:00")
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise ValueError(should) from None


def parse_mode(value: object) -> str:
    """A channel's mode; a bare off that a YAML reader has made false is off."""
    return "off" if value is False else str(value)


def _schema(kind: Any, **more: Any) -> WithJsonSchema:
    return WithJsonSchema({"type": kind, **more})


_NUMBER = ["number", "string"]
_PERCENT = _schema(_NUMBER, minimum=0, pattern=PERCENT_PATTERN)
_LENGTH = _schema(["string", "integer"], pattern=DURATION_PATTERN, maximum=0)
_WORD = ["string", "integer"]  # an id of digits needs no quotes

Text = Annotated[str, BeforeValidator(parse_text), _schema(["string", "number", "boolean"])]
Name = Annotated[str, BeforeValidator(parse_name), _schema(_WORD, pattern=r"^[A-Za-z0-9][\w-]*$")]
Place = Annotated[str, BeforeValidator(parse_place), _schema(_WORD, minLength=1)]
BucketId = Annotated[str, BeforeValidator(parse_bucket), _schema(_WORD, pattern="^[^/]+$")]
Duration = Annotated[timedelta, BeforeValidator(parse_duration), _LENGTH]
PositiveDuration = Annotated[timedelta, BeforeValidator(parse_positive_duration), _LENGTH]
Percent = Annotated[Decimal, BeforeValidator(parse_percent), _PERCENT]
Part = Annotated[Decimal, BeforeValidator(parse_part), _PERCENT]
Units = Annotated[Decimal, BeforeValidator(parse_units), _schema(_NUMBER, minimum=0)]
Factor = Annotated[Decimal, BeforeValidator(parse_factor), _schema(_NUMBER, minimum=0)]
Count = Annotated[int, BeforeValidator(parse_count), _schema("integer", minimum=0)]
PositiveCount = Annotated[int, BeforeValidator(parse_positive_count), _schema("integer", minimum=1)]
Decimals = Annotated[int, BeforeValidator(parse_decimals), _schema("integer", minimum=0, maximum=3)]
Priority = Annotated[int, BeforeValidator(parse_priority), _schema("integer")]
Flag = Annotated[bool, BeforeValidator(parse_flag), _schema("boolean")]
Moment = Annotated[datetime, BeforeValidator(parse_moment), _schema("string")]
QuietTimes = Annotated[InstanceOf[QuietHours], BeforeValidator(parse_quiet), _schema("string")]
