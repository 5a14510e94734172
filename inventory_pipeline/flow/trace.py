"""Follows one id through the hub: what it brought, what was computed of it, and what channels
answered. Everything is in Postgres; nothing here needs the logs.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from inventory_pipeline.core.errors import HubError
from inventory_pipeline.memory import tracing
from inventory_pipeline.memory.postgres import Connection
from inventory_pipeline.memory.tracing import Entry, Listing, Write


class NothingFound(HubError):
    """No entry, delivery, order or version has this id."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One thing that happened. `channel` and `listing` are empty before it is sent."""

    at: datetime
    what: str  # happened | accepted | recorded | computed | sent | an attempt's outcome | …
    channel: str = ""
    listing: str = ""
    about: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """An id, the ledger entries that it stands for, and its steps in the order of time."""

    correlation_ids: tuple[str, ...]
    entries: tuple[Entry, ...]
    steps: tuple[Step, ...]


def trace(connection: Connection, name: str) -> Trace:
    """What became of `name`: a correlation id, `<system>/<event id>`, `<system>/<order id>`, or an
    offset of the ledger. Raises NothingFound.
    """
    entries = tracing.entries(connection, name)
    deliveries = tracing.deliveries(
        connection, sorted({*(e.correlation_id for e in entries), name})
    )
    if not entries and not deliveries:
        raise NothingFound(
            f"nothing is known of {name}",
            hint="name a correlation id as logs have it, SYSTEM/EVENT, SYSTEM/ORDER, or an offset.",
        )
    steps = [Step(at=at, what="accepted", about=about) for at, about in deliveries]
    for entry in entries:
        steps += _of_entry(entry)
    offsets = [entry.ledger_offset for entry in entries]
    steps += [step for write in tracing.writes(connection, offsets) for step in _of_write(write)]
    steps += [_of_listing(listing) for listing in tracing.waiting(connection, offsets)]
    return Trace(
        correlation_ids=tuple(dict.fromkeys(entry.correlation_id for entry in entries)) or (name,),
        entries=tuple(entries),
        # Those of one moment in the order in which they are told.
        steps=tuple(sorted(dict.fromkeys(steps), key=lambda step: step.at)),
    )


def _of_entry(entry: Entry) -> Sequence[Step]:
    what = " ".join(filter(None, (entry.type or entry.kind, entry.sku)))
    order = f", order {entry.order_id}" if entry.order_id else ""
    return [
        Step(at=entry.occurred_at, what="happened", about=f"{what}{order}"),
        Step(
            at=entry.received_at,
            what="recorded",
            about=f"offset {entry.ledger_offset}, from {entry.source}",
        ),
    ]


def _of_write(write: Write) -> Sequence[Step]:
    place = {"channel": write.channel, "listing": write.external_id}
    steps = [Step(at=write.computed_at, what="computed", about=f"to offset {write.desired_offset}",
                  **place)]  # fmt: skip
    steps.append(
        Step(at=write.sent_at, what="sent", about=f"{write.quantity}, key {write.key}", **place)
    )
    if write.answered_at is not None:
        about = write.error or ""
        steps.append(Step(at=write.answered_at, what=write.outcome or "", about=about, **place))
    return steps


def _of_listing(listing: Listing) -> Step:
    what = "dead" if listing.dead_at else "waits" if listing.look else "shows it"
    return Step(
        at=listing.dead_at or listing.computed_at,
        what="computed" if what == "shows it" else what,
        channel=listing.channel,
        listing=listing.external_id,
        about=listing.failure or f"to offset {listing.desired_offset}, {what}",
    )
