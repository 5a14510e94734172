"""Why a channel shows another number than it must (SEMANTICS §9): the first cause that holds."""

from dataclasses import dataclass
from datetime import datetime

from inventory_pipeline.core.vocabulary import Cause


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelFacts:
    """What is known of one listing at the moment of its reading; thousandths of the channel's unit.

    `shown_milli` is None where the channel does not have the listing, `expected_milli` where the
    hub does not. `before_write_milli` is what stood there before our last acknowledged write.
    """

    shown_milli: int | None
    expected_milli: int | None
    under_way: bool = False
    own_events_near: bool = False
    failure: str = ""
    before_write_milli: int | None = None
    write_answered_at: datetime | None = None
    changed_at: datetime | None = None


def channel_cause(facts: ChannelFacts) -> Cause:
    """The cause of a difference. Raises ValueError if shown and expected are equal."""
    if facts.shown_milli == facts.expected_milli:
        raise ValueError("there is no variance to explain")
    listed = facts.shown_milli is not None
    tests = (
        (facts.under_way or facts.own_events_near, Cause.IN_FLIGHT),
        (bool(facts.failure) and listed, Cause.PUSH_FAILED),
        (facts.expected_milli is None, Cause.UNMAPPED),
        (not listed, Cause.NOT_LISTED),
        (facts.shown_milli == facts.before_write_milli, Cause.LOST_UPDATE),
        (_changed_after_our_write(facts), Cause.EXTERNAL_EDIT),
    )
    return next((cause for holds, cause in tests if holds), Cause.UNEXPLAINED)


def _changed_after_our_write(facts: ChannelFacts) -> bool:
    return (
        facts.changed_at is not None
        and facts.write_answered_at is not None
        and facts.changed_at > facts.write_answered_at
    )


# What is done by itself; everything else alerts a person (SEMANTICS §9, default heal).
REPUSHED = frozenset({Cause.LOST_UPDATE, Cause.EXTERNAL_EDIT, Cause.UNEXPLAINED})
