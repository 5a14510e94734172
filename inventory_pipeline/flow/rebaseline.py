"""A person decides that the observed stock is right: the position follows it (SEMANTICS §9)."""

import hashlib
import json
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from inventory_pipeline.config.policy import Hub
from inventory_pipeline.core.errors import HubError
from inventory_pipeline.core.heals import Heal
from inventory_pipeline.core.ledger import LedgerEvent
from inventory_pipeline.core.quantities import MILLI, InexactQuantity, to_milli
from inventory_pipeline.core.vocabulary import EventType, State
from inventory_pipeline.memory import audit, ledger
from inventory_pipeline.memory.heals import decided
from inventory_pipeline.memory.postgres import Connection, Postgres
from inventory_pipeline.memory.variance_views import VarianceRow, open_variances

SOURCE = "rebaseline"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rebaselined:
    """The entry that was appended. `units` is signed, in base units; `repeated`: it was there
    already.
    """

    event_id: str
    system: str
    sku: str
    location: str
    units: Decimal
    variance_id: int | None
    repeated: bool


def rebaseline(
    pg: Postgres,
    hub: Hub,
    sku: str,
    *,
    location: str,
    by: str,
    reason: str,
    at: datetime,
    units: Decimal | None = None,
) -> Rebaselined:
    """Appends an `adjusted` entry of on_hand with its evidence, by a person's decision.

    Without `units`, it is the difference of the open variance of another system's observation.
    Raises HubError where there is none, or where the sku or the location is not ours.
    """
    system = _owner(hub, sku, location)
    if not reason.strip():
        raise HubError("a rebaseline needs a reason", hint="give --reason; it is kept.")
    with pg.connection() as connection:
        variance = _variance(connection, sku, location, needed=units is None)
        milli = _milli(hub, sku, units) if units is not None else _difference(variance)
        if milli == 0:
            raise HubError(f"nothing to adjust: {sku} at {location} would change by 0")
        evidence = _evidence(variance, by=by, reason=reason)
        event = _event(system, sku, location, milli, reason=reason, evidence=evidence, at=at)
        version = connection.execute(
            "SELECT coalesce(max(version), 1) FROM hub.mapping_versions"
        ).fetchone()
        assert version is not None
        count = ledger.append_events(
            connection, [event], [], received_at=at, mapping_version=version[0]
        )
        if count.accepted:
            _note(connection, event, variance, milli, evidence, by=by, at=at)
    return Rebaselined(
        event_id=event.event_id, system=system, sku=sku, location=location,
        units=Decimal(milli) / MILLI, variance_id=variance.variance_id if variance else None,
        repeated=count.accepted == 0,
    )  # fmt: skip


def _owner(hub: Hub, sku: str, location: str) -> str:
    item = hub.catalog.items.get(sku)
    if item is None:
        raise HubError(f"catalog/items.csv has no sku {sku!r}", hint="give one of our own skus.")
    if item.kind == "bundle":
        raise HubError(f"{sku} is a bundle: it has no stock", hint="rebaseline its components.")
    if location not in hub.locations:
        known = ", ".join(hub.locations)
        raise HubError(f"hub.yaml has no location {location!r}", hint=f"one of: {known}.")
    owner = hub.owner(State.ON_HAND, location)
    if owner is None:
        raise HubError(
            f"no system owns on_hand at {location}", hint="name one under `owns` in hub.yaml."
        )
    return owner


def _variance(
    connection: Connection, sku: str, location: str, *, needed: bool
) -> VarianceRow | None:
    found = [
        row
        for row in open_variances(connection, sku=sku, limit=1_000)
        if row.location == location and row.state == State.ON_HAND
    ]
    observed = [row for row in found if row.comparison == "systems"]
    if observed:
        return observed[-1]
    if not needed:
        return found[-1] if found else None
    if found:
        raise HubError(
            f"the position of {sku} at {location} follows its owner's snapshot already",
            hint="give --units to adjust it all the same.",
        )
    raise HubError(
        f"no system reports another on_hand of {sku} at {location}",
        hint="run `reconcile` first, or give --units with the signed number to add.",
    )


def _difference(variance: VarianceRow | None) -> int:
    assert variance is not None
    return variance.difference_milli


def _milli(hub: Hub, sku: str, units: Decimal) -> int:
    decimals = hub.catalog.items[sku].decimals
    try:
        return to_milli(units, decimals=decimals)
    except InexactQuantity as error:
        raise HubError(
            f"{sku} is counted with {decimals} decimals, and {units} has more",
            hint="give a number that its decimals allow.",
        ) from error


def _evidence(variance: VarianceRow | None, *, by: str, reason: str) -> dict[str, Any]:
    evidence: dict[str, Any] = {"by": by, "reason": reason}
    if variance is not None:
        evidence |= {
            "variance": variance.variance_id,
            "comparison": variance.comparison,
            "system": variance.system,
            "expected_milli": variance.expected_milli,
            "found_milli": variance.found_milli,
            "seen": variance.last_seen.isoformat(),
            **{f"of_{name}": value for name, value in variance.evidence.items()},
        }
    return evidence


def _event(
    system: str,
    sku: str,
    location: str,
    milli: int,
    *,
    reason: str,
    evidence: dict[str, Any],
    at: datetime,
) -> LedgerEvent:
    """The same decision about the same sighting has the same id; without one, each is its own."""
    said = {"sku": sku, "location": location, "quantity_milli": milli, "evidence": evidence}
    if "variance" not in evidence:
        said["at"] = at.isoformat()
    raw = json.dumps(said, sort_keys=True, ensure_ascii=False)
    digest = hashlib.sha256(raw.encode()).digest()
    return LedgerEvent(
        system=system, event_id=f"{SOURCE}:{digest.hex()[:24]}", type=EventType.ADJUSTED,
        occurred_at=at, received_at=at, content_hash=digest, raw=raw, source=SOURCE,
        position=str(evidence.get("variance", "")), item=sku, sku=sku, quantity_milli=milli,
        external_location=location, location=location, reason=reason,
    )  # fmt: skip


def _note(
    connection: Connection,
    event: LedgerEvent,
    variance: VarianceRow | None,
    milli: int,
    evidence: dict[str, Any],
    *,
    by: str,
    at: datetime,
) -> None:
    """What was decided, beside the variance and in the audit."""
    audit.record(
        connection, by=by, action="variance.rebaseline", subject=event.sku or "",
        detail={"event": event.event_id, "quantity_milli": milli, **evidence}, at=at,
    )  # fmt: skip
    if variance is not None:
        decided(
            connection, [variance.variance_id], Heal.REBASELINE, at=at, by=by,
            result=f"the position was changed by {Decimal(milli) / MILLI} units",
            detail={"event": event.event_id},
        )  # fmt: skip
