"""How numbers and times look on the pages: exact quantities, ages a person reads at a glance."""

from datetime import datetime, timedelta
from decimal import Decimal

from inventory_pipeline.core.quantities import from_milli

NOTHING = "\u2013"  # an en dash


def quantity(milli: int | None) -> str:
    """Thousandths as a plain decimal number with thin groups (1234500 → "1 234.5")."""
    if milli is None:
        return NOTHING
    value: Decimal = from_milli(milli)
    return f"{value:,f}".replace(",", "\u202f")


def signed(milli: int) -> str:
    """A change with its sign; a real minus, as wide as the plus."""
    return f"{'+' if milli > 0 else chr(0x2212) if milli < 0 else ''}{quantity(abs(milli))}"


def count(number: int | None) -> str:
    """A whole number with thin groups."""
    return NOTHING if number is None else f"{number:,d}".replace(",", "\u202f")


def percent(part: int, whole: int) -> str:
    """A share that says 100 only when nothing is missing."""
    if whole == 0:
        return NOTHING
    if part == whole:
        return "100\u202f%"
    tenths = part * 1000 // whole
    return f"{tenths // 10}.{tenths % 10}\u202f%"


def latency(seconds: float | None) -> str:
    """A duration of a push: milliseconds below one second."""
    if seconds is None:
        return NOTHING
    if seconds < 1:
        return f"{round(seconds * 1000)}\u202fms"
    return f"{seconds:.1f}\u202fs" if seconds < 100 else age_of(timedelta(seconds=seconds))


def age(then: datetime | None, now: datetime) -> str:
    """How long ago, in its two largest units; never negative."""
    return NOTHING if then is None else age_of(max(now - then, timedelta(0)))


def age_of(span: timedelta) -> str:
    """A span in its two largest units ("3 h 20 min", "30 min")."""
    rest = int(span.total_seconds())
    parts = []
    for unit, length in (("d", 86_400), ("h", 3600), ("min", 60), ("s", 1)):
        number, rest = divmod(rest, length)
        parts.append((number, unit))
    while parts[0][0] == 0 and len(parts) > 1:
        parts.pop(0)
    shown = [parts[0]] + [part for part in parts[1:2] if part[0]]
    return " ".join(f"{number}\u202f{unit}" for number, unit in shown)


def moment(at: datetime | None) -> str:
    """A time to the second, in UTC."""
    return NOTHING if at is None else at.strftime("%Y-%m-%d %H:%M:%S")


def words(name: str) -> str:
    """A name of ours as people say it: `order_not_ingested` → "order not ingested"."""
    return name.replace("_", " ")
