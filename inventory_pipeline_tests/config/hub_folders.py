"""The example hub of the reference, and folders made of it with one thing changed."""

from dataclasses import dataclass, field
from pathlib import Path

from inventory_pipeline.config.load import check_hub
from inventory_pipeline.config.policy import Hub
from inventory_pipeline.core.errors import Finding

TOKEN = "shpat-9f1c-never-shown"
ENVIRON = {"SHOPIFY_TOKEN": TOKEN}

EXAMPLE = """\
hub: acme
locations:
  dc:  {kind: warehouse, region: us-east}
  nyc: {kind: store,     region: us-east}
systems:
  wms:
    connector: files
    options: {snapshots: "landing/wms/*.csv", events: "landing/wms/*.jsonl"}
    locations: {"1": dc}
    owns: [{states: [on_hand, damaged, quality_control, incoming], locations: [dc]}]
    snapshot: {complete: true, max_age: 30m, max_drop: 20%}
    lag: 2m
  pos:
    connector: files
    options: {snapshots: "landing/pos/*.csv", events: "landing/pos/*.jsonl"}
    owns: [{states: [on_hand, damaged, quality_control, incoming], locations: [nyc]}]
  shop:
    connector: shopify
    options: {store: acme, access_token: {env: SHOPIFY_TOKEN}}
channels:
  web: {system: shop, mode: live, buckets: [{id: main, external: "gid://1", locations: [dc, nyc]}]}
  wholesale: {system: wms,  mode: shadow, buckets: [{id: main, locations: [dc]}]}
  pickup:    {system: pos,  mode: shadow, buckets: [{id: nyc, locations: [nyc]}]}
rules:
  - {id: s1, kind: safety_stock, skus: ["*"], locations: [dc], units: 2}
  - {id: s2, kind: location_reserve, locations: [nyc], units: 1, except_channels: [pickup]}
  - {id: p1, kind: protect, for: wholesale, skus: ["SHIRT-*"], units: 5}
  - {id: b1, kind: buffer, channels: [web], percent: 10}
  - {id: c1, kind: contract, for: wholesale, skus: ["MUG"], units: 100, from: 2026-01-01,
     until: 2026-07-01, exclusive: true}
tolerances: {units: 0, percent: 0}
rollout: {approvers: [ops-lead], required: 1}
"""

ITEMS = """\
sku,title,kind,decimals,tags,price
SHIRT-S,"Shirt, small",simple,0,apparel|summer,19.90
MUG,Mug,simple,0,,
ROPE,Rope by the metre,simple,2,hardware,
KIT,Shirt and two mugs,bundle,0,gift,
"""
IDENTIFIERS = """\
system,external_id,sku,units
shop,MUG-12,MUG,12
wms,0042,SHIRT-S,1
"""
BUNDLES = """\
bundle_sku,component_sku,quantity
KIT,SHIRT-S,1
KIT,MUG,2
"""


@dataclass(frozen=True, kw_only=True)
class Folder:
    """A hub folder's four files; None leaves a file out."""

    policy: str | None = EXAMPLE
    items: str | None = ITEMS
    identifiers: str | None = IDENTIFIERS
    bundles: str | None = BUNDLES
    environ: dict[str, str] = field(default_factory=lambda: dict(ENVIRON))

    def write(self, folder: Path) -> Path:
        (folder / "catalog").mkdir(parents=True, exist_ok=True)
        named = {
            "hub.yaml": self.policy,
            "catalog/items.csv": self.items,
            "catalog/identifiers.csv": self.identifiers,
            "catalog/bundles.csv": self.bundles,
        }
        for name, text in named.items():
            if text is not None:
                (folder / name).write_bytes(text.encode())
        return folder

    def check(self, folder: Path) -> tuple[Hub | None, list[Finding]]:
        return check_hub(self.write(folder), self.environ)


def changed(old: str, new: str, text: str = EXAMPLE) -> str:
    """The text with its one `old` replaced."""
    assert text.count(old) == 1, f"{old!r} stands {text.count(old)} times"
    return text.replace(old, new)


def line_of(text: str, needle: str, nth: int = 1) -> int:
    """The 1-based line of the nth line that contains the needle."""
    lines = [n for n, line in enumerate(text.splitlines(), start=1) if needle in line]
    return lines[nth - 1]
