"""A retail chain as a derived store: 20 locations, 10 channels, any number of items.

Its rules and a catalogue of 200 items go through the product's own reader; the catalogue is then
multiplied inside DuckDB, and stock made by arithmetic, so that a store of 20 million stock rows
takes seconds and is the same every time.
"""

from datetime import UTC, datetime
from pathlib import Path

import duckdb

LOCATIONS = tuple([f"dc{n}" for n in range(1, 5)] + [f"store{n:02d}" for n in range(1, 17)])
TEMPLATES = 200
BUNDLES = 10  # of the templates: 5 %
AT = datetime(2026, 3, 2, 9, tzinfo=UTC)
TAKEN_AT = "2026-03-02 08:00:00"

_CHANNELS = {
    "web": "[kind:warehouse, kind:store]",
    "app": "[kind:warehouse, kind:store]",
    "wholesale": "[kind:warehouse]",
    "b2b": "[kind:warehouse]",
    "east": "[region:east]",
    "west": "[region:west]",
    "outlet": "[kind:store]",
    "pickup01": "[store01]",
    "pickup02": "[store02]",
    "market": "[kind:warehouse, store01, store02, store03, store04, store05, store06, store07]",
}
_RULES = """
  - {id: dc-keeps-two, kind: safety_stock, locations: [kind:warehouse], units: 2}
  - {id: hot-keeps-5, kind: safety_stock, skus: ["tag:hot"], locations: [kind:warehouse], units: 5}
  - {id: shelf, kind: location_reserve, locations: [kind:store], units: 1}
  - {id: bulky-network, kind: safety_stock, skus: ["tag:bulky"], units: 3}
  - {id: for-wholesale, kind: protect, for: wholesale, skus: ["tag:hot"], units: 20}
  - {id: for-web, kind: protect, for: web, units: 5}
  - {id: ten-percent, kind: buffer, channels: [east, west, market], percent: 10}
  - {id: fragile, kind: buffer, skus: ["tag:fragile"], units: 2}
  - {id: outlet-share, kind: share, channels: [outlet, market], percent: 80}
  - {id: show-fifty, kind: cap, channels: [east, west, market], units: 50}
  - {id: three-or-none, kind: min_display, channels: [market, pickup01, pickup02], units: 3}
  - {id: sets, kind: bundle, skus: ["tag:set"], fulfilment: split}
"""
# What a location holds of an item, in thousandths: `i` is the item's number, `l` the location's.
_STATES = {
    "on_hand": "(hash(i * 32 + l) % 40 * 1000)::BIGINT",
    "damaged": "(hash(i * 32 + l, 1) % 16 // 15 * 1000)::BIGINT",
    "quality_control": "(hash(i * 32 + l, 2) % 32 // 31 * 1000)::BIGINT",
    "committed": "(hash(i * 32 + l, 3) % 4 * 1000)::BIGINT",
    "reserved": "(hash(i * 32 + l, 4) % 8 // 7 * 1000)::BIGINT",
    "incoming": "0::BIGINT",
}


def write_hub(folder: Path) -> Path:
    """The chain's hub folder, with the template catalogue."""
    regions = ["east" if n % 2 else "west" for n in range(len(LOCATIONS))]
    kinds = ["warehouse" if name.startswith("dc") else "store" for name in LOCATIONS]
    lines = ["hub: chain", "locations:"]
    lines += [
        f"  {name}: {{kind: {kind}, region: {region}}}"
        for name, kind, region in zip(LOCATIONS, kinds, regions, strict=True)
    ]
    states = "on_hand, damaged, quality_control, committed, reserved, incoming"
    lines += [
        "systems:",
        "  wms:",
        "    connector: files",
        "    options: {snapshots: 'landing/*.csv'}",
        f"    owns: [{{states: [{states}], locations: [{', '.join(LOCATIONS)}]}}]",
        "channels:",
    ]
    lines += [
        f"  {name}: {{system: wms, buckets: [{{id: main, locations: {where}}}]}}"
        for name, where in _CHANNELS.items()
    ]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "hub.yaml").write_text("\n".join(lines) + "\nrules:" + _RULES, encoding="utf-8")
    _write_catalog(folder / "catalog")
    return folder


def _write_catalog(folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    tags = ("hot", "bulky", "fragile", "", "hot|fragile", "", "", "", "", "")
    items, parts = ["sku,title,kind,decimals,tags"], ["bundle_sku,component_sku,quantity"]
    for n in range(TEMPLATES):
        bundle = n >= TEMPLATES - BUNDLES
        tag = ("set" if n % 2 else "") if bundle else tags[n % len(tags)]
        items.append(f"T{n:03d},Item {n},{'bundle' if bundle else 'simple'},0,{tag}")
        if bundle:
            parts += [f"T{n:03d},T{n - 100:03d},1", f"T{n:03d},T{n - 60:03d},2"]
    (folder / "items.csv").write_text("\n".join(items) + "\n", encoding="utf-8")
    (folder / "bundles.csv").write_text("\n".join(parts) + "\n", encoding="utf-8")
    (folder / "identifiers.csv").write_text("system,external_id,sku,units\n", encoding="utf-8")


def make_store(folder: Path, items: int) -> Path:
    """The derived store of a chain with `items` items, everything computed once."""
    from inventory_pipeline.compute.engine import open_engine
    from inventory_pipeline.config.load import load_hub

    path = folder / f"chain-{items}.duckdb"
    hub = load_hub(write_hub(folder / "hub"))
    with open_engine(path) as engine, engine.transaction():
        engine.load_policy(hub, policy_version=1, mapping_version=1)
        engine.compute(at=AT, ledger_offset=1, full=True)
        engine.clear_pending()
    with duckdb.connect(str(path)) as connection:
        _multiply(connection, items // TEMPLATES)
    with open_engine(path) as engine, engine.transaction():
        engine.compute(at=AT, ledger_offset=2, full=True)
        engine.clear_pending()
    return path


def _multiply(connection: duckdb.DuckDBPyConnection, copies: int) -> None:
    run = connection.execute
    run("SET preserve_insertion_order = false")
    run("CREATE TEMP TABLE copies AS SELECT unnest(range(?)) AS k", [copies])
    run("CREATE TEMP TABLE templates AS SELECT * FROM items")
    run("CREATE TEMP TABLE recipes AS SELECT * FROM components")
    for table in ("items", "item_numbers", "components", "stock", "cells"):
        run(f"DELETE FROM {table}")
    run(
        "INSERT INTO items BY NAME SELECT sku || '-' || k AS sku, kind, step_milli, profile,"
        f" k * {TEMPLATES} + item_no AS item_no FROM templates CROSS JOIN copies ORDER BY item_no"
    )
    run("INSERT INTO item_numbers SELECT sku, item_no FROM items ORDER BY item_no")
    run(
        "INSERT INTO components SELECT sku || '-' || k, component || '-' || k, quantity_milli"
        " FROM recipes CROSS JOIN copies"
    )
    cells = ", ".join(f"{expression} AS {state}_milli" for state, expression in _STATES.items())
    run(
        "INSERT INTO cells BY NAME SELECT 1 AS ledger_offset, 'wms' AS system,"
        f" '{TAKEN_AT}' AS as_of, 'all' AS source, i AS item_no, location, {cells}"
        " FROM (SELECT item_no::BIGINT AS i FROM items WHERE kind = 'simple')"
        " CROSS JOIN (SELECT location, location_no AS l FROM locations) ORDER BY i, l"
    )
    _stock(connection)


def _stock(connection: duckdb.DuckDBPyConnection) -> None:
    net = " - ".join(
        f"({_STATES[state]})"
        for state in ("on_hand", "damaged", "quality_control", "committed", "reserved")
    )
    numbers = f"range(1, {len(LOCATIONS) + 1})"
    connection.execute(
        "INSERT INTO stock BY NAME SELECT i AS item_no,"
        f" list_transform({numbers}, lambda l: {net}) AS net_milli,"
        f" {numbers} AS location_nos"
        " FROM (SELECT item_no::BIGINT AS i FROM items WHERE kind = 'simple' ORDER BY item_no)"
    )
