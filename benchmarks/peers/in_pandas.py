"""SEMANTICS §6 in pandas: integer columns, stock rows added up in one pass, no loop over rows."""

from dataclasses import dataclass
from functools import cached_property, reduce
from typing import Any, TypeAlias

import numpy as np
import pandas as pd

from benchmarks.peers.tables import LOST, WHOLE, Tables

Column: TypeAlias = Any  # a column of integers: an array, or a Series of one


class InPandas:
    """The tables as frames in memory; `offers` computes them anew at each call."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables
        self._stock = tables.stock.to_pandas()
        self._items = tables.items.to_pandas().set_index("item_no")
        self._parts = tables.parts.to_pandas()
        self._kept_at = tables.kept_at.to_pandas()
        self._rules = {
            bucket: _Rules(rules.set_index("profile"))
            for bucket, rules in tables.rules.to_pandas().groupby("bucket_no")
        }

    def offers(self) -> pd.DataFrame:
        """item_no, bucket_no, available_milli: one row a bucket and item."""
        net = reduce(
            lambda left, lost: left - self._stock[lost], LOST, self._stock["on_hand_milli"]
        )
        sums = self._grouped(net)
        simple, bundles = self._items.loc[sums.index], self._items[self._items["bundle"]]
        row_of = sums.index.get_indexer(self._parts["part_no"])
        together = self._same_location(net)
        profiles = np.concatenate([simple["profile"], bundles["profile"]])
        steps = np.concatenate([simple["step_milli"], bundles["step_milli"]])
        offered = []
        for bucket, view in self._tables.views.items():
            rules = self._rules[bucket].of(profiles)
            groups = [sums[n].to_numpy() for n in self._tables.groups_of[bucket]]
            pool = reduce(np.add, groups) - rules.kept_milli[: len(simple)]
            left = self._after_protect(pool, rules)
            sets = self._sets_of(np.maximum(left[row_of], 0), bundles)
            here = together[view][list(self._tables.places_of[bucket])].sum(axis=1)
            least = np.minimum(sets, here.reindex(bundles.index))
            split = rules.split[len(simple) :]
            pool = np.concatenate([pool, np.where(split, sets, least)])
            offered.append(self._waterfall(pool, rules, steps))
        numbers = np.concatenate([simple.index, bundles.index])
        return pd.DataFrame(
            {
                "item_no": np.tile(numbers, len(offered)),
                "bucket_no": np.repeat(np.array([*self._tables.views], "int16"), len(numbers)),
                "available_milli": np.concatenate(offered),
            }
        )

    def _grouped(self, net: pd.Series) -> pd.DataFrame:
        """A row a simple item, a column a group of locations: the sum of what is there."""
        group_of = np.zeros(256, "int64")
        for group, places in self._tables.groups.items():
            group_of[list(places)] = group
        width = len(self._tables.groups) + 1
        numbers = self._stock["item_no"].to_numpy("int64")
        sums = net.groupby(numbers * width + group_of[self._stock["location_no"]], sort=False).sum()
        by_item = pd.MultiIndex.from_arrays([sums.index // width, sums.index % width])
        return sums.set_axis(by_item).unstack(fill_value=0)

    def _after_protect(self, pool: Column, rules: "_Rules") -> Column:
        """Steps 3 and 4, of the first items of `rules` or of all."""
        left = np.maximum(pool, 0)
        for name in self._tables.protects:
            pool = pool - np.minimum(rules.column(name)[: len(left)], left)
        return pool

    def _waterfall(self, pool: Column, rules: "_Rules", step: Column) -> Column:
        """Steps 3 to 10."""
        value = self._after_protect(pool, rules)
        percent = np.maximum(value, 0) * rules.column("buffer_millionths")
        buffer = ((percent + WHOLE - 1) // WHOLE + step - 1) // step * step
        value = value - buffer - rules.column("buffer_milli")
        share = value * rules.column("share_millionths") // WHOLE // step * step
        value = np.where(value > 0, share, value)
        value = np.minimum(value, rules.column("cap_milli"))
        value = np.where(value < rules.column("min_display_milli"), 0, value)
        return np.maximum(value, 0)

    def _sets_of(self, left: Column, bundles: pd.DataFrame) -> Column:
        """How many of each bundle there can be, with so much left of each of its parts."""
        quantity = self._parts["quantity_milli"].to_numpy()
        sets = pd.Series(_sets(left, quantity, self._steps))
        return sets.groupby(self._parts["bundle_no"]).min().reindex(bundles.index).to_numpy()

    def _same_location(self, net: pd.Series) -> dict[int, pd.DataFrame]:
        """Of each view: a row a bundle, a column a location: how many can be put together there."""
        needed = self._stock["item_no"].isin(self._parts["part_no"].unique())
        stock = self._stock.loc[needed, ["item_no", "location_no"]].assign(net_milli=net[needed])
        places = self._parts.assign(step_milli=self._steps).merge(
            stock, left_on="part_no", right_on="item_no"
        )
        places["profile"] = self._items["profile"].loc[places["part_no"]].to_numpy()
        return {view: self._in_view(places, view) for view in set(self._tables.views.values())}

    def _in_view(self, places: pd.DataFrame, view: int) -> pd.DataFrame:
        kept = self._kept_at[self._kept_at["view_no"] == view]
        found = places.merge(kept, on=["profile", "location_no"], how="left")
        sellable = np.maximum(found["net_milli"] - found["kept_milli"].fillna(0).astype("int64"), 0)
        sets = _sets(sellable, found["quantity_milli"], found["step_milli"])
        least: pd.Series = sets.groupby([found["bundle_no"], found["location_no"]]).min()
        return least.unstack(fill_value=0)

    @cached_property
    def _steps(self) -> Column:
        """Of each part: the smallest step of its bundle."""
        return self._items["step_milli"].loc[self._parts["bundle_no"]].to_numpy()


@dataclass(frozen=True)
class _Rules:
    """A bucket's rules, one row a profile; `of` these profiles, a row an item."""

    by_profile: pd.DataFrame
    profiles: Column = None

    def of(self, profiles: Column) -> "_Rules":
        return _Rules(self.by_profile, profiles)

    def column(self, name: str) -> Column:
        found = self.by_profile[name]
        numbers = np.zeros(self.by_profile.index.max() + 1, found.to_numpy().dtype)
        numbers[self.by_profile.index] = found
        return numbers[self.profiles]

    @property
    def kept_milli(self) -> Column:
        return self.column("kept_milli")

    @property
    def split(self) -> Column:
        return self.column("split")


def _sets(component: Column, quantity: Column, step: Column) -> Column:
    """How many bundles so much of a component is enough for, in whole steps."""
    return component * 1000 // (quantity * step) * step
