"""A sku's listings beside its waterfall: what was pushed, and what the outbox holds now."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from inventory_pipeline.connectors import build
from inventory_pipeline.core.errors import HubError
from inventory_pipeline.core.outbox import OutboxRow
from inventory_pipeline.core.ports import Opening
from inventory_pipeline.flow.closure import Closure
from inventory_pipeline.flow.moments import Moment
from inventory_pipeline.memory import history, outbox
from inventory_pipeline.memory.history import Listing, Push
from inventory_pipeline.memory.postgres import Connection

Key = tuple[str, str, str]  # channel, bucket, external id


@dataclass(frozen=True, slots=True, kw_only=True)
class ListingWhy:
    """One listing: what the waterfall gives it, what was pushed, and what the outbox holds now.

    All in thousandths of the channel's unit; `units_milli`: base units in one of them.
    `desired_milli` is None where the moment's rules have no such listing. `pushed` is the newest
    acknowledged write at or before the moment, `pushed_next` the first one after a past moment.
    `showing_milli` (only for now): what the channel must be showing, None where nothing is known.
    """

    channel: str
    bucket: str
    external_id: str
    units_milli: int | None
    desired_milli: int | None
    pushed: Push | None
    pushed_next: Push | None
    outbox: Listing | None
    showing_milli: int | None = None
    uncertain: bool = False


class Listings:
    """What the outbox and the attempts say of the sku's listings."""

    def __init__(
        self,
        connection: Connection,
        part: Closure,
        moment: Moment,
        now: datetime,
    ) -> None:
        before = history.pushed_before(connection, part.sku, moment.at if moment.past else now)
        after = history.pushed_after(connection, part.sku, moment.at) if moment.past else []
        self.before = {_key(push): push for push in before}
        self.after = {_key(push): push for push in after}
        self.outbox = {_key(row): row for row in history.listings(connection, part.sku)}
        self.rows: dict[Key, OutboxRow] = {}
        if not moment.past:
            self._read_rows(connection, part)

    def _read_rows(self, connection: Connection, part: Closure) -> None:
        """What each channel must be showing: its connector knows when it moves by itself."""
        for channel in part.hub.channels.values():
            system = part.hub.systems[channel.system]
            opening = Opening(
                system=system.id,
                options=system.options,
                hub_folder=str(part.hub.folder),
                external_ids=frozenset(),
            )
            try:
                connector = build(opening, system.connector)
            except HubError:
                continue  # as a hub that could not start with these options: nothing is known
            capabilities = connector.capabilities
            connector.close()
            for row in outbox.rows_of_sku(
                connection, channel, capabilities, part.sku, limit=history.MAX_LISTINGS
            ):
                place = row.listing
                self.rows[row.channel, place.bucket, place.external_id] = row

    def known(self) -> set[Key]:
        """Listings that the outbox holds, or that were written by the moment."""
        return self.outbox.keys() | self.before.keys()

    def listing(self, key: Key, wanted: Mapping[str, Any] | None) -> ListingWhy:
        row = self.rows.get(key)
        return ListingWhy(
            channel=key[0],
            bucket=key[1],
            external_id=key[2],
            units_milli=wanted["units_milli"] if wanted else None,
            desired_milli=wanted["desired_milli"] if wanted else None,
            pushed=self.before.get(key),
            pushed_next=self.after.get(key),
            outbox=self.outbox.get(key),
            showing_milli=row.showing_milli if row else None,
            uncertain=bool(row and row.needs_reading),
        )


def _key(row: Push | Listing) -> Key:
    return (row.channel, row.bucket, row.external_id)
