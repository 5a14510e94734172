"""One system's identifiers, looked up: its items and locations as the hub knows them (SEMANTICS
§1).
"""

from collections.abc import Mapping as MappingOf
from dataclasses import dataclass
from decimal import Decimal

from inventory_pipeline.config.policy import Hub, Item

ONE = Decimal(1)
MAX_WHOLE = 10**6
MAX_CACHED = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What an external item is: `units` base units in one external unit.

    `whole` is `units` where that is a whole number of at most MAX_WHOLE, and 0 elsewhere: times a
    whole number it is exact and needs no decimals.
    """

    sku: str
    units: Decimal
    decimals: int
    bundle: bool
    whole: int = 0


class Mapping:
    """The mapping of one system. An identifier equal to a sku or location needs no row; a row
    wins.
    """

    def __init__(self, hub: Hub, system: str) -> None:
        self.hub = hub
        self.system = system
        self._items: MappingOf[str, Item] = hub.catalog.items
        self._rows = {
            row.external_id: (row.sku, row.units)
            for row in reversed(hub.catalog.identifiers)
            if row.system == system
        }
        known = hub.systems.get(system)
        self._locations: MappingOf[str, str] = known.locations if known else {}
        self._targets: dict[str, Target | None] = {}

    def item(self, external_id: str) -> Target | None:
        """The item, or None if nothing maps it."""
        if external_id not in self._targets:
            sku, units = self._rows.get(external_id, (external_id, ONE))
            item = self._items.get(sku)
            self._targets[external_id] = (
                None
                if item is None
                else Target(
                    sku=sku,
                    units=units,
                    decimals=item.decimals,
                    bundle=item.kind == "bundle",
                    whole=_whole(units),
                )
            )
        return self._targets[external_id]

    def location(self, external: str) -> str | None:
        """Our location, or None if nothing maps it."""
        mapped = self._locations.get(external, external)
        return mapped if mapped in self.hub.locations else None


def _whole(units: Decimal) -> int:
    fits = units == units.to_integral_value() and 0 < units <= MAX_WHOLE
    return int(units) if fits else 0


_cached: dict[tuple[int, str], Mapping] = {}


def mapping_of(hub: Hub, system: str) -> Mapping:
    """The mapping of a system, built once for each loaded hub."""
    found = _cached.get((id(hub), system))
    if found is None or found.hub is not hub:
        if len(_cached) >= MAX_CACHED:
            _cached.clear()
        found = _cached[id(hub), system] = Mapping(hub, system)
    return found
