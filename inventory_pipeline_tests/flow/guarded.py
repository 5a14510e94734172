"""One channel with many listings, whose planned writes the guard judges and a test sends."""

from dataclasses import replace
from datetime import timedelta

from inventory_pipeline.config.policy import Catalog, Guard, Item
from inventory_pipeline.core.ledger import LedgerEvent
from inventory_pipeline.core.outbox import PlannedWrite, plan_writes
from inventory_pipeline.core.ports import Level, ListingRef
from inventory_pipeline.core.vocabulary import Mode, MovesAt
from inventory_pipeline.flow.cycle import selling_systems
from inventory_pipeline.flow.guard import judge
from inventory_pipeline.memory import guard, ledger, outbox, sync
from inventory_pipeline_tests.fakes import (
    SELLING_WITH_COMPARE,
    START,
    Clock,
    FakeChannel,
    context,
    happened,
    small_hub,
)

CHANNEL = "web"


class Guarded:
    """Listings S0, S1, … of one channel. `want` says what each should show, `push` asks the guard
    and sends what it lets pass, as an attempt and an answer would store it.
    """

    def __init__(
        self,
        pg,
        tmp_path,
        listings,
        *,
        guard=None,
        moves_at=MovesAt.ORDER,
        parts=(),
        mode=Mode.LIVE,
    ):
        self.clock = Clock(START)
        self.shop = FakeChannel(
            self.clock, capabilities=replace(SELLING_WITH_COMPARE, moves_at=moves_at)
        )
        hub = small_hub(mode=mode)
        skus = [f"S{n}" for n in range(listings)]
        items = {
            sku: Item(sku=sku, title=sku, kind="simple", decimals=0)
            for sku in [*skus, *(part.bundle_sku for part in parts)]
        }
        channel = replace(hub.channels[CHANNEL], guard=guard or Guard(), canary_skus=("S1*",))
        hub = replace(
            hub, catalog=Catalog(items=items, parts=tuple(parts)), channels={CHANNEL: channel}
        )
        self.ctx = context(hub, pg, tmp_path, self.clock, self.shop)
        self.skus = skus
        self.offset = 0

    @property
    def channel(self):
        return self.ctx.hub.channels[CHANNEL]

    def again(self):
        """Another process: it remembers nothing."""
        self.ctx = replace(self.ctx, tallies={})

    def shows(self, **units):
        """What the channel shows, read just now; everything is settled."""
        self.want(**units)
        levels = [
            Level(
                listing=ListingRef(bucket="main", bucket_external="1", external_id=sku),
                quantity_milli=number * 1000, asked_at=self.clock(), answered_at=self.clock(),
            )
            for sku, number in units.items()
        ]  # fmt: skip
        with self.ctx.pg.connection() as connection:
            outbox.store_readings(connection, CHANNEL, levels)
            connection.execute("UPDATE hub.outbox SET look = false")
        self.clock.pass_(hours=1)

    def want(self, **units):
        """A cycle: desired values, and the cursor at the ledger's head."""
        self.clock.pass_(seconds=1)
        with self.ctx.pg.connection() as connection:
            head = connection.execute("SELECT ledger_offset FROM hub.counter").fetchone()[0]
            self.offset = max(self.offset, head)
            rows = [
                {
                    "channel": CHANNEL, "bucket": "main", "bucket_external": "1",
                    "external_id": sku, "sku": sku, "units_milli": 1000,
                    "desired_milli": number * 1000, "ledger_offset": self.offset,
                    "occurred_at": self.clock(), "received_at": self.clock(), "listed": True,
                }
                for sku, number in units.items()
            ]  # fmt: skip
            outbox.store_desired(
                connection, rows, policy_version=1, mapping_version=1, computed_at=self.clock()
            )
            outbox.look_at_own_events(
                connection, selling_systems(self.ctx), upto=self.offset,
                after=sync.state(connection).ledger_offset,
            )  # fmt: skip
            sync.move(
                connection, ledger_offset=self.offset, computed_at=self.clock(), next_wakeup_at=None
            )

    def every(self, number, count=None):
        return dict.fromkeys(self.skus[:count], number)

    def imported(self):
        """Something that is no order came in: a snapshot."""
        with self.ctx.pg.connection() as connection:
            connection.execute(
                "INSERT INTO hub.ledger (ledger_offset, kind, occurred_at, received_at,"
                " mapping_version, source, position) SELECT ledger_offset + 1, 'snapshot', %s, %s,"
                " 1, 'test', '' FROM hub.counter",
                (self.clock(), self.clock()),
            )
            connection.execute("UPDATE hub.counter SET ledger_offset = ledger_offset + 1")

    def sold(self, sku, units, number, **more):
        fields = {"system": "wms", "order_id": str(number), "line_id": "1"} | more
        return happened(self.ctx, "order_placed", sku, units, **fields)

    def cancelled(self, number):
        """The whole order; such an event names no item."""
        event = LedgerEvent(
            system="wms", event_id=f"c{number}", type="order_cancelled", occurred_at=self.clock(),
            received_at=self.clock(), content_hash=b"", raw="{}", source="test", position="1",
            order_id=str(number),
        )  # fmt: skip
        with self.ctx.pg.connection() as connection:
            ledger.append_events(
                connection, [event], [], received_at=self.clock(), mapping_version=1
            )

    def planned(self):
        with self.ctx.pg.connection() as connection:
            rows = outbox.rows_to_look_at(
                connection, self.channel, self.shop.capabilities, now=self.clock(), limit=10_000
            )
        return plan_writes(rows)

    def push(self, writes=None):
        """What the guard said; what it let pass is shown and acknowledged."""
        planned = self.planned() if writes is None else writes
        judged = judge(self.ctx, self.channel, planned, now=self.clock())
        for write in judged.send:
            self.acknowledge(write)
        return judged

    def acknowledge(self, write: PlannedWrite):
        place = (CHANNEL, write.row.listing.bucket, write.row.listing.external_id)
        at = self.clock()
        settled = write.quantity_milli == write.row.desired_milli
        with self.ctx.pg.connection() as connection:
            connection.execute(
                "INSERT INTO hub.attempts (key, channel, bucket, external_id, sku, epoch,"
                " quantity_milli, compare_milli, desired_offset, policy_version, mode, computed_at,"
                " sent_at, answered_at, outcome) VALUES (%s, %s, %s, %s, %s, 1, %s, %s, %s, 1,"
                " 'live', %s, %s, %s, 'acked')",
                (
                    f"{at.isoformat()}{write.quantity_milli}", *place, write.row.sku,
                    write.quantity_milli, write.compare_milli, write.row.desired_offset,
                    write.row.computed_at, at, at,
                ),
            )  # fmt: skip
            connection.execute(
                "UPDATE hub.outbox SET base_milli = %s, base_kind = 'write', base_sent_at = %s,"
                " base_answered_at = %s, look = NOT %s"
                " WHERE channel = %s AND bucket = %s AND external_id = %s",
                (write.quantity_milli, at, at, settled, *place),
            )

    def shown(self):
        """Sku → units that the channel shows by the hub's own account."""
        with self.ctx.pg.connection() as connection:
            rows = connection.execute("SELECT sku, base_milli FROM hub.outbox ORDER BY sku")
            return {sku: milli // 1000 for sku, milli in rows}

    def held(self, **options):
        with self.ctx.pg.connection() as connection:
            return guard.held_rows(connection, CHANNEL, **options)

    def decide(self, verb, *skus):
        places = [(CHANNEL, "main", sku) for sku in skus]
        with self.ctx.pg.connection() as connection:
            return verb(connection, places, by="ops", reason="looked at it", at=self.clock())

    def pass_(self, **amount):
        self.clock.pass_(**amount)


def minutes(count):
    return timedelta(minutes=count)
