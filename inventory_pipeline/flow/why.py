"""Why a channel may sell this many of a sku: now, or at a past moment of the ledger.

Replays the sku's own entries under the rules and the mapping of that moment (flow/replay.py); takes
no lock, changes nothing, and needs no channel to answer.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from inventory_pipeline.config.findings import did_you_mean, listed
from inventory_pipeline.config.policy import Hub
from inventory_pipeline.core.errors import HubError
from inventory_pipeline.core.ports import Clock
from inventory_pipeline.core.quantities import MILLI, to_milli
from inventory_pipeline.core.vocabulary import EventType, Mode
from inventory_pipeline.flow import waterfall
from inventory_pipeline.flow.closure import Closure, closure
from inventory_pipeline.flow.last_words import LastWord, counts_orders, last_words, of_sku
from inventory_pipeline.flow.moments import Moment, hub_of, moment_of
from inventory_pipeline.flow.pushed import Listings, ListingWhy
from inventory_pipeline.flow.replay import Replay, replayed_sku
from inventory_pipeline.memory.postgres import Postgres


@dataclass(frozen=True, slots=True, kw_only=True)
class BucketWhy:
    """The waterfall of one bucket; `terms` is its row, in thousandths of the base unit.

    `locations` is empty for a bundle, `components` for all else.
    """

    channel: str
    bucket: str
    mode: Mode
    terms: Mapping[str, Any]
    locations: tuple[waterfall.LocationTerms, ...]
    components: tuple[waterfall.ComponentTerms, ...]
    lines: tuple[waterfall.Line, ...]
    listings: tuple[ListingWhy, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SkuPositions:
    """The positions of the sku, or of one of its components, each with its last valid update."""

    sku: str
    words: tuple[LastWord, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenLine:
    """An order line that still promises something; quantities of `sku` in base units.

    `item` is what was ordered: `sku`, or a bundle that takes it. `location` None: unassigned.
    """

    system: str
    order_id: str
    line_id: str
    sku: str
    item: str
    channel: str | None
    location: str | None
    ordered_milli: int
    cancelled_milli: int
    shipped_milli: int
    open_milli: int
    awaiting_shipment_proof_milli: int
    payment_failed: bool
    first_placed_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenReservation:
    """A hold that is neither released nor expired; `quantity_milli` of `sku` in base units."""

    system: str
    reservation_id: str
    event_id: str
    sku: str
    item: str
    channel: str | None
    location: str | None
    quantity_milli: int
    occurred_at: datetime
    expires_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Why:
    """The whole answer; `elsewhere` are outbox rows of the sku that the moment's rules lack."""

    sku: str
    title: str
    kind: str
    moment: Moment
    buckets: tuple[BucketWhy, ...]
    positions: tuple[SkuPositions, ...]
    order_lines: tuple[OpenLine, ...]
    reservations: tuple[OpenReservation, ...]
    elsewhere: tuple[ListingWhy, ...]


def why(
    pg: Postgres,
    state: Path,
    folder: Path,
    sku: str,
    *,
    clock: Clock,
    environ: Mapping[str, str],
    channel: str | None = None,
    at: datetime | None = None,
    offset: int | None = None,
    known: Hub | None = None,
) -> Why:
    """Explains the sku at the ledger's head, at the time `at`, or at `offset`.

    `known` spares loading the moment's rules and catalogue again where they are the same. Raises
    HubError for a moment that the ledger does not have, an unknown sku and an unknown channel.
    """
    with pg.connection() as connection:
        moment = moment_of(connection, at=at, offset=offset, now=clock())
        hub = hub_of(connection, moment, folder=folder, environ=environ, known=known)
    _require_known(hub, sku, channel, moment)
    part = closure(hub, sku)
    with replayed_sku(
        pg,
        state,
        part,
        at=moment.at,
        upto=moment.ledger_offset,
        policy_version=moment.policy.version,
        mapping_version=moment.mapping.version,
    ) as replay:
        with pg.connection() as connection:
            told = Listings(connection, part, moment, clock())
        return _answer(part, replay, moment, told, channel)


def _require_known(hub: Hub, sku: str, channel: str | None, moment: Moment) -> None:
    if sku not in hub.catalog.items:
        meant = [row.sku for row in hub.catalog.identifiers if row.external_id == sku]
        near = did_you_mean(sku, hub.catalog.items)
        if meant:
            near = f" - it is another system's name for {listed(dict.fromkeys(meant))}"
        raise HubError(
            f"there is no sku {sku} in version {moment.mapping.version} of the catalogue{near}",
            hint="look at catalog/items.csv; --at and --offset use the catalogue of their moment.",
        )
    if channel is None:
        return
    if channel not in hub.channels:
        raise HubError(
            f"there is no channel {channel}{did_you_mean(channel, hub.channels)}",
            hint=f"one of: {', '.join(hub.channels)}.",
        )
    if hub.channels[channel].mode is Mode.OFF:
        raise HubError(
            f"the channel {channel} is off: it has no number",
            hint="its mode in hub.yaml says so; shadow would compute it and send nothing.",
        )


def _answer(
    part: Closure, replay: Replay, moment: Moment, told: Listings, channel: str | None
) -> Why:
    engine, item = replay.engine, part.hub.catalog.items[part.sku]
    wanted = {
        (row["channel"], row["bucket"], row["external_id"]): row
        for row in engine.desired().to_pylist()
        if row["sku"] == part.sku and channel in (None, row["channel"])
    }
    rest = told.known() - wanted.keys()
    lines = [line for line in engine.order_lines().to_pylist() if line["sku"] in part.parts]

    def component(sku: str, row: Mapping[str, Any]) -> dict[str, Any]:
        rows = engine.explain(sku, row["channel"])
        return next(one for one in rows if one["bucket"] == row["bucket"])

    return Why(
        sku=part.sku,
        title=item.title,
        kind=item.kind,
        moment=moment,
        buckets=tuple(
            bucket_why(
                part,
                row,
                partial(component, row=row),
                [told.listing(key, wanted[key]) for key in sorted(wanted)],
            )
            for row in engine.explain(part.sku, channel)
        ),
        positions=tuple(_positions(part, replay, lines, moment.at)),
        order_lines=tuple(open_line(line) for line in lines if line["open_milli"]),
        reservations=tuple(_reservations(part, replay.events, moment.at)),
        elsewhere=tuple(
            told.listing(key, None) for key in sorted(rest) if channel in (None, key[0])
        ),
    )


def bucket_why(
    part: Closure,
    row: Mapping[str, Any],
    component: Callable[[str], Mapping[str, Any]],
    listings: Sequence[ListingWhy],
) -> BucketWhy:
    """A row of Engine.explain as lines; `component` gives the row of a sku in the same bucket."""
    hub, place = part.hub, (row["channel"], row["bucket"])
    components = []
    if part.is_bundle:
        for sku, units in part.parts.items():
            components.append(waterfall.component_terms(row, component(sku), hub, units))
    return BucketWhy(
        channel=place[0],
        bucket=place[1],
        mode=hub.channels[place[0]].mode,
        terms={name: value for name, value in row.items() if name != "locations"},
        locations=() if part.is_bundle else waterfall.location_terms(row, hub),
        components=tuple(components),
        lines=waterfall.lines(row),
        listings=tuple(one for one in listings if (one.channel, one.bucket) == place),
    )


def _positions(
    part: Closure, replay: Replay, lines: Sequence[Mapping[str, Any]], at: datetime
) -> Iterator[SkuPositions]:
    rows = replay.engine.positions().to_pylist()
    dated = [event for event in replay.events if event["occurred_at"] <= at]
    for sku in part.parts:
        takers = [item for item in part.skus if part.units_of(item, sku)]
        events = of_sku(dated, takers)
        own = [line for line in lines if line["sku"] == sku]
        snapshots = [said for said in replay.snapshots if said.landed.as_of <= at]
        yield SkuPositions(
            sku=sku,
            words=tuple(
                word
                for row in rows
                if row["sku"] == sku
                for word in last_words(row, part.hub, events, snapshots, own)
            ),
        )


def open_line(line: Mapping[str, Any]) -> OpenLine:
    """A row of Engine.order_lines."""
    return OpenLine(**{name: line[name] for name in OpenLine.__dataclass_fields__})


def _reservations(
    part: Closure, events: Sequence[Mapping[str, Any]], at: datetime
) -> Iterator[OpenReservation]:
    dated = [event for event in events if event["occurred_at"] <= at]
    released = {
        (event["system"], event["reservation_id"])
        for event in dated
        if event["type"] == EventType.RESERVATION_RELEASED
    }
    for event in sorted(dated, key=lambda e: (e["occurred_at"], e["event_id"])):
        if (
            event["type"] != EventType.RESERVED
            or not counts_orders(part.hub, event["system"])
            or (event["system"], event["reservation_id"]) in released
            or (event["expires_at"] is not None and event["expires_at"] <= at)
        ):
            continue
        for sku in part.parts:
            units = to_milli(part.units_of(event["sku"], sku))
            if units:
                yield _reservation(event, sku, event["quantity_milli"] * units // MILLI, part.hub)


def _reservation(
    event: Mapping[str, Any], sku: str, quantity_milli: int, hub: Hub
) -> OpenReservation:
    return OpenReservation(
        system=event["system"],
        reservation_id=event["reservation_id"],
        event_id=event["event_id"],
        sku=sku,
        item=event["sku"],
        channel=event["channel"] if event["channel"] in hub.channels else None,
        location=event["location"],
        quantity_milli=quantity_milli,
        occurred_at=event["occurred_at"],
        expires_at=event["expires_at"],
    )
