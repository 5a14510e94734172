"""The clock, and times as people write them."""

from datetime import UTC, datetime

from inventory_pipeline.core.errors import HubError


def utc_now() -> datetime:
    """The one clock of a running hub; everything else is given the time."""
    return datetime.now(UTC)


def time_of(text: str, *, option: str) -> datetime:
    """A time with an offset. Raises HubError that names the option it was given with."""
    hint = "write it like 2026-03-02T10:00:00Z."
    try:
        at = datetime.fromisoformat(text)
    except ValueError as error:
        raise HubError(f"{option} {text} is no time", hint=hint) from error
    if at.tzinfo is None:
        raise HubError(f"{option} {text} has no offset", hint=hint)
    return at
