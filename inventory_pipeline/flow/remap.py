"""A changed catalogue maps again what it touches: events here, snapshots in remap_snapshots.

Nothing is edited. What came in before stays readable as it was mapped then (architecture: mapping).
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from inventory_pipeline.config.catalog import read_catalog
from inventory_pipeline.config.findings import Report
from inventory_pipeline.config.policy import Hub, Item
from inventory_pipeline.contracts import mapping as contracts
from inventory_pipeline.contracts.events import SHAPES
from inventory_pipeline.contracts.mapping import Target
from inventory_pipeline.contracts.values import base_milli, parse_number
from inventory_pipeline.core.ledger import BadRow
from inventory_pipeline.core.quantities import InexactQuantity
from inventory_pipeline.core.vocabulary import EventType, Reason
from inventory_pipeline.flow.kept_rows import cells_of
from inventory_pipeline.flow.remap_snapshots import remap_snapshots
from inventory_pipeline.memory import quarantine, remaps, versions
from inventory_pipeline.memory.postgres import Connection
from inventory_pipeline.memory.versions import MappingChange

log = logging.getLogger(__name__)

# What a catalogue can mend.
MENDABLE = (Reason.UNKNOWN_ITEM, Reason.BUNDLE_HAS_NO_STOCK, Reason.FRACTION_OF_INDIVISIBLE)
MOST_COUNTED = 100_000

# External item → what it was and what it is now.
Changes = Mapping[str, tuple[Target | None, Target | None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Remapped:
    """What a change of the catalogue did: counts of events, snapshots and quarantined rows.

    `put_out` rows were in the numbers and are in quarantine now, `taken_back` the other way round;
    `releasable` rows wait in quarantine and may be accepted now.
    """

    events: int = 0
    snapshots: int = 0
    put_out: int = 0
    taken_back: int = 0
    releasable: int = 0

    def __add__(self, other: "Remapped") -> "Remapped":
        return Remapped(
            events=self.events + other.events,
            snapshots=self.snapshots + other.snapshots,
            put_out=self.put_out + other.put_out,
            taken_back=self.taken_back + other.taken_back,
            releasable=self.releasable + other.releasable,
        )


def remap(
    connection: Connection, hub: Hub, state: Path, change: MappingChange, *, at: datetime
) -> Remapped:
    """Maps again every event and landed snapshot row that this catalogue maps otherwise than the
    one before; in the transaction that activates it. Does nothing where nothing was activated.
    """
    if change.ledger_offset is None or change.version == 1:
        return Remapped()
    dated = Dated(connection, hub)
    before = dated.hub(change.version - 1)
    if before is None:
        return Remapped()
    total = Remapped()
    for system, changes in differences(before, hub).items():
        total += _remap_system(
            connection, dated, state, system, changes, offset=change.ledger_offset, at=at
        )
    _tell(change, total)
    return total


def differences(before: Hub, now: Hub) -> dict[str, Changes]:
    """System → the external items that the two catalogues map differently."""
    skus = _changed_skus(before.catalog.items, now.catalog.items)
    rows = set(before.catalog.identifiers) ^ set(now.catalog.identifiers)
    rows |= {row for row in now.catalog.identifiers if row.sku in skus}
    rows |= {row for row in before.catalog.identifiers if row.sku in skus}
    systems = {*now.systems, *(row.system for row in rows)}
    found: dict[str, Changes] = {}
    for system in sorted(systems):
        was, is_ = contracts.Mapping(before, system), contracts.Mapping(now, system)
        items = skus | {row.external_id for row in rows if row.system == system}
        changes = {item: (was.item(item), is_.item(item)) for item in sorted(items)}
        changes = {item: pair for item, pair in changes.items() if pair[0] != pair[1]}
        if changes:
            found[system] = changes
    return found


def _changed_skus(before: Mapping[str, Item], now: Mapping[str, Item]) -> set[str]:
    """Skus that came, went, or became divisible otherwise, or a bundle; titles are no matter."""

    def essence(item: Item | None) -> object:
        return item and (item.kind, item.decimals)

    return {
        sku
        for sku in before.keys() | now.keys()
        if essence(before.get(sku)) != essence(now.get(sku))
    }


def _remap_system(
    connection: Connection,
    dated: "Dated",
    state: Path,
    system: str,
    changes: Changes,
    *,
    offset: int,
    at: datetime,
) -> Remapped:
    total = _remap_events(connection, system, changes, offset=offset, at=at)
    snapshots = remap_snapshots(
        connection, dated.now, state, system, changes,
        before=lambda version: dated.mapping(system, version), offset=offset, at=at,
    )  # fmt: skip
    touched = {target.sku for pair in changes.values() for target in pair if target}
    if total.events or snapshots.files:
        remaps.read_again(connection, touched)
    return total + Remapped(
        snapshots=snapshots.files,
        put_out=snapshots.put_out,
        taken_back=snapshots.taken_back,
        releasable=_releasable(connection, system, changes),
    )


def _remap_events(
    connection: Connection, system: str, changes: Changes, *, offset: int, at: datetime
) -> Remapped:
    # An item that nothing mapped before names no event but those that a catalogue put out.
    held = remaps.held_items(connection, system)
    items = {item for item, (was, _) in changes.items() if was is not None or item in held}
    if not items:
        return Remapped()
    mapped: list[remaps.Mapped] = []
    out: list[tuple[BadRow, int]] = []
    back: list[int] = []
    for event in remaps.events_of(connection, system, items, upto=offset):
        found = _mapped(event, changes[event.item][1])
        if isinstance(found, BadRow):
            if not event.held:
                out.append((found, event.ledger_offset))
                mapped.append(replace(event.mapped, sku=None, quantity_milli=None, held=True))
        elif found != event.mapped:
            mapped.append(found)
            if event.held:
                back.append(event.ledger_offset)
    remaps.store(connection, mapped, mapping_offset=offset)
    quarantine.put_out(connection, out, mapping_offset=offset, at=at)
    quarantine.take_back(connection, back, at=at, mapping_offset=offset)
    return Remapped(events=len(mapped), put_out=len(out), taken_back=len(back))


def _mapped(event: remaps.Received, target: Target | None) -> remaps.Mapped | BadRow:
    """The event as this target maps it, or why it cannot (SEMANTICS §1, §4)."""

    def bad(reason: Reason, message: str) -> BadRow:
        return BadRow(
            system=event.system, kind="event", source=event.source, position=event.position,
            reason=reason, message=message, raw=event.raw,
        )  # fmt: skip

    if target is None:
        return bad(Reason.UNKNOWN_ITEM, f"item {event.item!r} is not mapped any more")
    if target.bundle and not SHAPES[EventType(event.type)].bundle:
        return bad(
            Reason.BUNDLE_HAS_NO_STOCK,
            f"{target.sku} is a bundle now, and {event.type} is about stock",
        )
    quantity_milli = None
    if event.quantity is not None:
        try:
            quantity_milli = base_milli(
                parse_number(event.quantity), units=target.units, decimals=target.decimals
            )
        except InexactQuantity as error:
            return bad(Reason.FRACTION_OF_INDIVISIBLE, f"quantity {event.quantity}: {error}")
        except ValueError as error:
            return bad(Reason.BAD_NUMBER, f"quantity {event.quantity}: {error}")
    return remaps.Mapped(
        ledger_offset=event.ledger_offset, sku=target.sku, quantity_milli=quantity_milli
    )


class Dated:
    """The hub with the catalogues of earlier versions; rules and locations are today's."""

    def __init__(self, connection: Connection, now: Hub) -> None:
        self.now = now
        self._connection = connection
        self._read: dict[int, Hub | None] = {}

    def hub(self, version: int) -> Hub | None:
        """None if there is no such version."""
        if version not in self._read:
            files = versions.catalog_files(self._connection, version)
            # It was checked when it was activated; systems may have gone since.
            catalog = None if files is None else read_catalog(files, None, Report())
            self._read[version] = None if catalog is None else replace(self.now, catalog=catalog)
        return self._read[version]

    def mapping(self, system: str, version: int) -> contracts.Mapping | None:
        hub = self.hub(version)
        return None if hub is None else contracts.Mapping(hub, system)


def _releasable(connection: Connection, system: str, changes: Changes) -> int:
    """Rows in quarantine whose item this catalogue newly maps; each is checked at its release."""
    mended = {item for item, (_, now) in changes.items() if now is not None}
    return sum(
        cells_of(row).get("item") in mended
        for reason in MENDABLE
        for row in quarantine.listed(
            connection, system=system, reason=reason.value, limit=MOST_COUNTED
        )
    )


def _tell(change: MappingChange, done: Remapped) -> None:
    if done.events or done.snapshots:
        log.info(
            "catalogue version %s maps %s events and %s snapshots otherwise",
            change.version, done.events, done.snapshots,
        )  # fmt: skip
    if done.put_out:
        log.warning(
            "catalogue version %s does not accept %s rows that were in the numbers: they are in "
            "quarantine until a catalogue accepts them; look at `inventory-pipeline quarantine "
            "list HUB`",
            change.version, done.put_out,
        )  # fmt: skip
    if done.releasable:
        log.warning(
            "catalogue version %s maps the items of %s rows in quarantine: let them in with "
            "`inventory-pipeline quarantine release HUB --reason %s`",
            change.version, done.releasable, Reason.UNKNOWN_ITEM.value,
        )  # fmt: skip
