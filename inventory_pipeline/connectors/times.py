"""The clock that a connector goes by: the hub's, so that readings and events are dated alike."""

from datetime import UTC, datetime

from inventory_pipeline.core.ports import Clock, Opening


def clock_of(opening: Opening, given: Clock | None = None) -> Clock:
    """The clock that was given, else the hub's, else this machine's."""
    return given or opening.clock or utc_now


def utc_now() -> datetime:
    return datetime.now(UTC)
