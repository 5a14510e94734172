"""Compares what a channel shows with what it must be showing (SEMANTICS §9, channel).

A read races with pushes and with the channel's own sales. So whatever differs and may have moved
during the read is read again before it is called a variance. Both sides are tables; only rows that
differ become objects.
"""

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

import pyarrow as pa
import pyarrow.compute as pc

from inventory_pipeline.config.policy import Channel, Tolerances
from inventory_pipeline.core.errors import HubError, SystemFailure
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
from inventory_pipeline.flow.heal import heal
from inventory_pipeline.flow.land import CHANGES
from inventory_pipeline.flow.modes import parsed
from inventory_pipeline.flow.reconcile_causes import Differing, explain
from inventory_pipeline.flow.reconcile_compare import (
    Difference,
    Readings,
    agreeing,
    compare,
    differences,
)
from inventory_pipeline.flow.reconcile_reading import all_levels
from inventory_pipeline.memory import ledger, outbox, sightings, variances, versions
from inventory_pipeline.memory.showing import showing
from inventory_pipeline.memory.variances import Recorded, Variance

__all__ = ["ReconcileReport", "heal", "reconcile_channel", "within_tolerance"]

LIGHT_LISTINGS = 2_000  # what an hour's comparison looks at in any case
MAX_REREADS = 4
LONGEST_PAUSE = timedelta(seconds=5)
# Where more differ, reading the whole channel again costs less than asking for each of them.
ASKED_ONE_BY_ONE = 20_000
REFRESHED_AT_ONCE = 50_000
ASKED_WHETHER_STOPPED_S = 1.0

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
    opened: int = 0
    closed: int = 0


class SwitchedOff(HubError):
    """A person switched the channel off while it was compared."""


def reconcile_channel(
    ctx: HubContext, channel_id: str, *, full: bool = True, watch: Watcher = unwatched
) -> ReconcileReport:
    """Reads what the channel shows, names every difference with its cause, and records it.

    `full` reads all that the channel lists; otherwise what was touched since it was last seen, and
    the listings not seen for longest: within a day all of them. Raises SourceError or ChannelError
    when the channel cannot be read: what was known before stays, as it does where a person switches
    the channel off meanwhile.
    """
    channel = ctx.hub.channels[channel_id]
    connector = ctx.connectors[channel.system]
    off = channel.mode is Mode.OFF or channel_id in ctx.stopped
    if off or not connector.capabilities.levels:
        return _skipped(
            channel_id,
            f"{channel_id} is off" if off else f"{channel.system} cannot be asked what it shows",
        )
    started = ctx.clock()
    with ctx.pg.connection() as connection:
        number = variances.start(
            connection, "channel", channel_id, at=started, offset=ledger.head(connection),
            whole=full, feed=(channel.system, CHANGES),
        )  # fmt: skip
    comparison = _Comparison(ctx, channel, connector, watch)
    try:
        found = comparison.run(full=full)
    except (SystemFailure, SwitchedOff) as error:
        with ctx.pg.connection() as connection:
            variances.fail(connection, number, str(error))
        if isinstance(error, SwitchedOff):
            return _skipped(channel_id, str(error))
        raise
    with ctx.pg.connection() as connection:
        recorded = variances.record(
            connection, "channel", channel_id, found,
            places=None if full else comparison.places, at=ctx.clock(),
        )  # fmt: skip
        sightings.saw(connection, channel_id, None if full else comparison.places, at=started)
        variances.finish(
            connection, number, at=ctx.clock(), compared=comparison.compared,
            variances=len(found), reread=comparison.reread,
        )  # fmt: skip
    return _report(channel_id, comparison, found, recorded)


def _skipped(channel: str, why: str) -> ReconcileReport:
    return ReconcileReport(
        comparison="channel", channel=channel, compared=0, reread=0, variances=(), skipped=why
    )


def _report(
    channel: str, comparison: "_Comparison", found: Sequence[Variance], recorded: Recorded
) -> ReconcileReport:
    return ReconcileReport(
        comparison="channel", channel=channel, compared=comparison.compared,
        reread=comparison.reread, variances=tuple(found), opened=recorded.opened,
        closed=recorded.closed,
    )  # fmt: skip


class _Comparison:
    """One comparison of one channel. `places` are the listings asked for (empty: all)."""

    def __init__(
        self, ctx: HubContext, channel: Channel, connector: Connector, watch: Watcher
    ) -> None:
        self.ctx = ctx
        self.channel = channel
        self.connector = connector
        self.watch = watch
        self.buckets: Mapping[str, str] = {b.id: b.external for b in channel.buckets}
        self.places: list[Place] = []
        self.compared = 0
        self.reread = 0
        self._asked = time.monotonic()

    def run(self, *, full: bool) -> list[Variance]:
        wanted = None if full else self._chosen()
        if wanted is not None:
            self.places = [_place(ref) for ref in wanted]
        shown = self._read(wanted)
        expected = self._expected(None if full else self.places)
        found = compare(expected, shown, self.ctx.hub.tolerances, one_bucket=len(self.buckets) == 1)
        self.compared = max(expected.num_rows, shown.num_rows)
        first = differences(found, shown, self.buckets)
        differing = self._read_again(first)
        self._require_wanted()
        self._confirm(expected, shown, {difference.place for difference in first})
        self.watch(Progress(step=f"naming causes of {self.channel.id}", total=len(differing)))
        return explain(self.ctx, self.channel, self.connector, differing)

    def _chosen(self) -> list[ListingRef]:
        with self.ctx.pg.connection() as connection:
            return sightings.chosen(
                connection, self.channel.id, self.channel.system, now=self.ctx.clock(),
                least=LIGHT_LISTINGS,
            )  # fmt: skip

    def _read(self, listings: Sequence[ListingRef] | None) -> pa.Table:
        step = f"reading {self.channel.id}"
        total = None if listings is None else len(listings)
        self.watch(Progress(step=step, total=total))
        readings = Readings(
            self.channel, lambda done: self.watch(Progress(step=step, done=done, total=total))
        )
        if listings is not None:
            levels = self.connector.read_levels(listings)
        else:
            levels = all_levels(self.connector, pause=self._wait, looked=self._look)
        return readings.read(self._while_wanted(levels))

    def _while_wanted(self, levels: Iterable[Level]) -> Iterator[Level]:
        """The levels, until a person switches the channel off."""
        for level in levels:
            self._look()
            yield level

    def _wait(self, seconds: float) -> None:
        time.sleep(seconds)
        self._look()

    def _look(self) -> None:
        """Asks now and then whether the channel is still wanted."""
        if time.monotonic() - self._asked >= ASKED_WHETHER_STOPPED_S:
            self._require_wanted()

    def _require_wanted(self) -> None:
        """Raises SwitchedOff where the channel is off by now; the context knows what was before."""
        with self.ctx.pg.connection() as connection:
            modes = parsed(versions.newest(connection).overrides)
        self._asked = time.monotonic()
        if modes.get(self.channel.id) is Mode.OFF:
            raise SwitchedOff(f"{self.channel.id} was switched off while it was compared")

    def _expected(self, places: Sequence[Place] | None) -> pa.Table:
        with self.ctx.pg.connection() as connection:
            return showing(connection, self.channel, self.connector.capabilities, places)

    def _read_again(self, first: Sequence[Difference]) -> list[Differing]:
        """What still differs after everything that may have moved was read again.

        Every first difference of a listing that the hub has may be an order that is still on its
        way to the ledger.
        """
        levels = {d.place: d.level for d in first}
        known = [d.place for d in first if d.known]
        rows = self._rows(known)
        differing = [d.place for d in first]
        moved = [place for place in differing if place in rows]
        for _ in range(MAX_REREADS):
            if not moved:
                break
            self._pause()
            self._require_wanted()
            self.reread += len(moved)
            fresh = self._read_some([rows[place].listing for place in moved])
            levels.update({place: fresh.get(place) for place in moved})
            rows.update(self._rows(moved))
            still = {place for place in moved if self._differs(rows[place], levels[place])}
            differing = [place for place in differing if place in still or place not in set(moved)]
            moved = [
                place
                for place in differing
                if place in still and self._may_have_moved(rows[place], levels[place])
            ]
        return [
            Differing(
                place=place, row=rows.get(place), level=levels[place],
                expected_milli=self._expected_of(rows.get(place)),
            )
            for place in differing
        ]  # fmt: skip

    def _read_some(self, listings: Sequence[ListingRef]) -> dict[Place, Level]:
        if len(listings) <= ASKED_ONE_BY_ONE:
            levels = self._while_wanted(self.connector.read_levels(listings))
            return {_place(level.listing): level for level in levels}
        shown = self._read(None)
        return {
            _place(level.listing): level
            for level in agreeing(shown, map(_place, listings), self.buckets)
        }

    def _rows(self, places: Sequence[Place]) -> dict[Place, OutboxRow]:
        rows: dict[Place, OutboxRow] = {}
        for start in range(0, len(places), REFRESHED_AT_ONCE):
            with self.ctx.pg.connection() as connection:
                rows |= outbox.rows_at(
                    connection, self.channel, self.connector.capabilities,
                    places[start : start + REFRESHED_AT_ONCE], now=self.ctx.clock(),
                )  # fmt: skip
        return {place: row for place, row in rows.items() if row.listed}

    def _expected_of(self, row: OutboxRow | None) -> int | None:
        if row is None:
            return None
        shadow = row.base_kind == "shadow"
        if self.channel.mode is Mode.SHADOW or (shadow and self.channel.mode is Mode.CANARY):
            return row.desired_milli
        return None if shadow else row.showing_milli

    def _differs(self, row: OutboxRow, level: Level | None) -> bool:
        expected = self._expected_of(row)
        if level is None:
            return True
        # Never pushed and never read: nothing to hold it against yet.
        return expected is not None and not within_tolerance(
            expected, level.available_milli, self.ctx.hub.tolerances
        )

    def _may_have_moved(self, row: OutboxRow, level: Level | None) -> bool:
        """Pushed, sold or due for a push around the reading."""
        if level is None:
            return False
        near = level.asked_at - self.channel.skew
        return (
            row.needs_reading
            or (row.base_answered_at is not None and row.base_answered_at >= near)
            or (row.last_own_at is not None and row.last_own_at >= near)
        )

    def _pause(self) -> None:
        patience = max(self.channel.skew, self.ctx.hub.systems[self.channel.system].poll)
        time.sleep(min(patience, LONGEST_PAUSE).total_seconds())

    def _confirm(self, expected: pa.Table, shown: pa.Table, differing: set[Place]) -> None:
        """A reading that agrees is the newest base, where the base alone does not say as much: of a
        listing never read before, of one whose outcome is unknown, of one that sold since.
        """
        unsettled = expected.filter(pc.fill_null(expected["settles"], False))
        places = zip(
            unsettled["bucket"].to_pylist(), unsettled["external_id"].to_pylist(), strict=True
        )
        levels = agreeing(shown, [p for p in places if p not in differing], self.buckets)
        if not levels:
            return
        calm = self._calm(levels)
        with self.ctx.pg.connection() as connection:
            outbox.store_readings(connection, self.channel.id, calm)

    def _calm(self, levels: Sequence[Level]) -> list[Level]:
        """Those beside which nothing happened: their number is the one that was read."""
        rows = self._rows([_place(level.listing) for level in levels])
        return [
            replace(level, listing=rows[_place(level.listing)].listing)
            for level in levels
            if _place(level.listing) in rows and not self._near(rows[_place(level.listing)], level)
        ]

    def _near(self, row: OutboxRow, level: Level) -> bool:
        near = level.asked_at - self.channel.skew
        return (row.last_own_at is not None and row.last_own_at >= near) or (
            row.base_answered_at is not None and row.base_answered_at >= near
        )


def within_tolerance(expected_milli: int, found_milli: int, tolerances: Tolerances) -> bool:
    """A variance within either tolerance is none (SEMANTICS §7)."""
    difference = abs(expected_milli - found_milli)
    by_units = difference <= tolerances.units * 1000
    by_percent = difference * 100 <= tolerances.percent * abs(expected_milli)
    return by_units or by_percent


def _place(listing: ListingRef) -> Place:
    return (listing.bucket, listing.external_id)
