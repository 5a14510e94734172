"""Thousands of listings, and variances of known cause planted among them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal

from inventory_pipeline.config.policy import Catalog, Hub, Item
from inventory_pipeline.core.ledger import LedgerEvent
from inventory_pipeline.core.ports import Capabilities, Level, ListingRef, RawEvent, Write
from inventory_pipeline.core.vocabulary import Cause, MovesAt
from inventory_pipeline.flow.cycle import selling_systems
from inventory_pipeline.memory import ledger, outbox, sync
from inventory_pipeline_tests.fakes import small_hub

SHOWN = 40  # units that stand everywhere before anything is planted
BEFORE = 47  # what stood there before the last push
SOLD = 3
ODD = 13  # a difference that nothing explains


@dataclass
class Shelf:
    """A channel that shows thousandths, knows when they changed, and lists its orders."""

    clock: object
    system: str = "shop"
    levels: dict[str, int] = field(default_factory=dict)  # external id → thousandths
    changed: dict[str, datetime] = field(default_factory=dict)
    orders: list[RawEvent] = field(default_factory=list)
    capabilities: Capabilities = field(
        default_factory=lambda: Capabilities(
            levels=True,
            write=Write.ABSOLUTE,
            compare_and_swap=True,
            moves_at=MovesAt.ORDER,
            restores_on=frozenset({"cancel"}),
        )
    )
    reads: int = 0

    def read_levels(self, listings: Sequence[ListingRef] | None) -> Iterator[Level]:
        at = self.clock()
        self.reads += 1
        ids = list(self.levels) if listings is None else [one.external_id for one in listings]
        for external_id in ids:
            if external_id in self.levels:
                yield Level(
                    listing=ListingRef(bucket="main", bucket_external="1", external_id=external_id),
                    quantity_milli=self.levels[external_id],
                    asked_at=at,
                    answered_at=at,
                    changed_at=self.changed.get(external_id),
                )

    def orders_since(self, since: datetime) -> Iterator[RawEvent]:
        yield from self.orders

    def close(self) -> None:
        pass


def wide_hub(skus: Sequence[str]) -> Hub:
    items = {
        sku: Item(sku=sku, title=sku, kind="simple", decimals=0, price=Decimal(2)) for sku in skus
    }
    return replace(small_hub(), catalog=Catalog(items=items))


class Field:
    """Listings pushed an hour ago; `plant` spoils some of them and remembers why."""

    def __init__(self, ctx, shelf: Shelf, skus: Sequence[str]) -> None:
        self.ctx = ctx
        self.shelf = shelf
        self.free = list(skus)
        self.truth: dict[str, Cause] = {}
        self.pushed_at = ctx.clock() - timedelta(hours=1)
        with ctx.pg.connection() as connection:
            connection.execute(
                "INSERT INTO hub.outbox (channel, bucket, external_id, bucket_external, sku,"
                " units_milli, desired_milli, desired_offset, policy_version, mapping_version,"
                " computed_at, base_milli, base_kind, base_sent_at, base_answered_at, look)"
                " SELECT 'web', 'main', s, '1', s, 1000, %(q)s, 1, 1, 1, %(at)s, %(q)s, 'write',"
                " %(at)s, %(at)s, false FROM unnest(%(skus)s::text[]) s",
                {"q": SHOWN * 1000, "at": self.pushed_at, "skus": list(skus)},
            )
            connection.execute(
                "INSERT INTO hub.attempts (key, channel, bucket, external_id, sku, epoch,"
                " quantity_milli, compare_milli, desired_offset, policy_version, mode,"
                " computed_at, sent_at, answered_at, outcome)"
                " SELECT 'k-' || s, 'web', 'main', s, s, 1, %(q)s, %(b)s, 1, 1, 'live', %(at)s,"
                " %(at)s, %(at)s, 'acked' FROM unnest(%(skus)s::text[]) s",
                {
                    "q": SHOWN * 1000, "b": BEFORE * 1000, "at": self.pushed_at,
                    "skus": list(skus),
                },
            )  # fmt: skip
        shelf.levels.update(dict.fromkeys(skus, SHOWN * 1000))

    def take(self, count: int) -> list[str]:
        taken, self.free = self.free[:count], self.free[count:]
        assert len(taken) == count
        return taken

    def plant(self, cause: Cause, count: int) -> list[str]:
        skus = self.take(count)
        getattr(self, f"_{cause}")(skus)
        self.truth.update(dict.fromkeys(skus, cause))
        return skus

    def sold(self, skus: Sequence[str], units: int = SOLD, *, prefix: str = "o") -> list:
        """Events of orders half an hour ago, not ingested yet."""
        at = self.ctx.clock() - timedelta(minutes=30)
        return [
            LedgerEvent(
                system="shop", event_id=f"{prefix}-{sku}", type="order_placed", occurred_at=at,
                received_at=at, content_hash=b"", raw="{}", source="test", position="1", item=sku,
                sku=sku, quantity_milli=units * 1000, order_id=f"{prefix}-{sku}", line_id="1",
                channel="web",
            )
            for sku in skus
        ]  # fmt: skip

    def ingest(self, events: list) -> None:
        with self.ctx.pg.connection() as connection:
            ledger.append_events(
                connection, events, [], received_at=self.ctx.clock(), mapping_version=1
            )
            before, head = sync.state(connection).ledger_offset, ledger.head(connection)
            outbox.look_at_own_events(
                connection, selling_systems(self.ctx), after=before, upto=head
            )
            sync.move(
                connection, ledger_offset=head,
                computed_at=self.ctx.clock(), next_wakeup_at=None,
            )  # fmt: skip

    def moves(self, skus: Sequence[str], by_milli: int) -> None:
        for sku in skus:
            self.shelf.levels[sku] += by_milli

    def _sql(self, query: str, skus: Sequence[str], **values) -> None:
        with self.ctx.pg.connection() as connection:
            connection.execute(query, {"skus": list(skus), "now": self.ctx.clock(), **values})

    def _under_way(self, skus: Sequence[str], state: str) -> None:
        self._sql("UPDATE hub.outbox SET open_key = 'open-' || sku WHERE sku = ANY(%(skus)s)", skus)
        self._sql(
            "INSERT INTO hub.intents (channel, key, epoch, mode, state, sent_at, until, buckets,"
            " external_ids, quantities, written, compared) SELECT 'web', 'open-' || s, 1, 'live',"
            " %(state)s, %(now)s, %(now)s + interval '1 hour', '{main}', ARRAY[s], '{1}', '{1}',"
            " '{1}' FROM unnest(%(skus)s::text[]) s",
            skus,
            state=state,
        )
        self.moves(skus, -ODD * 1000)

    def _in_flight(self, skus: Sequence[str]) -> None:
        self._under_way(skus, "sent")

    def _not_yet_applied(self, skus: Sequence[str]) -> None:
        self._under_way(skus, "accepted")

    def _push_failed(self, skus: Sequence[str]) -> None:
        third = len(skus) // 3
        dead, held, failed = skus[:third], skus[third : 2 * third], skus[2 * third :]
        self._sql("UPDATE hub.outbox SET dead_at = %(now)s WHERE sku = ANY(%(skus)s)", dead)
        self._sql(
            "INSERT INTO hub.holds (channel, bucket, external_id, sku, state, from_milli,"
            " from_offset, from_at, desired_milli, why, held_at) SELECT 'web', 'main', s, s,"
            " 'held', 0, 0, %(now)s, %(q)s, 'too many at once', %(now)s"
            " FROM unnest(%(skus)s::text[]) s",
            held,
            q=SHOWN * 1000,
        )
        self._sql(
            "INSERT INTO hub.attempts (key, channel, bucket, external_id, sku, epoch,"
            " quantity_milli, compare_milli, desired_offset, policy_version, mode, computed_at,"
            " sent_at, answered_at, outcome, error) SELECT 'f-' || s, 'web', 'main', s, s, 1, 1, 1,"
            " 1, 1, 'live', %(now)s, %(now)s, %(now)s, 'unknown', 'shop write ' || s || ': 502'"
            " FROM unnest(%(skus)s::text[]) s",
            failed,
        )
        self.moves(skus, -ODD * 1000)

    def _unmapped(self, skus: Sequence[str]) -> None:
        self._sql("UPDATE hub.outbox SET listed = false WHERE sku = ANY(%(skus)s)", skus)

    def _not_listed(self, skus: Sequence[str]) -> None:
        for sku in skus:
            del self.shelf.levels[sku]

    def _order_not_ingested(self, skus: Sequence[str]) -> None:
        at = self.ctx.clock() - timedelta(minutes=30)
        self.shelf.orders += [
            RawEvent(
                body={
                    "event_id": f"lost-{sku}", "type": "order_placed",
                    "occurred_at": at.isoformat(), "order_id": f"lost-{sku}", "line_id": "1",
                    "item": sku, "quantity": SOLD,
                },
                source="poll orders", position=f"lost-{sku}",
            )
            for sku in skus
        ]  # fmt: skip
        self.moves(skus, -SOLD * 1000)

    def _lost_update(self, skus: Sequence[str]) -> None:
        self.moves(skus, (BEFORE - SHOWN) * 1000)

    def _duplicate_effect(self, skus: Sequence[str]) -> None:
        self.ingest(self.sold(skus, prefix="twice"))
        self.moves(skus, -2 * SOLD * 1000)

    def _rounding(self, skus: Sequence[str]) -> None:
        self.moves(skus, -400)

    def _external_edit(self, skus: Sequence[str]) -> None:
        self.moves(skus, ODD * 1000)
        for sku in skus:
            self.shelf.changed[sku] = self.pushed_at + timedelta(minutes=5)

    def _unexplained(self, skus: Sequence[str]) -> None:
        self.moves(skus, ODD * 1000)
