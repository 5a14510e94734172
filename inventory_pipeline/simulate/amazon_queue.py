"""The queue of a simulated seller's notifications: SQS' JSON protocol with signed calls.

Delivery is at least once: a received message is hidden and comes again until it is deleted, and a
share of notifications is put in twice. `POST /control/notify` puts a raw text in.
"""

import asyncio
import hashlib
import json
import sqlite3
import uuid
from datetime import UTC, datetime, timedelta

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from inventory_pipeline.config.secrets import Secret
from inventory_pipeline.connectors.amazon_sigv4 import signed_headers
from inventory_pipeline.core.ports import Clock
from inventory_pipeline.simulate.amazon_door import NAMES, Node
from inventory_pipeline.simulate.amazon_orders import order_id
from inventory_pipeline.simulate.shop import to_second, transaction

PATH = "/123456789012/notifications"
REGION = "us-east-1"
SKEW = timedelta(minutes=15)
LOOK_S = 0.02
TYPE = "application/x-amz-json-1.0"
NOTIFIED = {
    "open": "Unshipped",
    "partially_fulfilled": "PartiallyShipped",
    "fulfilled": "Shipped",
    "cancelled": "Canceled",
}
# A number is never used again: notifications, messages and handles are named after it.
TABLES = """
CREATE TABLE IF NOT EXISTS amazon_messages (
    number INTEGER PRIMARY KEY AUTOINCREMENT, body TEXT NOT NULL, visible_at TEXT NOT NULL,
    received INTEGER NOT NULL DEFAULT 0);
"""


class Refused(Exception):
    """An answer in SQS' shape of errors."""

    def __init__(self, status: int, type_: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.body = {"__type": f"com.amazonaws.sqs#{type_}", "message": message}


class QueueApi:
    """One queue."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        *,
        seller_id: str,
        marketplace_id: str,
        key_id: str,
        secret: str,
        duplicate_percent: int,
        clock: Clock,
    ) -> None:
        self.connection = connection
        self.seller_id = seller_id
        self.marketplace_id = marketplace_id
        self.key_id = key_id
        self.secret = Secret(secret)
        self.duplicate_percent = duplicate_percent
        self.clock = clock
        connection.executescript(TABLES)

    def routes(self) -> list[Route]:
        return [
            Route("/", self.answer, methods=["POST"]),
            Route("/control/notify", self.control, methods=["POST"]),
        ]

    # -- notifications ------------------------------------------------------------------------

    def order_changed(self, order: Node) -> None:
        """ORDER_CHANGE, in the transaction that changed the order."""
        summary = {
            "MarketplaceId": self.marketplace_id,
            "OrderStatus": NOTIFIED[order["status"]],
            "PurchaseDate": to_second(order["created_at"]),
            "DestinationPostalCode": None,
            "FulfillmentType": "MFN",
            "OrderType": "StandardOrder",
            "NumberOfItemsShipped": sum(line["fulfilled"] for line in order["lines"]),
            "NumberOfItemsUnshipped": sum(
                line["quantity"] - line["fulfilled"] - line["cancelled"] for line in order["lines"]
            ),
            "OrderItems": [
                {
                    "OrderItemId": str(line["line_id"]),
                    "SellerSKU": line["sku"],
                    "SupplySourceId": None,
                    "OrderItemStatus": "Shipped" if line["fulfilled"] else "Unshipped",
                    "Quantity": line["quantity"],
                    "QuantityShipped": line["fulfilled"],
                }
                for line in order["lines"]
            ],
        }
        change = {
            "NotificationLevel": "OrderLevel",
            "SellerId": self.seller_id,
            "AmazonOrderId": order_id(order["number"]),
            "OrderChangeType": "OrderStatusChange",
            "OrderChangeTrigger": {
                "TimeOfOrderChange": to_second(order["updated_at"]),
                "ChangeReason": "Status changed",
            },
            "Summary": summary,
        }
        self.notify("ORDER_CHANGE", {"OrderChangeNotification": change})

    def quantity_changed(self, sku: str, quantity: int) -> None:
        """LISTINGS_ITEM_MFN_QUANTITY_CHANGE."""
        payload = {
            "SellerId": self.seller_id, "FulfillmentChannelCode": "DEFAULT", "Sku": sku,
            "Quantity": quantity,
        }  # fmt: skip
        self.notify("LISTINGS_ITEM_MFN_QUANTITY_CHANGE", payload)

    def notify(self, type_: str, payload: Node) -> None:
        (count,) = self.connection.execute(
            "SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'amazon_messages'"
        ).fetchone()
        now = self.clock().astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        name = uuid.uuid5(NAMES, f"notification/{count}")
        body = {
            "NotificationVersion": "1.0",
            "NotificationType": type_,
            "PayloadVersion": "1.0",
            "EventTime": now,
            "Payload": payload,
            "NotificationMetadata": {
                "ApplicationId": "amzn1.sellerapps.app.1",
                "SubscriptionId": "subscription-1",
                "PublishTime": now,
                "NotificationId": str(name),
            },
        }
        for _ in range(2 if name.int % 100 < self.duplicate_percent else 1):
            self.put(json.dumps(body))

    def put(self, text: str) -> None:
        self.connection.execute(
            "INSERT INTO amazon_messages (body, visible_at) VALUES (?, ?)", (text, self._stamp(0))
        )

    def left(self) -> int:
        """Messages that nobody deleted yet."""
        return int(self.connection.execute("SELECT count(*) FROM amazon_messages").fetchone()[0])

    async def control(self, request: Request) -> Response:
        self.put((await request.body()).decode())
        return JSONResponse({"waiting": self.left()})

    # -- the API ------------------------------------------------------------------------------

    async def answer(self, request: Request) -> Response:
        content = await request.body()
        target = request.headers.get("x-amz-target", "").removeprefix("AmazonSQS.")
        try:
            self._admit(request, content)
            asked = json.loads(content)
            if not str(asked.get("QueueUrl", "")).endswith(PATH):
                raise Refused(400, "QueueDoesNotExist", "The specified queue does not exist.")  # noqa: TRY301
            if target == "ReceiveMessage":
                body = await self._receive(asked)
            elif target == "DeleteMessageBatch":
                body = self._delete(asked)
            else:
                raise Refused(400, "InvalidAction", f"no action {target!r}")  # noqa: TRY301
        except Refused as refused:
            return JSONResponse(refused.body, status_code=refused.status, media_type=TYPE)
        return JSONResponse(body, media_type=TYPE)

    async def _receive(self, asked: Node) -> Node:
        most, wait_s = (
            int(asked.get("MaxNumberOfMessages", 1)),
            float(asked.get("WaitTimeSeconds", 0)),
        )
        if not 1 <= most <= 10 or not 0 <= wait_s <= 20:
            raise Refused(400, "InvalidParameterValue", "MaxNumberOfMessages or WaitTimeSeconds")
        hidden_s = float(asked.get("VisibilityTimeout", 30))
        for look in range(int(wait_s / LOOK_S) + 1):
            if look:
                await asyncio.sleep(LOOK_S)
            if found := self._take(most, hidden_s):
                return {"Messages": found}
        return {}

    def _take(self, most: int, hidden_s: float) -> list[Node]:
        with transaction(self.connection):
            rows = self.connection.execute(
                "SELECT * FROM amazon_messages WHERE visible_at <= ? ORDER BY number LIMIT ?",
                (self._stamp(0), most),
            ).fetchall()
            for row in rows:
                self.connection.execute(
                    "UPDATE amazon_messages SET visible_at = ?, received = received + 1 "
                    "WHERE number = ?",
                    (self._stamp(hidden_s), row["number"]),
                )
        return [
            {
                "MessageId": str(uuid.uuid5(NAMES, f"message/{row['number']}")),
                "ReceiptHandle": f"{row['number']}.{row['received'] + 1}",
                "MD5OfBody": hashlib.md5(row["body"].encode(), usedforsecurity=False).hexdigest(),
                "Body": row["body"],
            }
            for row in rows
        ]

    def _delete(self, asked: Node) -> Node:
        entries = asked.get("Entries") or []
        if not 1 <= len(entries) <= 10:
            raise Refused(400, "TooManyEntriesInBatchRequest", "1 to 10 entries")
        for entry in entries:
            number = str(entry["ReceiptHandle"]).partition(".")[0]
            self.connection.execute("DELETE FROM amazon_messages WHERE number = ?", (number,))
        return {"Successful": [{"Id": entry["Id"]} for entry in entries], "Failed": []}

    def _admit(self, request: Request, content: bytes) -> None:
        """Signs the request again and compares."""
        given = request.headers.get("authorization", "")
        try:
            stamp = request.headers["x-amz-date"].replace("Z", "+0000")
            when = datetime.strptime(stamp, "%Y%m%dT%H%M%S%z")
        except (KeyError, ValueError):
            raise Refused(403, "MissingAuthenticationToken", "the request is not signed") from None
        if abs(self.clock() - when) > SKEW:
            raise Refused(403, "RequestExpired", f"Signature expired: {when} is not now")
        names = given.partition("SignedHeaders=")[2].partition(",")[0].split(";")
        signed = {n: request.headers.get(n, "") for n in names if n not in {"host", "x-amz-date"}}
        right = signed_headers(
            url=str(request.url.replace(query="")),
            headers=signed,
            body=content,
            key_id=self.key_id,
            secret=self.secret,
            session_token=None,
            region=REGION,
            service="sqs",
            now=when,
        )["authorization"]
        if given != right:
            message = (
                "The request signature we calculated does not match the signature you provided."
            )
            raise Refused(403, "SignatureDoesNotMatch", message)

    def _stamp(self, ahead_s: float) -> str:
        return (self.clock() + timedelta(seconds=ahead_s)).isoformat(timespec="microseconds")
