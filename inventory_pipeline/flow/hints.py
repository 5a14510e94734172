"""What systems tell about levels: a reason to read them, never a number to go by (SEMANTICS §8).

Hints about a channel's listings are kept in the transaction that is done with their delivery, and
judged together a moment later, when the orders behind them had time to come. A source that tells of
a change is asked for its changes at once.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

import structlog

from inventory_pipeline.config.policy import Channel
from inventory_pipeline.core.hints import is_news
from inventory_pipeline.core.ports import Connector, Delivery, Hinting, LevelHint
from inventory_pipeline.core.vocabulary import Mode
from inventory_pipeline.flow.context import HubContext
from inventory_pipeline.memory import hints, outbox
from inventory_pipeline.memory.postgres import Connection

# A shop tells of an order and of the level that it moved at about the same time, in any order.
GRACE = timedelta(seconds=1)
AT_ONCE = 1_000
SENDING = frozenset({Mode.LIVE, Mode.CANARY})

log = structlog.get_logger("hub")


@dataclass(frozen=True, slots=True, kw_only=True)
class HintCount:
    """What became of hints: `to_read` listings were marked, `known` told what the hub knows.

    Those about no listing of a channel are none of them: they are counted when they come.
    """

    to_read: int = 0
    known: int = 0

    def __add__(self, other: "HintCount") -> "HintCount":
        return HintCount(to_read=self.to_read + other.to_read, known=self.known + other.known)


def hints_of(connector: Connector, topic: str, delivery: Delivery) -> Sequence[LevelHint]:
    """What a delivery tells of levels. Raises WebhookRefused or SourceError, as `parse` does."""
    return connector.hints(topic, delivery) if isinstance(connector, Hinting) else ()


def keep_hints(
    ctx: HubContext, connection: Connection, found: Mapping[str, Sequence[LevelHint]]
) -> frozenset[str]:
    """Keeps hints of each system's channels; returns the sources that are to be asked at once.

    How many are about no listing of a channel is logged: they are kept nowhere.
    """
    now = ctx.clock()
    for system, told in found.items():
        channels = _sending(ctx, system)
        if not told or not channels:
            continue
        unknown = hints.record(
            connection,
            [channel.id for channel in channels],
            [bucket.id for channel in channels for bucket in channel.buckets],
            told,
            now=now,
            due=now + GRACE,
        )
        if unknown:
            log.info("hints of unknown listings", system=system, unknown=unknown, told=len(told))
    return frozenset(
        system
        for system, told in found.items()
        if told and system in ctx.hub.systems and ctx.hub.systems[system].owns
    )


def judge_hints(ctx: HubContext) -> HintCount:
    """Marks the listings whose channel told of something that the hub does not know; due ones only,
    at most AT_ONCE of a channel. The sender reads them and puts them right.
    """
    count = HintCount()
    with ctx.pg.connection() as connection:
        for name in hints.channels_told(connection, now=ctx.clock()):
            channel = ctx.hub.channels.get(name)
            if channel is None or channel.mode not in SENDING or name in ctx.stopped:
                hints.forget(connection, name)
            else:
                count += _judge(ctx, connection, channel)
    return count


def _judge(ctx: HubContext, connection: Connection, channel: Channel) -> HintCount:
    now = ctx.clock()
    told = hints.take(connection, channel.id, now=now, limit=AT_ONCE)
    capabilities = ctx.connectors[channel.system].capabilities
    if not told or not capabilities.levels:
        return HintCount()
    rows = outbox.rows_at(connection, channel, capabilities, [one.place for one in told], now=now)
    news = [
        one.place
        for one in told
        if one.place in rows
        and is_news(
            rows[one.place], told_milli=one.told_milli, told_at=one.told_at, skew=channel.skew
        )
    ]
    marked = hints.mark_unread(connection, channel.id, news, now=now)
    return HintCount(to_read=marked, known=len(told) - marked)


def _sending(ctx: HubContext, system: str) -> list[Channel]:
    return [
        channel
        for channel in ctx.hub.channels.values()
        if channel.system == system and channel.mode in SENDING
    ]
