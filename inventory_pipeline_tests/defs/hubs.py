"""Hub folders for Dagster's tests."""

from pathlib import Path

TWO_CHANNELS = """
hub: two-channels
locations:
  dc: {kind: warehouse}
  nyc: {kind: store}
systems:
  wms:
    connector: files
    options: {snapshots: "landing/wms/*.csv", events: "landing/wms/*.jsonl", settle_s: 0}
    owns: [{states: [on_hand, damaged, quality_control, incoming], locations: [dc]}]
    snapshot: {complete: true, max_age: 30m, max_drop: 20%}
  till-2:
    connector: files
    options: {snapshots: "landing/till/*.csv"}
    owns: [{states: [on_hand, damaged, quality_control, incoming], locations: [nyc]}]
  orders:
    connector: files
    options: {events: "landing/orders/*.jsonl", settle_s: 0}
channels:
  web: {system: orders, mode: shadow, buckets: [{id: main, locations: [dc, nyc]}]}
  pickup: {system: till-2, mode: shadow, buckets: [{id: nyc, locations: [nyc]}]}
  later: {system: orders, mode: off, buckets: [{id: main, locations: [dc]}]}
tolerances: {escalate_after: 4h}
sync: {idle: 1s, max_run: 1m}
rollout: {approvers: [ops-lead, "ann@example.com"]}
"""


def two_channels(folder: Path) -> Path:
    """Two systems with snapshots, one with events alone, two channels and one that is off."""
    catalog = folder / "catalog"
    catalog.mkdir(parents=True)
    (folder / "hub.yaml").write_text(TWO_CHANNELS, encoding="utf-8")
    (catalog / "items.csv").write_text(
        "sku,title,kind,decimals,tags\nSHIRT,Shirt,simple,0,\nMUG,Mug,simple,0,\n", encoding="utf-8"
    )
    (catalog / "identifiers.csv").write_text("system,external_id,sku,units\n", encoding="utf-8")
    (catalog / "bundles.csv").write_text("bundle_sku,component_sku,quantity\n", encoding="utf-8")
    return folder


def snapshot(folder: Path, name: str, *rows: tuple[str, str, int], as_of: str) -> Path:
    """A snapshot of on_hand: (location, item, units)."""
    path = folder / "landing" / "wms" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [f"{as_of},{location},{item},{units}" for location, item, units in rows]
    path.write_text("\n".join(["as_of,location,item,on_hand", *lines, ""]), encoding="utf-8")
    return path
