"""Makes a changed hub folder count: what would change, and the activation itself."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from pathlib import Path
from typing import Any

from inventory_pipeline.config.load import catalog_files, policy_text
from inventory_pipeline.config.policy import Catalog, Channel, Hub
from inventory_pipeline.memory import versions
from inventory_pipeline.memory.postgres import Connection

# Where a rule or a row stands in its file changes when others come or go.
_PLACE_IN_FILE = {"order", "line"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One thing that differs: `what` is its kind (mode, rule, system, items, …)."""

    what: str
    name: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Activation:
    """The versions of hub.yaml and of catalog/ that count now."""

    policy_version: int
    mapping_version: int


def activate(
    connection: Connection, hub: Hub, folder: Path, state: Path, *, by: str, at: datetime
) -> Activation:
    """Makes this checked hub count from the next ledger offset on; what counts already stays.

    What a changed catalogue maps otherwise is mapped again (flow/remap.py).
    """
    mapping = versions.activate_mapping(
        connection, content_hash=hub.catalog_hash, files=catalog_files(folder), at=at
    )
    if mapping.ledger_offset is not None:
        from inventory_pipeline.flow.remap import remap

        remap(connection, hub, state, mapping, at=at)
    policy_version = versions.activate_policy(
        connection,
        content_hash=hub.policy_hash,
        content=policy_text(folder),
        activated_by=by,
        mapping_version=mapping.version,
        at=at,
    )
    return Activation(policy_version=policy_version, mapping_version=mapping.version)


def restructured(before: Hub, now: Hub) -> bool:
    """Whether systems or channels differ in anything but modes and what is read when it is needed:
    Dagster's definitions are made of them.
    """
    return _structure(before) != _structure(now)


def _structure(hub: Hub) -> object:
    return (
        hub.name,
        hub.sync,
        hub.rollout,
        dict(hub.locations),
        dict(hub.systems),
        {
            name: (channel.system, channel.buckets, channel.mode == "off")
            for name, channel in hub.channels.items()
        },
    )


def changes(before: Hub, now: Hub) -> list[Change]:
    """What the second says otherwise than the first, for people; secrets are not shown."""
    found = [*_modes(before, now)]
    found += _named("system", before.systems, now.systems)
    found += _named("channel", before.channels, now.channels, without={"mode"})
    found += _named("location", before.locations, now.locations)
    found += _named(
        "rule", {r.id: r for r in before.rules}, {r.id: r for r in now.rules},
        without=_PLACE_IN_FILE,
    )  # fmt: skip
    order = [rule.id for rule in now.rules if rule.id in {r.id for r in before.rules}]
    if order != [rule.id for rule in before.rules if rule.id in set(order)]:
        found.append(Change(what="rules", name="order", text="stand in another order"))
    for name in ("tolerances", "sync", "rollout"):
        found += _differs("setting", name, getattr(before, name), getattr(now, name), set())
    return found + _catalog(before.catalog, now.catalog)


def _modes(before: Hub, now: Hub) -> Iterable[Change]:
    for name in sorted(before.channels.keys() & now.channels.keys()):
        was, is_ = before.channels[name].mode, now.channels[name].mode
        if was is not is_:
            yield Change(what="mode", name=name, text=f"{was} → {is_}")


def _named(
    what: str,
    before: Mapping[str, Any],
    now: Mapping[str, Any],
    *,
    without: set[str] | None = None,
) -> list[Change]:
    found = [Change(what=what, name=name, text="new") for name in now if name not in before]
    for name, one in now.items():
        if isinstance(one, Channel) and name not in before:
            found.append(Change(what="mode", name=name, text=str(one.mode)))
        if name in before:
            found += _differs(what, name, before[name], one, without or set())
    gone = [Change(what=what, name=name, text="gone") for name in before if name not in now]
    return found + gone


def _differs(what: str, name: str, before: Any, now: Any, without: set[str]) -> list[Change]:
    names = [
        field.name
        for field in fields(now)
        if field.name not in without and getattr(before, field.name) != getattr(now, field.name)
    ]
    # Values may be secrets: what differs is named, and the file shows how.
    return [Change(what=what, name=name, text=f"changed: {', '.join(names)}")] if names else []


def _catalog(before: Catalog, now: Catalog) -> list[Change]:
    tables = {
        "items": (before.items.values(), now.items.values()),
        "identifiers": (before.identifiers, now.identifiers),
        "bundle parts": (before.parts, now.parts),
    }
    found = []
    for name, (was, is_) in tables.items():
        added, gone = set(is_) - set(was), set(was) - set(is_)
        if added or gone:
            text = f"{len(added):,} rows new or changed, {len(gone):,} gone or changed"
            found.append(Change(what="catalogue", name=name, text=text))
    return found
