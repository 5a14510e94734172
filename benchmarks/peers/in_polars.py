"""SEMANTICS §6 in polars: lazy frames, integers, each group of locations added up once."""

from functools import reduce

import polars as pl
import pyarrow as pa

from benchmarks.peers.tables import LOST, WHOLE, Tables

COLUMNS = ("item_no", "bucket_no", "available_milli")


class InPolars:
    """The tables as frames in memory; `offers` computes them anew at each call."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables
        self._stock = _frame(tables.stock).lazy()
        self._items = _frame(tables.items).lazy()
        self._parts = _frame(tables.parts).lazy()
        self._kept_at = _frame(tables.kept_at).lazy()
        self._rules = {
            bucket: rules.drop("bucket_no").lazy()
            for (bucket,), rules in _frame(tables.rules)
            .partition_by("bucket_no", as_dict=True)
            .items()
        }

    def offers(self) -> pl.DataFrame:
        """item_no, bucket_no, available_milli: one row a bucket and item."""
        items = self._grouped()
        parts = self._parts.join(items.lazy(), left_on="part_no", right_on="item_no").collect()
        bundles = self._items.filter("bundle").drop("bundle").collect()
        together = self._same_location()
        offered = [
            self._bucket(bucket, items.lazy(), parts.lazy(), bundles.lazy(), together[view].lazy())
            for bucket, view in self._tables.views.items()
        ]
        return pl.concat(offered).collect(engine="streaming")

    def _grouped(self) -> pl.DataFrame:
        """Simple items with profile and step, and what each group of locations has of them."""
        groups = [
            pl.when(pl.col("location_no").is_in(nos))
            .then("net_milli")
            .otherwise(0)
            .alias(f"group_{n}")
            for n, nos in self._tables.groups.items()
        ]
        sums = (
            self._stock.select("item_no", "location_no", _net())
            .select("item_no", *groups)
            .group_by("item_no")
            .agg(pl.all().sum())
        )
        simple = self._items.filter(~pl.col("bundle")).drop("bundle")
        return simple.join(sums, on="item_no").collect(engine="streaming")

    def _pool(self, bucket: int) -> pl.Expr:
        groups = [pl.col(f"group_{n}") for n in self._tables.groups_of[bucket]]
        return reduce(pl.Expr.add, groups) - pl.col("kept_milli")

    def _after_protect(self) -> pl.Expr:
        pool = pl.col("pool_milli")
        taken = [pl.min_horizontal(name, pool.clip(0)) for name in self._tables.protects]
        return reduce(pl.Expr.sub, taken, pool)

    def _bucket(
        self,
        bucket: int,
        items: pl.LazyFrame,
        parts: pl.LazyFrame,
        bundles: pl.LazyFrame,
        together: pl.LazyFrame,
    ) -> pl.LazyFrame:
        rules = self._rules[bucket]
        pools = items.join(rules, on="profile").with_columns(pool_milli=self._pool(bucket))
        # What the components' own protections leave of them, and how many sets that is enough for.
        rests = (
            parts.join(rules, on="profile")
            .with_columns(pool_milli=self._pool(bucket))
            .select("bundle_no", "quantity_milli", rest_milli=self._after_protect().clip(0))
        )
        split = (
            rests.join(
                bundles.select("item_no", "step_milli"), left_on="bundle_no", right_on="item_no"
            )
            .group_by("bundle_no")
            .agg(split_milli=_sets(pl.col("rest_milli")).min())
        )
        here = pl.sum_horizontal(str(n) for n in self._tables.places_of[bucket])
        made = (
            bundles.join(rules, on="profile")
            .join(split, left_on="item_no", right_on="bundle_no")
            .join(
                together.select("bundle_no", here_milli=here),
                left_on="item_no",
                right_on="bundle_no",
            )
            .with_columns(
                pool_milli=pl.when("split")
                .then("split_milli")
                .otherwise(pl.min_horizontal("split_milli", "here_milli"))
            )
        )
        needed = ["item_no", "step_milli", "pool_milli", *self._rules_used()]
        return self._waterfall(pl.concat([pools.select(needed), made.select(needed)]), bucket)

    def _rules_used(self) -> list[str]:
        rules = ["buffer_milli", "buffer_millionths", "share_millionths", "cap_milli"]
        return [*rules, "min_display_milli", *self._tables.protects]

    def _waterfall(self, pools: pl.LazyFrame, bucket: int) -> pl.LazyFrame:
        """Steps 3 to 10."""
        value, step = pl.col("value"), pl.col("step_milli")
        percent = value.clip(0) * pl.col("buffer_millionths")
        buffer = ((percent + WHOLE - 1) // WHOLE + step - 1) // step * step
        share = value * pl.col("share_millionths") // WHOLE // step * step
        return (
            pools.with_columns(value=self._after_protect())
            .with_columns(value=value - buffer - pl.col("buffer_milli"))
            .with_columns(value=pl.when(value > 0).then(share).otherwise(value))
            .with_columns(value=pl.min_horizontal(value, "cap_milli"))
            .with_columns(
                value=pl.when(value < pl.col("min_display_milli")).then(0).otherwise(value)
            )
            .select(
                "item_no",
                pl.lit(bucket, pl.Int16).alias("bucket_no"),
                value.clip(0).alias("available_milli"),
            )
        )

    def _same_location(self) -> dict[int, pl.DataFrame]:
        """Of each view: bundle_no, and a column a location: how many can be put together there."""
        info = self._items.select("item_no", "profile")
        steps = self._items.select("item_no", "step_milli")
        places = (
            self._parts.join(info, left_on="part_no", right_on="item_no")
            .join(steps, left_on="bundle_no", right_on="item_no")
            .join(
                self._stock.select("item_no", "location_no", _net()),
                left_on="part_no",
                right_on="item_no",
            )
            .collect(engine="streaming")
            .lazy()
        )
        numbers = sorted({no for nos in self._tables.places_of.values() for no in nos})
        return {
            view: self._in_view(places, view, numbers) for view in set(self._tables.views.values())
        }

    def _in_view(self, places: pl.LazyFrame, view: int, numbers: list[int]) -> pl.DataFrame:
        kept = self._kept_at.filter(pl.col("view_no") == view).drop("view_no")
        sellable = (pl.col("net_milli") - pl.col("kept_milli").fill_null(0)).clip(0)
        at_place = (
            places.join(kept, on=["profile", "location_no"], how="left")
            .group_by("bundle_no", "location_no")
            .agg(sets=_sets(sellable).min(), parts=pl.len())
        )
        columns = [
            pl.col("sets").filter(pl.col("location_no") == no).sum().alias(str(no))
            for no in numbers
        ]
        return at_place.group_by("bundle_no").agg(columns).collect()


def _frame(table: pa.Table) -> pl.DataFrame:
    frame = pl.from_arrow(table)
    assert isinstance(frame, pl.DataFrame)
    return frame.rechunk()


def _net() -> pl.Expr:
    return reduce(pl.Expr.sub, map(pl.col, LOST), pl.col("on_hand_milli")).alias("net_milli")


def _sets(component: pl.Expr) -> pl.Expr:
    """How many bundles so much of a component is enough for, in whole steps."""
    step = pl.col("step_milli")
    return component * 1000 // (pl.col("quantity_milli") * step) * step
