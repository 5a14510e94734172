"""A channel that misbehaves in every way that is known of channels, and a hub that pushes to it."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta

from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from inventory_pipeline.config.policy import Guard
from inventory_pipeline.core.errors import (
    ChannelBusy,
    ChannelRefused,
    OutcomeUnknown,
    StaleCompare,
)
from inventory_pipeline.core.ledger import LedgerEvent
from inventory_pipeline.core.ports import (
    Basis,
    Capabilities,
    Completion,
    Level,
    ListingRef,
    Receipt,
    Write,
    WriteOutcome,
)
from inventory_pipeline.core.vocabulary import Mode, MovesAt
from inventory_pipeline.flow.push import push_channel
from inventory_pipeline.memory import attempts, ledger, outbox, sync
from inventory_pipeline_tests.fakes import Clock, context, small_hub


def run(machine, bench, *, examples):
    """Runs a state machine; `bench` gives it a merchant on a clean database."""
    run_state_machine_as_test(
        type("Machine", (machine,), {"bench": staticmethod(bench)}),
        settings=settings(
            max_examples=examples,
            stateful_step_count=25,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            phases=(Phase.explicit, Phase.generate, Phase.shrink),
            print_blob=False,
        ),
    )


SKUS = "ABC"
POLL = 10  # seconds, as of small_hub
FAULTS = ("busy", "refused", "before", "after", "half", "late", "silent", "killed", "killed_after")


class Killed(BaseException):
    """The process ends here, as kill -9 ends it."""


@dataclass
class Channel:
    """Levels by sku in whole units: what is physically there, and what it holds for its orders."""

    clock: Clock
    capabilities: Capabilities
    system: str = "shop"
    on_hand: dict[str, int] = field(default_factory=lambda: dict.fromkeys(SKUS, 0))
    held: dict[str, int] = field(default_factory=lambda: dict.fromkeys(SKUS, 0))
    faults: list[str] = field(default_factory=list)
    sells_meanwhile: list[str] = field(default_factory=list)  # skus sold inside the next writes
    sold: list = field(default_factory=list)  # called with a sku by whoever wants to know
    known_keys: dict[str, list] = field(default_factory=dict)
    contents: dict[str, list] = field(default_factory=dict)
    late: list = field(default_factory=list)
    lagging: list = field(default_factory=list)  # (when, sku, units) that it will hold or take off
    jobs: dict[str, list] = field(default_factory=dict)
    writes: list[tuple[str, int, int]] = field(default_factory=list)  # sku, before, after
    reads: list[str] = field(default_factory=list)

    def available(self, sku):
        return self.on_hand[sku] - self.held[sku]

    def free(self, sku):
        """What it can still sell, orders that have not lowered its number yet left out."""
        return self.available(sku) - sum(units for _, of, units in self.lagging if of == sku)

    def sell(self, sku, units, *, lag_s=0):
        """An order: on_hand stays until it is shipped. Its number falls `lag_s` later."""
        if lag_s:
            self.lagging.append((self.clock() + timedelta(seconds=lag_s), sku, units))
        elif self.capabilities.basis is Basis.ON_HAND:
            self.held[sku] += units
        else:
            self.on_hand[sku] -= units

    def restore(self, sku, units):
        """An order that is cancelled gives its units back."""
        self.sell(sku, -units)

    def ship(self, sku):
        self.on_hand[sku] -= self.held[sku]
        self.held[sku] = 0

    def read_levels(self, listings: Sequence[ListingRef] | None):
        self._catch_up()
        if self.faults and self.faults[0] == "busy":
            self.faults.pop(0)
            raise ChannelBusy("429", system="shop", call="read", retry_after_s=1)
        for listing in listings or ():
            self.reads.append(listing.external_id)
            yield Level(
                listing=listing,
                quantity_milli=self.on_hand[listing.external_id] * 1000,
                reserved_milli=self.held[listing.external_id] * 1000,
                asked_at=self.clock(),
                answered_at=self.clock(),
            )

    def write_levels(self, writes, *, key):
        assert 0 < len(writes) <= self.capabilities.batch_size
        content = [(w.listing.external_id, w.quantity_milli, w.compare_milli) for w in writes]
        assert self.contents.setdefault(key, content) == content, "one key, one content"
        for write in writes:
            assert write.quantity_milli != write.compare_milli, "nothing to change"
        self._catch_up()
        fault = self.faults.pop(0) if self.faults else ""
        self._fail_before(fault, writes, key)
        while self.sells_meanwhile:
            sku = self.sells_meanwhile.pop()
            for tell in self.sold:
                tell(sku)
        if self.capabilities.completion is Completion.JOB:
            return self._accept(writes, key, fault)
        applied = writes[: len(writes) // 2] if fault == "half" else writes
        outcomes = self._apply(applied, key)
        if fault in {"after", "half"}:
            raise OutcomeUnknown("timeout", system="shop", call="write")
        if fault == "killed_after":
            raise Killed
        return outcomes[1:] if fault == "silent" else outcomes

    def _fail_before(self, fault, writes, key):
        match fault:
            case "busy":
                raise ChannelBusy("429", system="shop", call="write", retry_after_s=2)
            case "refused":
                raise ChannelRefused("one of these", system="shop", call="write")
            case "before":
                raise OutcomeUnknown("timeout", system="shop", call="write")
            case "late":
                self.late.append((writes, key))
                raise OutcomeUnknown("timeout", system="shop", call="write")
            case "killed":
                raise Killed

    def poll_receipt(self, receipt, writes):
        self._catch_up()
        job = receipt.body["job"]
        if job not in self.jobs:
            return None
        return self.jobs[job]

    def _accept(self, writes, key, fault):
        if key not in self.known_keys:
            self.late.append((writes, key))
        if fault in {"after", "half"}:
            raise OutcomeUnknown("timeout", system="shop", call="write")
        if fault == "killed_after":
            raise Killed
        receipt = Receipt(
            body={"job": key},
            poll_after=self.clock() + timedelta(seconds=2),
            give_up_at=self.clock() + timedelta(seconds=30),
        )
        return [WriteOutcome(write=write, error=None, receipt=receipt) for write in writes]

    def _catch_up(self):
        """What was accepted before, or answered too late, has been applied by now."""
        due = [sale for sale in self.lagging if sale[0] <= self.clock()]
        self.lagging = [sale for sale in self.lagging if sale not in due]
        for _, sku, units in due:
            self.sell(sku, units)
        waiting, self.late = self.late, []
        for writes, key in waiting:
            self.jobs[key] = self._apply(writes, key)

    def _apply(self, writes, key):
        if self.capabilities.idempotency is not None and key in self.known_keys:
            return self.known_keys[key]
        stale = [self._stale(write) for write in writes]
        if self.capabilities.atomic_batch and any(stale):
            return [
                WriteOutcome(
                    write=write,
                    error=error
                    or ChannelBusy("spoiled", system="shop", call="write", retry_after_s=0),
                )
                for write, error in zip(writes, stale, strict=True)
            ]
        outcomes = [
            WriteOutcome(write=write, error=error or self._set(write))
            for write, error in zip(writes, stale, strict=True)
        ]
        self.known_keys[key] = outcomes
        return outcomes

    def _stale(self, write):
        if not self.capabilities.compare_and_swap:
            return None
        if write.compare_milli == self.on_hand[write.listing.external_id] * 1000:
            return None
        return StaleCompare("it moved", system="shop", call="write")

    def _set(self, write):
        sku = write.listing.external_id
        before = self.available(sku)
        if self.capabilities.write is Write.DELTA:
            self.on_hand[sku] += write.delta_milli // 1000
        else:
            self.on_hand[sku] = write.quantity_milli // 1000
        self.writes.append((sku, before, self.available(sku)))

    def close(self):
        pass


class Merchant:
    """The hub's side: stock, orders on their way, and a drain that pushes. Units are whole."""

    def __init__(self, pg, tmp_path, capabilities, *, mode=Mode.LIVE):
        self.clock = Clock()
        self.channel = Channel(self.clock, capabilities)
        self.channel.sold.append(self.sold)
        hub = small_hub(mode=mode)
        # These are about sending: nothing is held.
        free = replace(hub.channels["web"], guard=Guard(min_listings=1_000_000))
        hub = replace(hub, channels={"web": free})
        self.ctx = context(hub, pg, tmp_path, self.clock, self.channel)
        self.stock = dict.fromkeys(SKUS, 0)
        self.counted = dict.fromkeys(SKUS, 0)  # ordered units that the hub knows of
        self.bought = dict.fromkeys(SKUS, 0)
        self.most = {}  # the most that is offered of a sku, whatever there is
        self.standing = []  # orders that nobody has cancelled
        self.offset = 0
        self.orders = 0
        self.pending = []
        self.placed = {}  # by order id, what has reached the ledger
        self.take_over()

    def take_over(self):
        with sync.drain_lock(self.ctx.pg, holder="test", wait=True) as epoch:
            self.epoch = epoch
        with self.ctx.pg.connection() as connection:
            attempts.abandon_open_attempts(connection, epoch=epoch, at=self.clock())

    def desired(self, sku):
        there = max(0, self.stock[sku] - self.counted[sku])
        return min(there, self.most.get(sku, there))

    def truly_available(self, sku):
        return max(0, self.stock[sku] - self.bought[sku])

    def count_stock(self, **stock):
        """What a shelf holds, orders not shipped included."""
        self.stock.update(stock)
        with self.ctx.pg.connection() as connection:
            self._store(connection, stock)

    def cap(self, sku, units):
        """No more than so many are offered: a sale need not change what is desired."""
        self.most[sku] = units
        with self.ctx.pg.connection() as connection:
            self._store(connection, [sku])

    def sold(self, sku, units=1, *, lag_s=0):
        """The channel sells by itself; its order comes later."""
        if self.channel.free(sku) < units:
            return
        self.channel.sell(sku, units, lag_s=lag_s)
        self.bought[sku] += units
        self.orders += 1
        order = LedgerEvent(
            system="shop", event_id=f"o{self.orders}", type="order_placed",
            occurred_at=self.clock(), received_at=self.clock(), content_hash=b"", raw="{}",
            source="test", position="1", item=sku, sku=sku, quantity_milli=units * 1000,
            order_id=str(self.orders), line_id="1", channel="web",
        )  # fmt: skip
        self.pending.append(order)
        if not lag_s:
            self.standing.append(order)

    def cancel(self, place=0, *, whole=False):
        """A customer cancels: a line, or an order as a whole, which names no item."""
        order = self.standing.pop(place % len(self.standing))
        units = order.quantity_milli // 1000
        if (
            self.channel.capabilities.basis is Basis.ON_HAND
            and self.channel.held[order.sku] < units
        ):
            return  # it was shipped
        if "cancel" in self.channel.capabilities.restores_on:
            self.channel.restore(order.sku, units)
        self.bought[order.sku] -= units
        gone = {"item": None, "sku": None, "quantity_milli": None, "line_id": None}
        self.pending.append(
            replace(
                order, event_id=f"c{order.order_id}", type="order_cancelled",
                occurred_at=self.clock(), **(gone if whole else {}),
            )
        )  # fmt: skip

    def deliver(self, place=0):
        """One of the events on their way reaches the ledger, and the cycle computes it. A cancel
        never overtakes its order.
        """
        event = self.pending[place % len(self.pending)]
        event = next(one for one in self.pending if one.order_id == event.order_id)
        self.pending.remove(event)
        order = self.placed.setdefault(event.order_id, event)
        units = order.quantity_milli // 1000
        event = replace(event, received_at=self.clock())
        with self.ctx.pg.connection() as connection:
            before = ledger.head(connection)
            ledger.append_events(
                connection, [event], [], received_at=self.clock(), mapping_version=1
            )
            head = ledger.head(connection)
            self.counted[order.sku] += units if event.type == "order_placed" else -units
            self._store(connection, [order.sku])
            outbox.look_at_own_events(connection, {"shop": ["web"]}, after=before, upto=head)
            sync.move(connection, ledger_offset=head, computed_at=self.clock(), next_wakeup_at=None)

    def _store(self, connection, skus):
        self.offset += 1
        rows = [
            {
                "channel": "web", "bucket": "main", "bucket_external": "1", "external_id": sku,
                "sku": sku, "units_milli": 1000, "desired_milli": self.desired(sku) * 1000,
                "ledger_offset": self.offset, "occurred_at": self.clock(),
                "received_at": self.clock(), "listed": True,
            }
            for sku in skus
        ]  # fmt: skip
        outbox.store_desired(
            connection, rows, policy_version=1, mapping_version=1, computed_at=self.clock()
        )

    def push(self):
        try:
            return push_channel(self.ctx, "web", self.epoch)
        except Killed:
            self.take_over()
            return None

    def reconcile(self, *skus):
        with self.ctx.pg.connection() as connection:
            outbox.repush(connection, "web", [("main", sku) for sku in skus])

    def rows(self, sql, *values):
        with self.ctx.pg.connection() as connection:
            return connection.execute(sql, values).fetchall()


MOVING = Capabilities(
    levels=True, write=Write.ABSOLUTE, batch_size=2, moves_at=MovesAt.ORDER,
)  # fmt: skip
