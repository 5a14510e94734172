"""Orders that a channel took and the ledger lacks, by the channel's own list (SEMANTICS §9).

A connector that can list its orders is asked for them; another one is read from where its change
feed stood at an earlier comparison: what the feed has brought since then comes again.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta

from inventory_pipeline.config.policy import Channel
from inventory_pipeline.contracts.events import check_events
from inventory_pipeline.core.causes import Effect
from inventory_pipeline.core.errors import SystemFailure
from inventory_pipeline.core.ledger import IngestCount, LedgerEvent
from inventory_pipeline.core.outbox import OutboxRow
from inventory_pipeline.core.ports import Connector, OrderListing, RawEvent
from inventory_pipeline.core.quantities import MILLI
from inventory_pipeline.core.vocabulary import MovesAt
from inventory_pipeline.flow.context import HubContext
from inventory_pipeline.flow.land import with_channel
from inventory_pipeline.memory import ledger
from inventory_pipeline.memory.listing_facts import feed_cursor_before, known_events, units_of
from inventory_pipeline.memory.showing import takes_and_gives

Place = tuple[str, str]

LONGEST_LOOK_BACK = timedelta(days=7)
MAX_PAGES = 500
PIECE = 10_000


def missing_orders(
    ctx: HubContext, channel: Channel, connector: Connector, rows: Sequence[OutboxRow]
) -> dict[Place, list[Effect]]:
    """What orders that the ledger lacks did to these listings since their base.

    Asks only where the channel moves its number by itself. A channel that does not answer explains
    nothing: its differences stay what they are.
    """
    bases = {row.place: row.base_sent_at for row in rows if row.base_sent_at is not None}
    if connector.capabilities.moves_at is MovesAt.NONE or not bases:
        return {}
    since = max(min(bases.values()) - channel.skew, ctx.clock() - LONGEST_LOOK_BACK)
    try:
        missing = lacking(ctx, channel, connector, since)
    except SystemFailure:
        return {}
    takes, gives = takes_and_gives(connector.capabilities)
    by_sku: dict[str, list[LedgerEvent]] = {}
    for event in missing:
        if event.type in {*takes, *gives} and event.sku is not None:
            by_sku.setdefault(event.sku, []).append(event)
    with ctx.pg.connection() as connection:
        units = units_of(connection, channel.id, list(by_sku))
    listed = frozenset(external_id for _, external_id in units)
    found: dict[Place, list[Effect]] = {}
    for row in rows:
        for event in by_sku.get(row.sku, ()):
            of_this = event.item == row.listing.external_id or event.item not in listed
            if of_this and _after_base(row, event, channel.skew):
                effect = _effect(event, units[row.place], taken=event.type in takes)
                found.setdefault(row.place, []).append(effect)
    return found


def _after_base(row: OutboxRow, event: LedgerEvent, skew: timedelta) -> bool:
    """After the base or near it."""
    return row.base_sent_at is not None and event.occurred_at >= row.base_sent_at - skew


def _effect(event: LedgerEvent, units_milli: int, *, taken: bool) -> Effect:
    """In the channel's own units; None where the event names no quantity."""
    milli = event.quantity_milli
    in_units = None if milli is None else milli * MILLI // units_milli
    return Effect(
        event_id=event.event_id,
        type=event.type,
        occurred_at=event.occurred_at,
        effect_milli=-in_units if taken and in_units is not None else in_units,
        counted=False,
    )


def lacking(
    ctx: HubContext, channel: Channel, connector: Connector, since: datetime
) -> list[LedgerEvent]:
    """Events of the channel's own orders since then that the ledger does not have.

    Raises SystemFailure if the channel does not answer.
    """
    found: list[LedgerEvent] = []
    for piece in _pieces(_listed(ctx, channel, connector, since)):
        checked, _ = check_events(ctx.hub, channel.system, piece, ctx.clock())
        events = list(with_channel(ctx, channel.system, checked))
        with ctx.pg.connection() as connection:
            known = known_events(connection, channel.system, [e.event_id for e in events])
        found += [event for event in events if event.event_id not in known]
    return list({event.event_id: event for event in found}.values())


def ingest(ctx: HubContext, channel: Channel, connector: Connector, since: datetime) -> IngestCount:
    """Appends the channel's orders since then that the ledger lacks, as any reading does."""
    missing = lacking(ctx, channel, connector, since)
    if not missing:
        return IngestCount()
    with ctx.pg.connection() as connection:
        return ledger.append_events(
            connection, missing, [], received_at=ctx.clock(), mapping_version=ctx.mapping_version
        )


def _listed(
    ctx: HubContext, channel: Channel, connector: Connector, since: datetime
) -> Iterator[RawEvent]:
    if isinstance(connector, OrderListing):
        yield from connector.orders_since(since)
        return
    if not connector.capabilities.changes:
        return
    with ctx.pg.connection() as connection:
        place = feed_cursor_before(connection, channel.id, since)
    if place is None:
        return
    cursor = place[1]
    for _ in range(MAX_PAGES):
        page = connector.changes(cursor)
        yield from page.events
        if not page.more:
            return
        cursor = page.cursor


def _pieces(events: Iterable[RawEvent]) -> Iterator[list[RawEvent]]:
    piece: list[RawEvent] = []
    for event in events:
        piece.append(event)
        if len(piece) >= PIECE:
            yield piece
            piece = []
    if piece:
        yield piece
