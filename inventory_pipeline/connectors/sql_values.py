"""Values of a database as cells, as events hold them, and as a place in a feed."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, Self
from zoneinfo import ZoneInfo


def text_cell(value: Any, zone: ZoneInfo | None) -> str | None:
    """A cell of a snapshot: exact text, None for NULL. Raises ValueError for what has no text."""
    if value is None or isinstance(value, str):
        return value or None
    return str(event_value(value, zone))


def event_value(value: Any, zone: ZoneInfo | None) -> str | int:
    """A value as events hold it: text or int. A time without a zone is in `zone`, where there is
    one; else it stays without, and the check of the event says so.
    """
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | str):
        return value
    if isinstance(value, float):
        value = Decimal(str(value))
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, datetime):
        zoned = value.replace(tzinfo=zone) if value.tzinfo is None and zone else value
        return zoned.isoformat() if zoned.tzinfo is None else zoned.astimezone(UTC).isoformat()
    if isinstance(value, date):
        return value.isoformat()
    raise ValueError(f"a {type(value).__name__} is no text, number or time")


@dataclass(frozen=True, slots=True)
class Place:
    """How far a feed was read: a value of its cursor column."""

    value: Any
    kind: str  # int | time | text

    @classmethod
    def of(cls, cursor: dict[str, Any], start: str) -> Self:
        """A saved place, or the option `cursor_start`."""
        text, kind = str(cursor.get("at", start)), str(cursor.get("kind", ""))
        if not kind:
            kind = "int" if text.lstrip("-").isdigit() else "text"
        if kind == "int":
            return cls(int(text), kind)
        return cls(datetime.fromisoformat(text) if kind == "time" else text, kind)

    @classmethod
    def at(cls, value: Any) -> Self:
        if isinstance(value, int | Decimal) and value == int(value):
            return cls(int(value), "int")
        return cls(value, "time") if isinstance(value, datetime) else cls(str(value), "text")

    def before(self, overlap: float) -> Self:
        """A number that is smaller by `overlap`, or a time so many seconds earlier."""
        if self.kind == "int":
            return type(self)(self.value - int(overlap), self.kind)
        if self.kind == "time":
            return type(self)(self.value - timedelta(seconds=overlap), self.kind)
        return self

    def or_later(self, other: Self) -> Self:
        """The later of two; this one where they cannot be compared."""
        return other if other.kind == self.kind != "text" and other.value > self.value else self

    def as_json(self) -> dict[str, Any]:
        text = self.value.isoformat() if self.kind == "time" else str(self.value)
        return {"at": text, "kind": self.kind}
