"""The checked policy as the tables that sql/ joins (SEMANTICS §6, §7), made once a version."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa

from inventory_pipeline.compute.tables import POLICY, STATES, arrow_schema
from inventory_pipeline.config.policy import Catalog, Hub, Rule
from inventory_pipeline.config.selectors import SkuRank, channel_rank, parse_sku_selector, sku_rank
from inventory_pipeline.core.errors import ConfigInvalid, Finding
from inventory_pipeline.core.quantities import MAX_DECIMALS, InexactQuantity, to_milli
from inventory_pipeline.core.vocabulary import Mode, State

Row = dict[str, Any]
MILLIONTHS_PER_PERCENT = Decimal(10_000)
MILLIONTHS = Decimal(1_000_000)


def policy_tables(hub: Hub) -> dict[str, pa.Table]:
    """Every table of `tables.POLICY` by name. Raises ConfigInvalid for a number too fine."""
    profiles, rule_profiles = item_profiles(hub)
    rows: dict[str, list[Row]] = {
        "systems": [
            {"system": system.id, "counts_orders": system.orders == "count"}
            for system in hub.systems.values()
        ],
        "owned": [_owners_at(hub, location) for location in hub.locations],
        "items": [
            {
                "sku": item.sku,
                "kind": item.kind,
                "step_milli": _step_milli(item.decimals),
                "profile": profiles[item.sku],
            }
            for item in hub.catalog.items.values()
        ],
        "components": list(_components(hub.catalog)),
        "channels": [
            {"channel": c.id, "mode": str(c.mode), "step_milli": _step_milli(c.decimals)}
            for c in hub.channels.values()
        ],
        "buckets": list(_buckets(hub)),
        "bucket_locations": [
            {"channel": c.id, "bucket": bucket.id, "location": location}
            for c in hub.channels.values()
            for bucket in c.buckets
            for location in dict.fromkeys(bucket.locations)
        ],
        "listings": list(_listings(hub)),
        "rules": [_rule(number, rule) for number, rule in enumerate(_in_order(hub))],
        "rule_profiles": rule_profiles,
        "rule_buckets": list(_rule_buckets(hub)),
        "rule_locations": list(_rule_locations(hub)),
    }
    rows["first_listings"] = list(_first(rows["listings"]))
    return {name: pa.Table.from_pylist(rows[name], arrow_schema(name)) for name in POLICY}


def item_profiles(hub: Hub) -> tuple[dict[str, int], list[Row]]:
    """(profile of each sku, the rules of each profile with their rank).

    Items that the same rules match equally specifically share a profile, so that the SQL compares
    rules once a profile. Rules for all items are in every profile.
    """
    matched: dict[str, list[tuple[int, int]]] = {sku: [] for sku in hub.catalog.items}
    for number, rule in enumerate(_in_order(hub)):
        for sku in _candidates(rule, hub.catalog):
            rank = sku_rank(rule, hub.catalog.items[sku])
            if rank is not None:
                matched[sku].append((number, rank))
    numbers: dict[tuple[tuple[int, int], ...], int] = {}
    profiles = {
        sku: numbers.setdefault(tuple(rules), len(numbers)) for sku, rules in matched.items()
    }
    rows = [
        {"rule_no": number, "profile": profile, "sku_rank": rank}
        for rules, profile in numbers.items()
        for number, rank in rules
    ]
    return profiles, rows


def _candidates(rule: Rule, catalog: Catalog) -> Iterator[str]:
    """The skus that a rule can mean: a list of exact ones needs no look at the whole catalogue."""
    if rule.skus is not None and all(
        parse_sku_selector(text).rank is SkuRank.EXACT for text in rule.skus
    ):
        yield from (sku for sku in dict.fromkeys(rule.skus) if sku in catalog.items)
    else:
        yield from catalog.items


def _in_order(hub: Hub) -> list[Rule]:
    return sorted(hub.rules, key=lambda rule: rule.order)


def _owners_at(hub: Hub, location: str) -> Row:
    owners = {state: hub.owner(State(state), location) for state in STATES}
    return {
        "location": location,
        **{f"{state}_system": owner for state, owner in owners.items()},
        **{
            f"{state}_lag_us": _microseconds(hub.systems[owner].lag) if owner else 0
            for state, owner in owners.items()
        },
    }


def _components(catalog: Catalog) -> Iterator[Row]:
    parts: dict[str, list[tuple[str, Decimal]]] = {}
    for part in catalog.parts:
        parts.setdefault(part.bundle_sku, []).append((part.component_sku, part.quantity))
    for item in catalog.items.values():
        if item.kind == "simple":
            continue
        for component, quantity in _flattened(item.sku, parts, ()).items():
            where = f"catalog/bundles.csv: {component} in one {item.sku}"
            milli = _milli(quantity, where)
            # The smallest fraction of a bundle must still be whole thousandths of its parts.
            _milli(quantity.scaleb(-item.decimals), f"{where} at its {item.decimals} decimals")
            yield {"sku": item.sku, "component": component, "quantity_milli": milli}


def _flattened(
    sku: str, parts: Mapping[str, list[tuple[str, Decimal]]], path: tuple[str, ...]
) -> dict[str, Decimal]:
    if sku in path:
        message = f"bundles contain each other: {' > '.join((*path, sku))}"
        raise ConfigInvalid([Finding(file="catalog/bundles.csv", line=0, message=message)])
    if sku not in parts:
        return {sku: Decimal(1)} if path else {}
    flat: dict[str, Decimal] = {}
    for component, quantity in parts[sku]:
        for inner, units in _flattened(component, parts, (*path, sku)).items():
            flat[inner] = flat.get(inner, Decimal(0)) + quantity * units
    return flat


def _buckets(hub: Hub) -> Iterator[Row]:
    for channel in hub.channels.values():
        for bucket in channel.buckets:
            yield {
                "channel": channel.id,
                "bucket": bucket.id,
                "bucket_external": bucket.external,
                "active": channel.mode is not Mode.OFF,
            }


def _listings(hub: Hub) -> Iterator[Row]:
    by_system: dict[str, list[str]] = {}
    for channel in hub.channels.values():
        by_system.setdefault(channel.system, []).append(channel.id)
    for row in hub.catalog.identifiers:
        for channel_id in by_system.get(row.system, ()):
            yield {
                "channel": channel_id,
                "sku": row.sku,
                "external_id": row.external_id,
                "units_milli": _milli(
                    row.units, f"catalog/identifiers.csv: units of {row.external_id}"
                ),
            }


def _first(listings: list[Row]) -> Iterator[Row]:
    seen: set[tuple[str, str]] = set()
    for row in listings:
        key = (row["channel"], row["sku"])
        if key not in seen:
            seen.add(key)
            yield row


def _rule(number: int, rule: Rule) -> Row:
    where = f"hub.yaml: rule {rule.id}"
    slot = rule.kind
    if rule.kind == "safety_stock":
        slot = "network_safety_stock" if rule.locations is None else "location_safety_stock"
    return {
        "rule_no": number,
        "rule": rule.id,
        "slot": slot,
        "priority": rule.priority,
        "from_at": _utc(rule.from_at),
        "until_at": _utc(rule.until_at),
        "for_channel": rule.for_channel,
        "exclusive": rule.exclusive,
        "has_locations": rule.locations is not None,
        "units_milli": _milli(rule.units, where),
        "percent_millionths": _whole(rule.percent, MILLIONTHS_PER_PERCENT, where),
        "limit_milli": _milli(rule.limit, where),
        "horizon_us": None if rule.horizon is None else _microseconds(rule.horizon),
        "fulfilment": rule.fulfilment,
        "auto_factor_millionths": rule.auto and _whole(rule.auto.factor, MILLIONTHS, where),
        "auto_max_milli": rule.auto and _milli(rule.auto.max_units, where),
        "auto_window_us": rule.auto and _microseconds(rule.auto.window),
    }


def _rule_buckets(hub: Hub) -> Iterator[Row]:
    for number, rule in enumerate(_in_order(hub)):
        for bucket in _buckets(hub):
            rank = channel_rank(rule, bucket["channel"], bucket["bucket"])
            if rank is not None and bucket["active"]:
                yield {
                    "rule_no": number,
                    "channel": bucket["channel"],
                    "bucket": bucket["bucket"],
                    "channel_rank": rank,
                }


def _rule_locations(hub: Hub) -> Iterator[Row]:
    for number, rule in enumerate(_in_order(hub)):
        locations = rule.locations
        if locations is None and rule.kind == "location_reserve":
            locations = tuple(hub.locations)
        for location in dict.fromkeys(locations or ()):
            yield {"rule_no": number, "location": location}


def _step_milli(decimals: int) -> int:
    return int(10 ** (MAX_DECIMALS - decimals))


def _microseconds(duration: timedelta) -> int:
    return duration // timedelta(microseconds=1)


def _utc(moment: datetime | None) -> datetime | None:
    return None if moment is None else moment.astimezone(UTC).replace(tzinfo=None)


def _milli(value: Decimal | None, where: str) -> int | None:
    if value is None:
        return None
    try:
        return to_milli(value)
    except InexactQuantity as error:
        raise _too_fine(where, value) from error


def _whole(value: Decimal | None, scale: Decimal, where: str) -> int | None:
    if value is None:
        return None
    scaled = value * scale
    if scaled != scaled.to_integral_value():
        raise _too_fine(where, value)
    return int(scaled)


def _too_fine(where: str, value: Decimal) -> ConfigInvalid:
    file, _, place = where.partition(": ")
    message = f"{place}: a finer number than the hub keeps (thousandths; percents: 4 decimals)"
    return ConfigInvalid([Finding(file=file, line=0, message=message, value=str(value))])
