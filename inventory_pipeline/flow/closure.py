"""The part of a catalogue on which one sku's number depends."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal

from inventory_pipeline.config.policy import Catalog, Hub


@dataclass(frozen=True, slots=True, kw_only=True)
class Closure:
    """`hub` knows only `skus`: the sku, its components, and every bundle that takes one of them.

    What other components such a bundle has changes nothing here: an order of the bundle promises
    each component on its own.
    """

    hub: Hub
    sku: str
    parts: Mapping[str, Decimal]  # component → base units in one of the sku; {sku: 1} if simple
    skus: frozenset[str]

    @property
    def is_bundle(self) -> bool:
        return self.hub.catalog.items[self.sku].kind == "bundle"

    def units_of(self, item: str, component: str) -> Decimal:
        """How many of `component` are in one `item`, nested bundles flattened; 0 if none."""
        return _flattened(item, _by_bundle(self.hub.catalog)).get(component, Decimal(0))


def closure(hub: Hub, sku: str) -> Closure:
    """The hub with the catalogue that matters for `sku`, which is one of its items."""
    catalog = hub.catalog
    of_bundle = _by_bundle(catalog)
    parts = _flattened(sku, of_bundle)
    skus = {sku, *parts, *_containing(set(parts), catalog)}
    # A bundle inside a bundle may be neither: its rows in bundles.csv are what is needed of it.
    inner = _within(skus, of_bundle)
    items = {name: catalog.items[name] for name in catalog.items if name in skus}
    restricted = Catalog(
        items=items,
        # Also the rows that take one of these names for another item.
        identifiers=tuple(
            row for row in catalog.identifiers if row.sku in skus or row.external_id in skus
        ),
        parts=tuple(part for part in catalog.parts if part.bundle_sku in inner),
    )
    return Closure(hub=replace(hub, catalog=restricted), sku=sku, parts=parts, skus=frozenset(skus))


def _by_bundle(catalog: Catalog) -> dict[str, list[tuple[str, Decimal]]]:
    found: dict[str, list[tuple[str, Decimal]]] = {}
    for part in catalog.parts:
        found.setdefault(part.bundle_sku, []).append((part.component_sku, part.quantity))
    return found


def _flattened(sku: str, of_bundle: Mapping[str, list[tuple[str, Decimal]]]) -> dict[str, Decimal]:
    """Components and their units in one `sku`; bundles.csv has no cycles once it is checked."""
    if sku not in of_bundle:
        return {sku: Decimal(1)}
    flat: dict[str, Decimal] = {}
    for component, quantity in of_bundle[sku]:
        for inner, units in _flattened(component, of_bundle).items():
            flat[inner] = flat.get(inner, Decimal(0)) + quantity * units
    return flat


def _containing(skus: set[str], catalog: Catalog) -> set[str]:
    """Every bundle that takes one of `skus`, at any depth."""
    takers: dict[str, list[str]] = {}
    for part in catalog.parts:
        takers.setdefault(part.component_sku, []).append(part.bundle_sku)
    found: set[str] = set()
    open_ = list(skus)
    while open_:
        for bundle in takers.get(open_.pop(), ()):
            if bundle not in found:
                found.add(bundle)
                open_.append(bundle)
    return found


def _within(skus: set[str], of_bundle: Mapping[str, list[tuple[str, Decimal]]]) -> set[str]:
    """`skus` and the bundles inside them."""
    found = set(skus)
    open_ = list(skus)
    while open_:
        for component, _ in of_bundle.get(open_.pop(), ()):
            if component not in found:
                found.add(component)
                open_.append(component)
    return found
