"""SEMANTICS §6 in plain Python: from positions to what a channel may sell. Slow and literal."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from fractions import Fraction
from functools import cache, cached_property
from math import ceil, floor
from typing import Any

from inventory_pipeline.config.policy import Bucket, Channel, Hub, Rule
from inventory_pipeline.config.selectors import channel_rank, sku_rank
from inventory_pipeline.core.vocabulary import Mode
from inventory_pipeline_tests.properties.reference_stock import STATES, Stock

ZERO = Fraction(0)
QUARTER = timedelta(minutes=15)


@dataclass(frozen=True, kw_only=True)
class Waterfall:
    """The terms that are compared, in base units; `shown` in the channel's own unit."""

    pool: Fraction
    protected_for_others: Fraction
    after_protect: Fraction
    buffer: Fraction
    after_share: Fraction
    after_contract: Fraction
    after_preorder: Fraction
    available: Fraction
    shown: Fraction


class Reference:
    """Everything of SEMANTICS §3 to §6 for one hub, history and moment."""

    def __init__(
        self, hub: Hub, events: Sequence[Any], snapshots: Sequence[Any], at: datetime
    ) -> None:
        self.hub = hub
        self.at = at
        self.events = events
        self.stock = Stock(hub, events, snapshots, at)
        self.position = cache(self.stock.position)
        self.after_protect_of = cache(self._after_protect_of)

    def positions(self) -> dict[tuple[str, str, str], Fraction]:
        """(state, sku, location) → units, those that are not 0."""
        return {
            (state, sku, location): units
            for sku, item in self.hub.catalog.items.items()
            if item.kind == "simple"
            for location in self.hub.locations
            for state in STATES
            if (units := self.position(state, sku, location)) != 0
        }

    def channels(self) -> dict[tuple[str, str, str], Waterfall]:
        return {
            (channel.id, bucket.id, sku): self.waterfall(channel, bucket, sku)
            for channel in self.hub.channels.values()
            if channel.mode is not Mode.OFF
            for bucket in channel.buckets
            for sku in self.hub.catalog.items
        }

    # Rules

    def counts(self, rule: Rule) -> bool:
        return (rule.from_at is None or rule.from_at <= self.at) and (
            rule.until_at is None or self.at < rule.until_at
        )

    def winner(
        self,
        kind: str,
        channel: Channel,
        bucket: Bucket,
        sku: str,
        *,
        local: bool | None = None,
        location: str | None = None,
    ) -> Rule | None:
        """The one rule of a kind that applies; `local` tells place from network safety stock."""
        item = self.hub.catalog.items[sku]
        best: tuple[Any, Rule] | None = None
        for rule in self.hub.rules:
            if rule.kind != kind or not self.counts(rule):
                continue
            if local is not None and (rule.locations is not None) != local:
                continue
            if (
                location is not None
                and rule.locations is not None
                and location not in rule.locations
            ):
                continue
            by_sku, by_channel = sku_rank(rule, item), channel_rank(rule, channel.id, bucket.id)
            if by_sku is None or by_channel is None:
                continue
            place = (rule.priority, by_sku, by_channel, -rule.order)
            if best is None or place > best[0]:
                best = (place, rule)
        return None if best is None else best[1]

    def matching(self, kind: str, sku: str) -> Iterator[Rule]:
        for rule in self.hub.rules:
            matches = sku_rank(rule, self.hub.catalog.items[sku]) is not None
            if rule.kind == kind and self.counts(rule) and matches:
                yield rule

    def places(self, channel: str) -> set[str]:
        return {
            place for bucket in self.hub.channels[channel].buckets for place in bucket.locations
        }

    def reaches(self, rule: Rule, bucket: Bucket) -> bool:
        places = self.places(rule.for_channel) if rule.locations is None else set(rule.locations)
        return bool(places & set(bucket.locations))

    # Steps 1 and 2

    def sellable(self, channel: Channel, bucket: Bucket, sku: str, location: str) -> Fraction:
        safety = self.winner("safety_stock", channel, bucket, sku, local=True, location=location)
        reserve = self.winner("location_reserve", channel, bucket, sku, location=location)
        physical = self.position("on_hand", sku, location)
        for state in ("damaged", "quality_control", "committed", "reserved"):
            physical -= self.position(state, sku, location)
        return physical - _units(safety) - _units(reserve)

    def pool(self, channel: Channel, bucket: Bucket, sku: str) -> Fraction:
        if self.hub.catalog.items[sku].kind == "bundle":
            return self.bundle_pool(channel, bucket, sku)
        network = self.winner("safety_stock", channel, bucket, sku, local=False)
        total = sum((self.sellable(channel, bucket, sku, x) for x in bucket.locations), ZERO)
        return total - self.unassigned(bucket, sku) - _units(network)

    def unassigned(self, bucket: Bucket, sku: str) -> Fraction:
        waiting = [
            (line.channel, line.open)
            for line in self.stock.lines
            if line.location is None and line.sku == sku
        ] + [
            (self.stock.known_channel(e["channel"]), units)
            for e, component, units in self.stock.reservations
            if e["location"] is None and component == sku
        ]
        return sum(
            (
                units
                for channel, units in waiting
                if channel is None or self.places(channel) & set(bucket.locations)
            ),
            ZERO,
        )

    def bundle_pool(self, channel: Channel, bucket: Bucket, sku: str) -> Fraction:
        parts = self.stock.parts(sku)
        split = min(
            _down(max(ZERO, self.after_protect_of(channel.id, bucket.id, part)) / q, self.step(sku))
            for part, q in parts.items()
        )
        rule = self.winner("bundle", channel, bucket, sku)
        if rule is not None and rule.fulfilment == "split":
            return split
        together = ZERO
        for place in bucket.locations:
            together += min(
                _down(max(ZERO, self.sellable(channel, bucket, part, place)) / q, self.step(sku))
                for part, q in parts.items()
            )
        return min(together, split)

    # Steps 3 and 4

    def protected(self, channel: Channel, bucket: Bucket, sku: str, pool: Fraction) -> Fraction:
        total = ZERO
        for rule in self.matching("protect", sku):
            if rule.for_channel != channel.id and self.reaches(rule, bucket):
                total += min(Fraction(rule.units), max(ZERO, pool))
        for rule in self.matching("contract", sku):
            if rule.for_channel != channel.id and self.reaches(rule, bucket):
                total += self.left(rule, sku)
        return total

    def left(self, contract: Rule, sku: str) -> Fraction:
        return max(ZERO, Fraction(contract.units) - self.contracted(contract, sku))

    def _after_protect_of(self, channel: str, bucket: str, sku: str) -> Fraction:
        of_channel = self.hub.channels[channel]
        of_bucket = next(b for b in of_channel.buckets if b.id == bucket)
        pool = self.pool(of_channel, of_bucket, sku)
        return pool - self.protected(of_channel, of_bucket, sku, pool)

    def contracted(self, contract: Rule, sku: str) -> Fraction:
        """Units of the item that the contract's channel ordered within the contract's period."""
        total = ZERO
        for key, line in self.item_lines(sku):
            if line.channel != contract.for_channel or not _within(contract, line.first_placed_at):
                continue
            events = [e for e in self.stock.of_line(key) if e["sku"] in (sku, None)]

            def units(*types: str, among: Sequence[Any] = events) -> Fraction:
                return sum(
                    (Fraction(e["quantity_milli"] or 0, 1000) for e in among if e["type"] in types),
                    ZERO,
                )

            if self.stock.cancelled_whole(key):
                proofs = {
                    (e["system"], e["event_id"]): Fraction(e["quantity_milli"], 1000)
                    for of_line, _, e, _ in self.stock.proofs
                    if of_line == key and e["sku"] == sku
                }
                said = max(sum(proofs.values(), ZERO), units("order_fulfilled"))
                total += max(ZERO, said - units("fulfilment_cancelled"))
            else:
                ordered = units("order_placed", "order_adjusted") - units("order_cancelled")
                total += max(ZERO, ordered)
        return total

    def item_lines(self, sku: str) -> Iterator[tuple[tuple[str, str, str], Any]]:
        seen = set()
        for line in self.stock.lines:
            key = (line.system, line.order_id, line.line_id)
            if line.item == sku and key not in seen:
                seen.add(key)
                yield key, line

    # Steps 5 to 10

    def step(self, sku: str) -> Fraction:
        return Fraction(1, 10 ** self.hub.catalog.items[sku].decimals)

    def buffer(self, channel: Channel, bucket: Bucket, sku: str, value: Fraction) -> Fraction:
        rule = self.winner("buffer", channel, bucket, sku)
        if rule is None:
            return ZERO
        if rule.auto is not None:
            return self.auto_buffer(rule, bucket, sku)
        if rule.percent is not None:
            return _up(Fraction(rule.percent) / 100 * max(ZERO, value), self.step(sku))
        return Fraction(rule.units)

    def waterfall(self, channel: Channel, bucket: Bucket, sku: str) -> Waterfall:
        pool = self.pool(channel, bucket, sku)
        protected = self.protected(channel, bucket, sku, pool)
        after_protect = pool - protected
        buffer = self.buffer(channel, bucket, sku, after_protect)
        value = after_protect - buffer
        if (share := self.winner("share", channel, bucket, sku)) and value > 0:
            value = _down(Fraction(share.percent) / 100 * value, self.step(sku))
        after_share = value
        for contract in self.matching("contract", sku):
            own = contract.for_channel == channel.id and contract.exclusive
            if own and self.reaches(contract, bucket):
                value = min(value, self.left(contract, sku))
        after_contract = value
        if backorder := self.winner("backorder", channel, bucket, sku):
            value += Fraction(backorder.limit)
        value = self.preorder(channel, bucket, sku, value)
        after_preorder = value
        if cap := self.winner("cap", channel, bucket, sku):
            value = min(value, Fraction(cap.units))
        if (least := self.winner("min_display", channel, bucket, sku)) and value < least.units:
            value = ZERO
        if self.winner("exclude", channel, bucket, sku):
            value = ZERO
        return Waterfall(
            pool=pool,
            protected_for_others=protected,
            after_protect=after_protect,
            buffer=buffer,
            after_share=after_share,
            after_contract=after_contract,
            after_preorder=after_preorder,
            available=max(ZERO, value),
            shown=self.shown(channel, sku, max(ZERO, value)),
        )

    def preorder(self, channel: Channel, bucket: Bucket, sku: str, value: Fraction) -> Fraction:
        rule = self.winner("preorder", channel, bucket, sku)
        if rule is None or self.hub.catalog.items[sku].kind == "bundle":
            return value
        due = sum(
            (
                min(
                    max(ZERO, self.position("incoming", sku, place)),
                    self.stock.due(sku, place, self.at + rule.horizon),
                )
                for place in bucket.locations
            ),
            ZERO,
        )
        promised = sum(
            (
                line.open
                for line in self.stock.lines
                if line.item == sku == line.sku
                and line.channel == channel.id
                and _within(rule, line.first_placed_at)
            ),
            ZERO,
        )
        return max(value, min(value + due, Fraction(rule.limit) - promised))

    def shown(self, channel: Channel, sku: str, value: Fraction) -> Fraction:
        units = next(
            (
                Fraction(row.units)
                for row in self.hub.catalog.identifiers
                if (row.system, row.sku) == (channel.system, sku)
            ),
            Fraction(1),
        )
        return _down(value / units, Fraction(1, 10**channel.decimals))

    # Auto buffer

    @cached_property
    def heard(self) -> dict[str, datetime]:
        heard: dict[str, datetime] = {}
        told = [(e["system"], e["occurred_at"]) for e in self.events if e["occurred_at"] <= self.at]
        told += [(s.system, s.as_of) for s in self.stock.snapshots]
        for system, moment in told:
            heard[system] = max(moment, heard.get(system, moment))
        return heard

    def auto_buffer(self, rule: Rule, bucket: Bucket, sku: str) -> Fraction:
        owners = {self.stock.owner("on_hand", place) for place in bucket.locations} - {None}
        if not owners or any(owner not in self.heard for owner in owners):
            return Fraction(rule.auto.max_units)
        age = self.at - min(self.heard[owner] for owner in owners)
        hours = Fraction(-(-age // QUARTER), 4)
        window = Fraction(rule.auto.window // timedelta(microseconds=1), 3_600_000_000)
        rate = self.sold(bucket, sku, rule.auto.window) / window
        return min(
            Fraction(rule.auto.max_units),
            _up(rate * hours * Fraction(rule.auto.factor), self.step(sku)),
        )

    def sold(self, bucket: Bucket, sku: str, window: timedelta) -> Fraction:
        total = ZERO
        for e in self.stock.events:
            if (
                e["type"] not in ("order_placed", "pos_sale")
                or e["occurred_at"] <= self.at - window
            ):
                continue
            units = dict(self.stock.components(e)).get(sku, ZERO)
            if e["sku"] == sku:
                units = Fraction(e["quantity_milli"], 1000)
            if e["type"] == "pos_sale":
                owned = self.stock.owns(e["system"], "on_hand", e["location"])
                total += units if owned and e["location"] in bucket.locations else ZERO
                continue
            placed = [
                x
                for x in self.stock.of_line((e["system"], e["order_id"], e["line_id"]))
                if x["type"] == "order_placed"
            ]
            place = self.stock.latest(placed, "location")
            channel = self.stock.latest(placed, "channel")
            if place is not None:
                inside = place in bucket.locations
            else:
                inside = channel is None or bool(self.places(channel) & set(bucket.locations))
            total += units if inside else ZERO
        return total


def _units(rule: Rule | None) -> Fraction:
    return ZERO if rule is None else Fraction(rule.units)


def _within(rule: Rule, moment: datetime) -> bool:
    return (rule.from_at is None or rule.from_at <= moment) and (
        rule.until_at is None or moment < rule.until_at
    )


def _down(value: Fraction, step: Fraction) -> Fraction:
    return floor(value / step) * step


def _up(value: Fraction, step: Fraction) -> Fraction:
    return ceil(value / step) * step
