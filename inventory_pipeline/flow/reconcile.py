"""Compares what a channel shows with what it must be showing (SEMANTICS §9, channel).

A read races with pushes and with the channel's own sales. So whatever differs and may have moved
during the read is read again before it is called a variance.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

from inventory_pipeline.config.policy import Channel, Tolerances
from inventory_pipeline.core.causes import REPUSHED, ChannelFacts, channel_cause
from inventory_pipeline.core.outbox import OutboxRow
from inventory_pipeline.core.ports import (
    Connector,
    Level,
    ListingRef,
    Progress,
    Watcher,
    unwatched,
)
from inventory_pipeline.core.vocabulary import Mode
from inventory_pipeline.flow.context import HubContext
from inventory_pipeline.memory import attempts, ledger, outbox, variances
from inventory_pipeline.memory.variances import Variance

MAX_LISTINGS = 2_000_000
LIGHT_LISTINGS = 2_000
MAX_REREADS = 4
LONGEST_PAUSE = timedelta(seconds=5)

Place = tuple[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReconcileReport:
    """One comparison: listings (or cells) compared, read again, and what differs."""

    comparison: str
    channel: str | None
    compared: int
    reread: int
    variances: tuple[Variance, ...]
    skipped: str = ""  # why nothing could be compared


def reconcile_channel(
    ctx: HubContext, channel_id: str, *, full: bool = True, watch: Watcher = unwatched
) -> ReconcileReport:
    """Reads what the channel shows, names every difference with its cause, and records it.

    `full` reads all that the channel lists; otherwise the listings not seen for longest. Raises
    SourceError or ChannelError when the channel cannot be read: nothing is recorded then.
    """
    channel = ctx.hub.channels[channel_id]
    connector = ctx.connectors[channel.system]
    if not connector.capabilities.levels:
        return ReconcileReport(
            comparison="channel", channel=channel_id, compared=0, reread=0, variances=(),
            skipped=f"{channel.system} cannot be asked what it shows",
        )  # fmt: skip
    started = ctx.clock()
    with ctx.pg.connection() as connection:
        number = variances.start(
            connection, "channel", channel_id, at=started, offset=ledger.head(connection)
        )
    watch(Progress(step=f"reading {channel_id}"))
    comparison = _Comparison(ctx, channel, connector)
    found, compared, reread = comparison.run(full=full)
    with ctx.pg.connection() as connection:
        variances.record(
            connection, "channel", channel_id, found, compared=None if full else compared,
            at=ctx.clock(),
        )  # fmt: skip
        variances.finish(
            connection, number, at=ctx.clock(), compared=len(compared), variances=len(found),
            reread=reread,
        )  # fmt: skip
    return ReconcileReport(
        comparison="channel", channel=channel_id, compared=len(compared), reread=reread,
        variances=tuple(found),
    )  # fmt: skip


def heal(ctx: HubContext) -> dict[str, int]:
    """Repushes open variances whose cause calls for it; returns channel → listings. Recorded."""
    healed: dict[str, int] = {}
    with ctx.pg.connection() as connection:
        rows = connection.execute(
            "SELECT variance_id, channel, bucket, external_id FROM hub.variances"
            " WHERE closed_at IS NULL AND comparison = 'channel' AND cause = ANY(%s)"
            " AND healed_at IS NULL ORDER BY first_seen, variance_id LIMIT 10000",
            ([str(cause) for cause in REPUSHED],),
        ).fetchall()
        for variance_id, channel, bucket, external_id in rows:
            if ctx.hub.channels[channel].mode not in {Mode.LIVE, Mode.CANARY}:
                continue
            outbox.repush(connection, channel, [(bucket, external_id)])
            connection.execute(
                "UPDATE hub.variances SET heal = 'repush', healed_at = %s WHERE variance_id = %s",
                (ctx.clock(), variance_id),
            )
            healed[channel] = healed.get(channel, 0) + 1
    return healed


class _Comparison:
    """One comparison of one channel."""

    def __init__(self, ctx: HubContext, channel: Channel, connector: Connector) -> None:
        self.ctx = ctx
        self.channel = channel
        self.connector = connector

    def run(self, *, full: bool) -> tuple[list[Variance], frozenset[tuple[str | None, ...]], int]:
        wanted = None if full else self._longest_unseen()
        shown = self._read(wanted)
        rows = self._rows()
        places = set(rows) if full else {_place(ref) for ref in wanted or ()}
        if full:
            places |= set(shown)
        differing = self._differing(places, shown, rows)
        reread = 0
        for again in range(MAX_REREADS):
            # Every first difference may be an order that is still on its way to the ledger.
            moved = [
                place
                for place in differing
                if place in rows
                and (again == 0 or self._may_have_moved(rows[place], shown.get(place)))
            ]
            if not moved:
                break
            self._pause()
            reread += len(moved)
            listings = [rows[place].listing for place in moved]
            for place in moved:
                shown.pop(place, None)
            shown.update(self._read(listings))
            rows = self._rows()
            differing = self._differing(places, shown, rows)
        found = [self._variance(place, shown.get(place), rows.get(place)) for place in differing]
        self._confirm(shown, rows, {v.key for v in found})
        compared = frozenset(self._key(place, rows.get(place)) for place in places)
        return found, compared, reread

    def _read(self, listings: Sequence[ListingRef] | None) -> dict[Place, Level]:
        levels = (self._named(level) for level in self.connector.read_levels(listings))
        return {_place(level.listing): level for level in levels if level is not None}

    def _named(self, level: Level) -> Level | None:
        """The level under our bucket's name: a channel knows only its own. None: not ours."""
        if level.listing.bucket:
            return level
        external = level.listing.bucket_external
        for bucket in self.channel.buckets:
            if external in ("", bucket.external):
                return replace(level, listing=replace(level.listing, bucket=bucket.id))
        return None

    def _rows(self) -> dict[Place, OutboxRow]:
        with self.ctx.pg.connection() as connection:
            rows = outbox.rows_to_look_at(
                connection,
                self.channel,
                self.connector.capabilities,
                now=self.ctx.clock(),
                limit=MAX_LISTINGS,
                everything=True,
            )
            self.writes: Mapping[Place, attempts.LastWrite] = attempts.last_writes(
                connection, self.channel.id
            )
        return {_place(row.listing): row for row in rows if row.listed}

    def _longest_unseen(self) -> list[ListingRef]:
        rows = sorted(
            self._rows().values(),
            key=lambda r: (r.base_answered_at is not None, r.base_answered_at or r.computed_at),
        )
        return [row.listing for row in rows[:LIGHT_LISTINGS]]

    def _expected(self, row: OutboxRow | None) -> int | None:
        if row is None:
            return None
        if self.channel.mode is Mode.SHADOW:
            return row.desired_milli
        return row.showing_milli

    def _differing(
        self, places: set[Place], shown: Mapping[Place, Level], rows: Mapping[Place, OutboxRow]
    ) -> list[Place]:
        return [
            place
            for place in sorted(places)
            if not self._same(
                self._expected(rows.get(place)), _quantity(shown.get(place)),
                known=place in rows,
            )
        ]  # fmt: skip

    def _same(self, expected: int | None, found: int | None, *, known: bool) -> bool:
        if expected is None and known:
            return found is not None  # never pushed and never read: nothing to hold it against yet
        if expected is None or found is None:
            return expected is None and found is None
        return within_tolerance(expected, found, self.ctx.hub.tolerances)

    def _may_have_moved(self, row: OutboxRow | None, level: Level | None) -> bool:
        """Pushed, sold or due for a push around the reading."""
        if row is None or level is None:
            return False
        near = level.asked_at - self.channel.skew
        return (
            row.needs_reading
            or (row.base_answered_at is not None and row.base_answered_at >= near)
            or (row.last_own_at is not None and row.last_own_at >= near)
            or self._under_way(row)
        )

    def _under_way(self, row: OutboxRow) -> bool:
        write = self.writes.get(_place(row.listing))
        return write is not None and write.outcome is None

    def _pause(self) -> None:
        patience = max(self.channel.skew, self.ctx.hub.systems[self.channel.system].poll)
        time.sleep(min(patience, LONGEST_PAUSE).total_seconds())

    def _variance(self, place: Place, level: Level | None, row: OutboxRow | None) -> Variance:
        write = self.writes.get(place)
        expected = self._expected(row)
        facts = ChannelFacts(
            shown_milli=_quantity(level),
            expected_milli=expected,
            under_way=row is not None and self._under_way(row),
            own_events_near=row is not None and level is not None and row.uncertain,
            failure=write.failure if write else "",
            before_write_milli=write.before_milli if write else None,
            write_answered_at=write.acked_at if write else None,
            changed_at=level.changed_at if level else None,
        )
        evidence = {
            "read_at": level.answered_at.isoformat() if level else None,
            "base_milli": row.base_milli if row else None,
            "base_answered_at": _iso(row),
            "own_since_base_milli": row.own_milli if row else None,
            "desired_milli": row.desired_milli if row else None,
            "last_write": write.outcome if write else None,
            "failure": write.failure if write else "",
        }
        return Variance(
            comparison="channel",
            cause=channel_cause(facts),
            sku=row.sku if row else None,
            expected_milli=expected,
            found_milli=_quantity(level),
            channel=self.channel.id,
            bucket=place[0],
            external_id=place[1],
            evidence=evidence,
        )

    def _key(self, place: Place, row: OutboxRow | None) -> tuple[str | None, ...]:
        sku = row.sku if row else None
        return variances.channel_key(self.channel.id, place[0], place[1], sku)

    def _confirm(
        self,
        shown: Mapping[Place, Level],
        rows: Mapping[Place, OutboxRow],
        differing: set[tuple[str | None, ...]],
    ) -> None:
        """A reading that agrees is the newest base; one of a row never read before is its first."""
        if self.channel.mode is Mode.SHADOW:
            return
        levels = [
            replace(level, listing=rows[place].listing)
            for place, level in shown.items()
            if place in rows
            and self._key(place, rows[place]) not in differing
            and not self._may_have_moved(rows[place], level)
        ]
        with self.ctx.pg.connection() as connection:
            outbox.store_readings(connection, self.channel.id, levels)


def within_tolerance(expected_milli: int, found_milli: int, tolerances: Tolerances) -> bool:
    """A variance within either tolerance is none (SEMANTICS §7)."""
    difference = abs(expected_milli - found_milli)
    by_units = difference <= tolerances.units * 1000
    by_percent = difference * 100 <= tolerances.percent * abs(expected_milli)
    return by_units or by_percent


def _place(listing: ListingRef) -> Place:
    return (listing.bucket, listing.external_id)


def _quantity(level: Level | None) -> int | None:
    return None if level is None else level.quantity_milli


def _iso(row: OutboxRow | None) -> str | None:
    return row.base_answered_at.isoformat() if row and row.base_answered_at else None
