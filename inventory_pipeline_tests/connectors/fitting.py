"""Small connectors of seven systems that the hub does not bring: what each of them asks of the
protocol. The other side of their writes is numbers in memory.
"""

import base64
import hashlib
import hmac
import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, ClassVar
from urllib.parse import parse_qs, quote, urlsplit

from inventory_pipeline.connectors.http import Caller, Purpose, Trouble, as_error
from inventory_pipeline.connectors.limiter import InProcessLimiter
from inventory_pipeline.core.errors import ChannelRefused, StaleCompare, WebhookRefused
from inventory_pipeline.core.limits import Window
from inventory_pipeline.core.ports import (
    Answer,
    Basis,
    Capabilities,
    ChangePage,
    Completion,
    Cursor,
    Delivery,
    Level,
    LevelHint,
    LevelWrite,
    ListingRef,
    Opening,
    RawEvent,
    RawSnapshot,
    Receipt,
    Verified,
    Write,
    WriteOutcome,
)
from inventory_pipeline.core.vocabulary import MovesAt
from inventory_pipeline_tests.connectors.curve import fits

BIGCOMMERCE_CALLS = Window(name="calls", units=150, seconds=30)
WALMART_FEEDS = Window(name="feeds", units=10, seconds=3600)


class System:
    """What all seven share: numbers in memory, and nothing that is not named."""

    EXAMPLE: ClassVar[dict[str, Any]] = {}
    capabilities: Capabilities

    def __init__(self, opening: Opening) -> None:
        self.system = opening.system
        self.options = opening.options
        self.clock = opening.clock or (lambda: datetime.now(UTC))
        self.limiter = opening.limiter or InProcessLimiter(opening.system)
        self.remote: dict[str, int] = {}  # external id → thousandths
        self.calls: list[Any] = []

    def snapshots(self, seen: frozenset[str]) -> Iterator[RawSnapshot]:
        raise NotImplementedError

    def changes(self, cursor: Cursor) -> ChangePage:
        raise NotImplementedError

    def verify(self, delivery: Delivery) -> Verified:
        raise NotImplementedError

    def parse(self, topic: str, delivery: Delivery) -> Sequence[RawEvent]:
        return []

    def read_levels(self, listings: Sequence[ListingRef] | None) -> Iterator[Level]:
        for listing in listings or map(_somewhere, self.remote):
            if listing.external_id in self.remote:
                yield Level(
                    listing=listing,
                    quantity_milli=self.remote[listing.external_id],
                    asked_at=self.clock(),
                    answered_at=self.clock(),
                    reserved_milli=self.reserved_milli(listing.external_id),
                )

    def reserved_milli(self, external_id: str) -> int:
        return 0

    def write_levels(self, writes: Sequence[LevelWrite], *, key: str) -> list[WriteOutcome]:
        assert len(writes) <= self.capabilities.batch_size
        self.calls.append([(w.listing.external_id, w.quantity_milli // 1000) for w in writes])
        return [WriteOutcome(write=write, error=self.written(write)) for write in writes]

    def written(self, write: LevelWrite) -> ChannelRefused | StaleCompare | None:
        self.remote[write.listing.external_id] = write.quantity_milli
        return None

    def close(self) -> None: ...


def _somewhere(external_id: str) -> ListingRef:
    return ListingRef(bucket="main", bucket_external="1", external_id=external_id)


class BigCommerce(System):
    """Bulk writes one at a time that show later; webhooks sign their id, their time and the body,
    and tell levels.
    """

    SECRET = b"client secret"
    capabilities = Capabilities(
        changes=True, webhooks=True, levels=True, write=Write.ABSOLUTE, batch_size=2_000,
        atomic_batch=True, completion=Completion.EVENTUAL, one_write_at_a_time=True,
        moves_at=MovesAt.ORDER, applied_within=timedelta(minutes=2),
    )  # fmt: skip

    def write_levels(self, writes: Sequence[LevelWrite], *, key: str) -> list[WriteOutcome]:
        self.limiter.take(BIGCOMMERCE_CALLS, 1, patience_s=1, urgent=True)
        return super().write_levels(writes, key=key)

    def verify(self, delivery: Delivery) -> Verified:
        name = delivery.headers.get("webhook-id", "")
        stamp = delivery.headers.get("webhook-timestamp", "")
        told = f"{name}.{stamp}.".encode() + delivery.body
        wanted = base64.b64encode(hmac.digest(self.SECRET, told, "sha256")).decode()
        given = delivery.headers.get("webhook-signature", "").removeprefix("v1,")
        if not hmac.compare_digest(given.encode(), wanted.encode()):
            raise WebhookRefused("the signature does not fit", system=self.system)
        return Verified(
            topic=json.loads(delivery.body)["scope"],
            delivery_id=name,
            signed_at=datetime.fromtimestamp(int(stamp), UTC),
        )

    def hints(self, topic: str, delivery: Delivery) -> Sequence[LevelHint]:
        if topic != "store/sku/inventory/updated":
            return []
        said = json.loads(delivery.body)
        stock = said["data"]["inventory"]
        return [
            LevelHint(
                external_id=str(stock["variant_id"]),
                quantity_milli=stock["value"] * 1000,
                told_at=datetime.fromtimestamp(said["created_at"], UTC),
            )
        ]


class EBay(System):
    """Asks whose address it is, signs with a key that is asked for, refuses zero, and lets a
    listing be revised 250 times a day.
    """

    EXAMPLE: ClassVar[dict[str, Any]] = {
        "url": "https://api.example.com", "token": "t" * 32, "endpoint": "https://hub.example.com",
    }  # fmt: skip
    capabilities = Capabilities(
        changes=True, webhooks=True, levels=True, write=Write.ABSOLUTE, batch_size=1,
        revisions_per_day=250, takes_zero=False, slow_verify=True, moves_at=MovesAt.ORDER,
        restores_on=frozenset({"cancel"}),
    )  # fmt: skip

    def __init__(self, opening: Opening) -> None:
        super().__init__(opening)
        self.keys: dict[str, str] = {}
        self.caller = Caller(
            system=self.system, base_url=self.options["url"], timeout_s=2, limiter=opening.limiter
        )

    def challenge(self, asked: Delivery) -> Answer:
        codes = parse_qs(urlsplit(asked.url).query).get("challenge_code", [])
        if len(codes) != 1:
            raise WebhookRefused("no challenge_code", system=self.system, status=400)
        told = codes[0] + self.options["token"] + self.options["endpoint"]
        answer = {"challengeResponse": hashlib.sha256(told.encode()).hexdigest()}
        return Answer(body=json.dumps(answer).encode())

    def verify(self, delivery: Delivery) -> Verified:
        try:
            said = json.loads(base64.b64decode(delivery.headers.get("x-ebay-signature", "")))
            key = self._key(str(said["kid"]))
            true = fits(delivery.body, said["signature"], key)
        except (ValueError, KeyError, TypeError) as error:
            raise WebhookRefused(f"no signature: {error}", system=self.system) from error
        if not true:
            raise WebhookRefused("the signature does not fit", system=self.system)
        body = json.loads(delivery.body)
        return Verified(
            topic=body["metadata"]["topic"], delivery_id=body["notification"]["notificationId"]
        )

    def _key(self, kid: str) -> str:
        if kid not in self.keys:
            path = f"/commerce/notification/v1/public_key/{quote(kid, safe='')}"
            try:
                self.keys[kid] = str(self.caller.read("GET", path).body["key"])
            except Trouble as trouble:
                raise as_error(
                    trouble, Purpose.SOURCE, system=self.system, call="public_key"
                ) from trouble
        return self.keys[kid]


class Magento(System):
    """Its number is what lies there; what is open of orders is a sum beside it. No webhooks."""

    capabilities = Capabilities(
        changes=True, levels=True, write=Write.ABSOLUTE, basis=Basis.ON_HAND, batch_size=20,
        atomic_batch=True, decimals=3, moves_at=MovesAt.ORDER, restores_on=frozenset({"cancel"}),
    )  # fmt: skip

    def reserved_milli(self, external_id: str) -> int:
        return 2_000


class Odoo(System):
    """Says in a 200 that the number was counted against an older one, and applies nothing then."""

    capabilities = Capabilities(
        changes=True, levels=True, write=Write.ABSOLUTE, basis=Basis.ON_HAND, batch_size=50,
        compare_and_swap=True, moves_at=MovesAt.FULFILMENT,
    )  # fmt: skip

    def written(self, write: LevelWrite) -> ChannelRefused | StaleCompare | None:
        stands = self.remote[write.listing.external_id]
        if write.compare_milli != stands:
            answer = {"res_model": "stock.inventory.conflict", "type": "ir.actions.act_window"}
            return StaleCompare(answer["res_model"], system=self.system, call="write_levels")
        return super().written(write)


class NetSuite(System):
    """A source: balances by query as snapshots, moves as a feed. Nothing is written."""

    capabilities = Capabilities(snapshots=True, changes=True)
    BALANCES: ClassVar[list[dict[str, str]]] = [
        {"item": "7", "location": "1", "quantityonhand": "12"}
    ]
    MOVES: ClassVar[list[dict[str, str]]] = [
        {"id": str(n), "item": "7", "location": "1", "quantity": "-1"} for n in range(1, 6)
    ]

    def snapshots(self, seen: frozenset[str]) -> Iterator[RawSnapshot]:
        import pandas as pd

        key = f"inventorybalance {self.clock():%Y-%m-%dT%H}"
        if key not in seen:
            rows = [
                {
                    "as_of": self.clock().isoformat(), "location": row["location"],
                    "item": row["item"], "on_hand": row["quantityonhand"],
                }
                for row in self.BALANCES
            ]  # fmt: skip
            yield RawSnapshot(source="suiteql", key=key, frame=pd.DataFrame(rows, dtype="string"))

    def changes(self, cursor: Cursor) -> ChangePage:
        after = cursor.get("id", 0)
        found = [row for row in self.MOVES if int(row["id"]) > after][:2]
        events = [
            RawEvent(
                body={
                    "event_id": row["id"], "type": "adjusted", "item": row["item"],
                    "location": row["location"], "quantity": row["quantity"],
                    "occurred_at": self.clock().isoformat(),
                },
                source="suiteql", position=row["id"],
            )
            for row in found
        ]  # fmt: skip
        place = int(found[-1]["id"]) if found else after
        return ChangePage(events=events, cursor={"id": place}, more=bool(found))


class Walmart(System):
    """Takes a feed, ten of them an hour, and says later what became of each line."""

    capabilities = Capabilities(
        changes=True, levels=True, write=Write.ABSOLUTE, batch_size=10_000,
        completion=Completion.JOB, moves_at=MovesAt.ORDER, most_milli=100_000_000,
    )  # fmt: skip

    def write_levels(self, writes: Sequence[LevelWrite], *, key: str) -> list[WriteOutcome]:
        self.limiter.take(WALMART_FEEDS, 1, patience_s=1, urgent=True)
        now = self.clock()
        receipt = Receipt(
            body={"feedId": key},
            poll_after=now + timedelta(minutes=1),
            give_up_at=now + timedelta(hours=4),
        )
        return [WriteOutcome(write=write, error=None, receipt=receipt) for write in writes]

    def poll_receipt(
        self, receipt: Receipt, writes: Sequence[LevelWrite]
    ) -> list[WriteOutcome] | None:
        return super().write_levels(writes, key=receipt.body["feedId"])


class ShipHero(System):
    """A source whose webhooks want an answer of its own; a change tells by how much."""

    SECRET = b"api secret"
    capabilities = Capabilities(snapshots=True, changes=True, webhooks=True)
    TAKEN = Answer(body=b'{"code":"200","Status":"Success"}')

    def verify(self, delivery: Delivery) -> Verified:
        wanted = base64.b64encode(hmac.digest(self.SECRET, delivery.body, "sha256")).decode()
        given = delivery.headers.get("x-shiphero-hmac-sha256", "")
        if not hmac.compare_digest(given.encode(), wanted.encode()):
            raise WebhookRefused("the signature does not fit", system=self.system)
        return Verified(
            topic=json.loads(delivery.body)["webhook_type"],
            delivery_id=delivery.headers.get("x-shiphero-message-id", ""),
            answer=self.TAKEN,
        )

    def parse(self, topic: str, delivery: Delivery) -> Sequence[RawEvent]:
        if topic != "Inventory Change":
            return []
        said = json.loads(delivery.body, parse_float=Decimal)
        name = delivery.headers["x-shiphero-message-id"]
        body = {
            "event_id": name, "type": "adjusted", "item": said["sku"],
            "location": str(said["warehouse_id"]), "quantity": str(said["change_in_on_hand"]),
            "occurred_at": said["timestamp"],
        }  # fmt: skip
        return [RawEvent(body=body, source=f"webhook {topic}", position=name)]

    def hints(self, topic: str, delivery: Delivery) -> Sequence[LevelHint]:
        if topic != "Inventory Update":
            return []
        said = json.loads(delivery.body)
        return [
            LevelHint(external_id=one["sku"], quantity_milli=int(one["inventory"]) * 1000)
            for one in said["inventory"]
        ]


SEVEN: dict[str, type[System]] = {
    "bigcommerce": BigCommerce, "ebay": EBay, "magento": Magento, "odoo": Odoo,
    "netsuite": NetSuite, "walmart": Walmart, "shiphero": ShipHero,
}  # fmt: skip
