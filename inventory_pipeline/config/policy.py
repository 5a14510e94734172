"""The hub folder once it is checked: frozen values that everything downstream reads.
 Selectors of locations are already resolved to location ids; `skus` and `channels` selectors of
rules stay as written, because which rule wins depends on how specific they are (SEMANTICS §6).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

from inventory_pipeline.core.alerts import QuietHours
from inventory_pipeline.core.vocabulary import Mode, State


@dataclass(frozen=True, slots=True, kw_only=True)
class Location:
    id: str
    kind: str = ""
    region: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ownership:
    states: tuple[State, ...]
    locations: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotPolicy:
    complete: bool = False
    max_age: timedelta = timedelta(hours=24)
    max_drop: Decimal | None = None  # percent; None: no check


@dataclass(frozen=True, slots=True, kw_only=True)
class System:
    id: str
    connector: str
    options: Mapping[str, Any]  # environment references resolved; secrets never printed
    locations: Mapping[str, str]  # the system's own location → ours
    owns: tuple[Ownership, ...] = ()
    lag: timedelta = timedelta(0)
    orders: Literal["count", "ignore"] = "count"
    snapshot: SnapshotPolicy = SnapshotPolicy()
    poll: timedelta = timedelta(seconds=30)
    feed: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bucket:
    id: str
    external: str  # the channel's own name for this place; "" where it has none
    locations: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Guard:
    percent: Decimal = Decimal(50)
    share: Decimal = Decimal(20)
    window: timedelta = timedelta(minutes=15)
    min_listings: int = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class PushPolicy:
    max_attempts: int = 8
    give_up: timedelta = timedelta(hours=24)


@dataclass(frozen=True, slots=True, kw_only=True)
class Channel:
    id: str
    system: str
    mode: Mode
    buckets: tuple[Bucket, ...]
    decimals: int = 0
    canary_skus: tuple[str, ...] = ()
    skew: timedelta = timedelta(seconds=5)
    guard: Guard = Guard()
    push: PushPolicy = PushPolicy()
    heal: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class AutoBuffer:
    factor: Decimal
    max_units: Decimal
    window: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One rule as written; fields that its kind does not take are None or empty (SEMANTICS §6).

    `order` is its place in the file: the last tie-break. `locations` is None where the rule names
    none.
    """

    id: str
    kind: str
    order: int
    line: int
    skus: tuple[str, ...] | None = None
    channels: tuple[str, ...] | None = None
    except_channels: tuple[str, ...] = ()
    locations: tuple[str, ...] | None = None
    for_channel: str | None = None
    priority: int = 0
    from_at: datetime | None = None
    until_at: datetime | None = None
    units: Decimal | None = None
    percent: Decimal | None = None
    limit: Decimal | None = None
    horizon: timedelta | None = None
    exclusive: bool = False
    fulfilment: str | None = None  # bundle: same_location | split
    auto: AutoBuffer | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Tolerances:
    units: Decimal = Decimal(0)
    percent: Decimal = Decimal(0)
    escalate_after: timedelta = timedelta(hours=4)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sync:
    idle: timedelta = timedelta(seconds=60)
    max_run: timedelta = timedelta(minutes=10)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollout:
    approvers: tuple[str, ...] = ()
    required: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Alerts:
    """`to`: a name → an Apprise address, secret or plain (`config.secrets.reveal`)."""

    to: Mapping[str, Any] = field(default_factory=dict)
    quiet: QuietHours | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    sku: str
    title: str
    kind: Literal["simple", "bundle"]
    decimals: int
    tags: tuple[str, ...] = ()
    price: Decimal | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Identifier:
    """`units` base units are in one external unit (12 = case of 12)."""

    system: str
    external_id: str
    sku: str
    units: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class BundlePart:
    bundle_sku: str
    component_sku: str
    quantity: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalog:
    items: Mapping[str, Item]
    identifiers: tuple[Identifier, ...] = ()  # in file order: (system, sku)'s first is its listing
    parts: tuple[BundlePart, ...] = ()  # as written, nested bundles not flattened


@dataclass(frozen=True, slots=True, kw_only=True)
class Hub:
    name: str
    folder: Path
    locations: Mapping[str, Location]
    systems: Mapping[str, System]
    channels: Mapping[str, Channel]
    rules: tuple[Rule, ...]
    catalog: Catalog
    tolerances: Tolerances
    sync: Sync
    rollout: Rollout
    policy_hash: str  # SHA-256 of hub.yaml's bytes
    catalog_hash: str  # SHA-256 over catalog/'s files
    alerts: Alerts = Alerts()

    def owner(self, state: State, location: str) -> str | None:
        """The one system that decides `state` at `location` (SEMANTICS §3)."""
        for system in self.systems.values():
            for owned in system.owns:
                if state in owned.states and location in owned.locations:
                    return system.id
        return None
