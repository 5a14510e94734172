"""What orders explain of a listing's move, and how far they lower a listing that is held.

A move was caused by orders if orders, till sales and shipments since the channel's number was
right come to as many units, or if nothing but such entries has come in since. Quantities in
thousandths of the channel's unit, unless a name says base units.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from functools import lru_cache
from math import ceil

from inventory_pipeline.config.policy import BundlePart, Channel
from inventory_pipeline.core.guard import Place
from inventory_pipeline.core.outbox import PlannedWrite, offerable
from inventory_pipeline.core.vocabulary import EventType
from inventory_pipeline.flow.context import HubContext
from inventory_pipeline.memory import guard as memory
from inventory_pipeline.memory.guard import Known, Mark
from inventory_pipeline.memory.order_units import (
    Asked,
    OrderUnits,
    newest_change_of_all,
    order_units,
)
from inventory_pipeline.memory.postgres import Connection

Kin = Mapping[str, tuple[tuple[str, Decimal], ...]]


class Orders:
    """What orders did to the listings of one channel, up to the offset that is computed."""

    def __init__(
        self,
        ctx: HubContext,
        channel: Channel,
        connection: Connection,
        *,
        takes: Sequence[EventType],
        cursor: int,
    ) -> None:
        self.cursor = cursor
        self._channel = channel
        self._connection = connection
        self._able = ctx.connectors[channel.system].capabilities
        self._takes = [str(type_) for type_ in takes]
        self._counting = [s.id for s in ctx.hub.systems.values() if s.orders == "count"]
        self._kin = bundle_kin(ctx.hub.catalog.parts)
        self._left: dict[Place, int] = {}

    def not_caused(self, writes: Sequence[PlannedWrite]) -> list[PlannedWrite]:
        """Those whose move from what the channel shows orders do not explain."""
        known = memory.known(self._connection, self._channel.id, [_place(w) for w in writes])
        since = {place: one.right_upto for place, one in known.items()}
        found = self._units([(w, since.get(_place(w))) for w in writes])
        offsets = [offset for offset in since.values() if offset is not None]
        newest = newest_change_of_all(
            self._connection, after=min(offsets, default=self.cursor), upto=self.cursor
        )
        rest = []
        for write, units in zip(writes, found, strict=True):
            one = known[_place(write)]
            taken = _in_channel_units(units.sold_milli - units.moved_milli, one)
            self._left[_place(write)] = max(0, write.compare_milli - taken)
            if not self._explained(write, units, one, newest=newest):
                rest.append(write)
        return rest

    def left_of(self, write: PlannedWrite) -> int:
        """What the channel shows less what orders took that it does not know of (`not_caused`
        was asked about it before).
        """
        return self._left[_place(write)]

    def lowered(
        self, held: Sequence[PlannedWrite], marks: Mapping[Place, Mark]
    ) -> dict[Place, PlannedWrite]:
        """Of held listings those that orders bring below what the channel shows, so far lowered."""
        known = memory.known(self._connection, self._channel.id, list(marks))
        asked = [(w, marks[_place(w)].from_offset) for w in held]
        step = 10 ** (3 - self._channel.decimals)
        lower = {}
        for write, units in zip(held, self._units(asked, marks), strict=True):
            place = _place(write)
            left = marks[place].from_milli - _in_channel_units(units.sold_milli, known[place])
            target = offerable(self._able, max(0, left // step * step))
            if target < write.compare_milli:
                lower[place] = replace(write, quantity_milli=target)
        return lower

    def _explained(
        self, write: PlannedWrite, units: OrderUnits, known: Known, *, newest: int
    ) -> bool:
        """Orders come to as many units as the move, to one step; or only orders came in."""
        if known.right_upto is None or not units.orders:
            return False
        if not units.others and newest <= known.right_upto:
            return True
        step = 10 ** (3 - self._channel.decimals)
        fall = write.compare_milli - write.quantity_milli
        if fall > 0:
            taken = _in_channel_units(units.sold_milli - units.moved_milli, known)
            return taken > 0 and fall <= taken + step
        gave = _in_channel_units(units.gave_milli, known)
        return gave > 0 and -fall <= gave + step

    def _units(
        self,
        asked: Sequence[tuple[PlannedWrite, int | None]],
        marks: Mapping[Place, Mark] | None = None,
    ) -> list[OrderUnits]:
        """Of each write's sku and its kin; `marks` say from when on its own orders count."""
        flat: list[Asked] = []
        parts: list[list[Decimal]] = []
        for write, after in asked:
            mark = marks[_place(write)] if marks else None
            kin = ((write.row.sku, Decimal(1)), *self._kin.get(write.row.sku, ()))
            parts.append([factor for _, factor in kin])
            flat += [
                Asked(
                    sku=sku,
                    after=self.cursor if after is None else after,
                    own_after=mark.from_at if mark else None,
                )
                for sku, _ in kin
            ]
        found = iter(
            order_units(
                self._connection, flat, channel=self._channel.id, system=self._channel.system,
                takes=self._takes, counting=self._counting, upto=self.cursor,
            )
        )  # fmt: skip
        return [_sum([(factor, next(found)) for factor in factors]) for factors in parts]


@lru_cache(maxsize=4)
def bundle_kin(parts: tuple[BundlePart, ...]) -> Kin:
    """Sku → skus whose orders move it as well, and how many of it one of them moves: a component's
    bundles, a bundle's components.
    """
    direct: dict[str, dict[str, Decimal]] = {}
    for part in parts:
        direct.setdefault(part.bundle_sku, {})[part.component_sku] = part.quantity
    kin: dict[str, dict[str, Decimal]] = {}
    for bundle in direct:
        for component, quantity in _flat(bundle, direct).items():
            kin.setdefault(component, {})[bundle] = quantity
            kin.setdefault(bundle, {})[component] = 1 / quantity
    return {sku: tuple(others.items()) for sku, others in kin.items()}


def _flat(sku: str, direct: Mapping[str, Mapping[str, Decimal]]) -> dict[str, Decimal]:
    """What is in a bundle in the end; bundles.csv has no cycles."""
    flat: dict[str, Decimal] = {}
    for component, quantity in direct[sku].items():
        inner = _flat(component, direct) if component in direct else {component: Decimal(1)}
        for name, units in inner.items():
            flat[name] = flat.get(name, Decimal(0)) + quantity * units
    return flat


def _sum(found: Sequence[tuple[Decimal, OrderUnits]]) -> OrderUnits:
    """Rounded up: what orders took is never told too small."""
    if len(found) == 1:
        return found[0][1]

    def total(name: str) -> int:
        return ceil(sum((factor * getattr(units, name) for factor, units in found), Decimal(0)))

    return OrderUnits(
        n=0,
        sold_milli=total("sold_milli"),
        moved_milli=total("moved_milli"),
        gave_milli=total("gave_milli"),
        orders=any(units.orders for _, units in found),
        others=any(units.others for _, units in found),
    )


def _in_channel_units(base_milli: int, known: Known) -> int:
    """Base units in the channel's, rounded up."""
    return -(-base_milli * 1000 // known.units_milli)


def _place(write: PlannedWrite) -> Place:
    return (write.row.listing.bucket, write.row.listing.external_id)
