"""The Feeds API: documents behind signed addresses, and one feed after the other.

A feed waits `queue_s`, works `work_s`, and the next one begins when it has ended. Its report is
packed with gzip, as Amazon's are.
"""

import gzip
import json
import sqlite3
import uuid
from datetime import datetime, timedelta
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from inventory_pipeline.simulate.amazon_door import NAMES, Node, SpError, bad_input, body_of
from inventory_pipeline.simulate.amazon_listings import ListingsApi, wanted_units
from inventory_pipeline.simulate.shop import ShopLedger, parse_time, to_second, transaction

FEED_TYPE = "JSON_LISTINGS_FEED"
OPEN_S = 300  # how long a document's address takes an upload
MAX_MESSAGES = 25_000
TABLES = """
CREATE TABLE IF NOT EXISTS amazon_documents (
    name TEXT PRIMARY KEY, content BLOB, content_type TEXT NOT NULL, until TEXT NOT NULL,
    packed INTEGER NOT NULL DEFAULT 0);
CREATE TABLE IF NOT EXISTS amazon_feeds (
    number INTEGER PRIMARY KEY, document TEXT NOT NULL, created_at TEXT NOT NULL,
    begins_at TEXT NOT NULL, ends_at TEXT NOT NULL, done TEXT, report TEXT);
"""


class FeedsApi:
    """Feeds of one seller."""

    def __init__(
        self, shop: ShopLedger, listings: ListingsApi, *, queue_s: float, work_s: float
    ) -> None:
        self.shop = shop
        self.listings = listings
        self.queue_s = queue_s
        self.work_s = work_s
        shop.connection.executescript(TABLES)

    # -- the API ------------------------------------------------------------------------------

    async def create_document(self, request: Request) -> Response:
        body = await body_of(request)
        if not isinstance(body.get("contentType"), str):
            raise bad_input("contentType is required")
        (count,) = self._one("SELECT count(*) FROM amazon_documents")
        name = f"amzn1.tortuga.4.na.{uuid.uuid5(NAMES, f'document/{count}')}"
        until = self.shop.clock() + timedelta(seconds=OPEN_S)
        self.shop.connection.execute(
            "INSERT INTO amazon_documents (name, content_type, until) VALUES (?, ?, ?)",
            (name, body["contentType"], until.isoformat()),
        )
        answer = {"feedDocumentId": name, "url": _address(request, name)}
        return JSONResponse(answer, status_code=201)

    async def create_feed(self, request: Request) -> Response:
        body = await body_of(request)
        if body.get("feedType") != FEED_TYPE:
            raise bad_input(f"feedType {body.get('feedType')!r}")
        if body.get("marketplaceIds") != [self.listings.marketplace_id]:
            raise bad_input("marketplaceIds")
        document = self._document(str(body.get("inputFeedDocumentId")))
        if document["content"] is None:
            raise bad_input("nothing was uploaded to inputFeedDocumentId")
        now = self.shop.clock()
        (busy_until,) = self._one("SELECT max(ends_at) FROM amazon_feeds")
        begins = now + timedelta(seconds=self.queue_s)
        if busy_until is not None:
            begins = max(begins, parse_time(busy_until))
        ends = begins + timedelta(seconds=self.work_s)
        (count,) = self._one("SELECT count(*) FROM amazon_feeds")
        number = 23_492_394 + count
        self.shop.connection.execute(
            "INSERT INTO amazon_feeds VALUES (?, ?, ?, ?, ?, NULL, NULL)",
            (number, document["name"], _stamp(now), _stamp(begins), _stamp(ends)),
        )
        return JSONResponse({"feedId": str(number)}, status_code=202)

    async def feed(self, request: Request) -> Response:
        self.advance()
        return JSONResponse(self._shape(self._feed(request.path_params["feed_id"])))

    async def feeds(self, _request: Request) -> Response:
        self.advance()
        rows = self.shop.connection.execute(
            "SELECT * FROM amazon_feeds ORDER BY number DESC LIMIT 100"
        ).fetchall()
        return JSONResponse({"feeds": [self._shape(row) for row in rows]})

    async def cancel(self, request: Request) -> Response:
        row = self._feed(request.path_params["feed_id"])
        if self._status(row) != "IN_QUEUE":
            raise bad_input("only a feed in the queue can be cancelled")
        now = self.shop.now()
        self.shop.connection.execute(
            "UPDATE amazon_feeds SET done = 'CANCELLED', begins_at = ?, ends_at = ? "
            "WHERE number = ?",
            (now, now, row["number"]),
        )
        return JSONResponse({})

    async def document(self, request: Request) -> Response:
        row = self._document(request.path_params["name"])
        answer = {"feedDocumentId": row["name"], "url": _address(request, row["name"])}
        if row["packed"]:
            answer["compressionAlgorithm"] = "GZIP"
        return JSONResponse(answer)

    # -- documents, which ask for no token ----------------------------------------------------

    async def upload(self, request: Request) -> Response:
        row = self._document(request.path_params["name"])
        if self.shop.clock() > parse_time(row["until"]):
            return Response("<Error><Code>AccessDenied</Code></Error>", 403)
        if request.headers.get("content-type") != row["content_type"]:
            return Response("<Error><Code>SignatureDoesNotMatch</Code></Error>", 403)
        self.shop.connection.execute(
            "UPDATE amazon_documents SET content = ? WHERE name = ?",
            (await request.body(), row["name"]),
        )
        return Response()

    async def download(self, request: Request) -> Response:
        return Response(self._document(request.path_params["name"])["content"])

    # -- the work -----------------------------------------------------------------------------

    def advance(self) -> None:
        """Works through the feeds whose time has come, in their order."""
        with transaction(self.shop.connection):
            for row in self.shop.connection.execute(
                "SELECT * FROM amazon_feeds WHERE done IS NULL AND ends_at <= ? "
                "ORDER BY ends_at, number",
                (self.shop.now(),),
            ).fetchall():
                self._work(row)

    def _work(self, row: sqlite3.Row) -> None:
        content = self._document(row["document"])["content"]
        try:
            found = json.loads(content)
            messages = found["messages"]
            version = found["header"]["version"]
            if version != "2.0" or not 1 <= len(messages) <= MAX_MESSAGES:
                raise ValueError("header or messages")  # noqa: TRY301
        except (ValueError, KeyError, TypeError):
            self._end(row, "FATAL", None)
            return
        issues = []
        for message in messages:
            issue = self._apply(message)
            if issue is not None:
                issues.append(issue)
        report = {
            "header": {
                "sellerId": self.listings.seller_id,
                "version": "2.0",
                "feedId": str(row["number"]),
            },
            "issues": issues,
            "summary": {
                "errors": len(issues),
                "warnings": 0,
                "messagesProcessed": len(messages),
                "messagesAccepted": len(messages) - len(issues),
                "messagesInvalid": len(issues),
            },
        }
        self._end(row, "DONE", report)

    def _apply(self, message: Node) -> Node | None:
        """Applies one message; the issue that keeps it from being applied."""
        sku = str(message.get("sku", ""))
        listing = self.listings.row(sku)
        if message.get("operationType") != "PATCH":
            problem: Node | None = {"code": "4000000", "message": "only PATCH is worked through"}
        elif listing is None:
            problem = {"code": "13013", "message": f"SKU '{sku}' is not in this catalogue"}
        else:
            problem = self.listings.problem(listing, message)
        if problem is None:
            assert listing is not None
            self.listings.submit(listing, wanted_units(message), delay_s=0)
            return None
        return {
            "messageId": message["messageId"],
            "sku": sku or "?",
            "code": problem["code"],
            "severity": "ERROR",
            "message": problem["message"],
        }

    def _end(self, row: sqlite3.Row, status: str, report: Node | None) -> None:
        name = None
        if report is not None:
            name = f"amzn1.tortuga.4.na.{uuid.uuid5(NAMES, f'report/{row[0]}')}"
            self.shop.connection.execute(
                "INSERT OR REPLACE INTO amazon_documents VALUES (?, ?, 'application/json', ?, 1)",
                (name, gzip.compress(json.dumps(report).encode()), self.shop.now()),
            )
        self.shop.connection.execute(
            "UPDATE amazon_feeds SET done = ?, report = ? WHERE number = ?",
            (status, name, row["number"]),
        )

    # -- inside -------------------------------------------------------------------------------

    def _status(self, row: sqlite3.Row) -> str:
        if row["done"]:
            return str(row["done"])
        return "IN_QUEUE" if self.shop.now() < row["begins_at"] else "IN_PROGRESS"

    def _shape(self, row: sqlite3.Row) -> Node:
        shape: Node = {
            "feedId": str(row["number"]),
            "feedType": FEED_TYPE,
            "marketplaceIds": [self.listings.marketplace_id],
            "createdTime": to_second(row["created_at"]),
            "processingStatus": self._status(row),
        }
        if shape["processingStatus"] != "IN_QUEUE":
            shape["processingStartTime"] = to_second(row["begins_at"])
        if row["done"]:
            shape["processingEndTime"] = to_second(row["ends_at"])
        if row["report"]:
            shape["resultFeedDocumentId"] = row["report"]
        return shape

    def _feed(self, number: str) -> sqlite3.Row:
        row: sqlite3.Row | None = self._one("SELECT * FROM amazon_feeds WHERE number = ?", number)
        if row is None:
            raise SpError(404, "NotFound", f"feed {number} does not exist")
        return row

    def _document(self, name: str) -> sqlite3.Row:
        row: sqlite3.Row | None = self._one("SELECT * FROM amazon_documents WHERE name = ?", name)
        if row is None:
            raise SpError(404, "NotFound", f"document {name} does not exist")
        return row

    def _one(self, sql: str, *values: object) -> Any:
        return self.shop.connection.execute(sql, values).fetchone()


def _address(request: Request, name: str) -> str:
    """A document's address on this server, under whatever name it was asked."""
    host, port = request.scope["server"]
    return f"http://{host}:{port}/documents/{name}?X-Amz-Expires={OPEN_S}"


def _stamp(when: datetime) -> str:
    return when.isoformat(timespec="microseconds")
