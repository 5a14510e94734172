"""The simulated Shopify's bulk queries: run behind its back, left as a file of JSON lines.

An operation is complete at the first question about it after `seconds`, and shows the shop as it
is then; with `early`, as it was at the start. Levers: POST /control/bulk {"seconds"?, "early"?,
"limit"?, "fails"?, "cuts"?}: also how many may run at once, the error code that the next ones fail
with, and how many fetches of a file lose their second half.
"""

import json
import secrets
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from graphql import (
    DocumentNode,
    FieldNode,
    GraphQLError,
    GraphQLResolveInfo,
    GraphQLSchema,
    execute_sync,
    parse,
    validate,
    visit,
)
from graphql.language import Visitor
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from inventory_pipeline.simulate.shop import ShopLedger, to_second
from inventory_pipeline.simulate.shopify_connections import Node, unpaged
from inventory_pipeline.simulate.shopify_reads import Reads, number_of

OPERATION = "gid://shopify/BulkOperation/"
MAX_CONNECTIONS = 5
BLOCK = 100  # parents in a row, before what they hold: files are not grouped by parent
TABLE = """
CREATE TABLE IF NOT EXISTS bulk_operations (
    number INTEGER PRIMARY KEY, query TEXT NOT NULL, created_at TEXT NOT NULL,
    status TEXT NOT NULL, completed_at TEXT, error TEXT, secret TEXT NOT NULL,
    objects INTEGER NOT NULL DEFAULT 0, roots INTEGER NOT NULL DEFAULT 0, file BLOB);
"""


@dataclass(slots=True)
class Levers:
    seconds: float = 0.2
    early: bool = False
    limit: int = 5
    fails: str = ""
    cuts: int = 0


class Bulk:
    """bulkOperationRunQuery, its state, and its file. `address` is where this shop is reached."""

    def __init__(self, shop: ShopLedger, reads: Reads) -> None:
        self.shop = shop
        self.reads = reads
        self.levers = Levers()
        self.address = ""
        shop.connection.executescript(TABLE)

    def mutations(self) -> Node:
        return {
            "bulkOperationRunQuery": self.start,
            "bulkOperationCancel": lambda _info, id: self.cancel(id),  # noqa: A006
        }

    def queries(self) -> Node:
        return {
            "bulkOperation": lambda info, id: self.operation(info.schema, id),  # noqa: A006
            "node": lambda info, id: self.operation(info.schema, id),  # noqa: A006
            "currentBulkOperation": lambda info, type="QUERY": self.newest(info.schema),  # noqa: A006, ARG005
        }

    def routes(self) -> list[BaseRoute]:
        return [
            Route("/bulk/{number:int}/{secret}", self.file, methods=["GET"]),
            Route("/control/bulk", self.set_levers, methods=["POST"]),
        ]

    def start(self, info: GraphQLResolveInfo, query: str) -> Node:
        problem = _problem(info.schema, query)
        if problem:
            return _refused("INVALID", problem)
        (running,) = self._select(
            "SELECT count(*) FROM bulk_operations WHERE status IN ('CREATED', 'RUNNING')"
        )
        if running >= self.levers.limit:
            code = "OPERATION_IN_PROGRESS" if self.levers.limit == 1 else "LIMIT_REACHED"
            return _refused(code, "A bulk query operation for this app is already in progress.")
        number = self.shop.connection.execute(
            "INSERT INTO bulk_operations (query, created_at, status, secret) "
            "VALUES (?, ?, 'CREATED', ?)",
            (query, self.shop.now(), secrets.token_hex(16)),
        ).lastrowid
        if self.levers.early:
            self._read(info.schema, self._row(number))
        return {"bulkOperation": self._shaped(self._row(number)), "userErrors": []}

    def cancel(self, gid: str) -> Node:
        number = number_of(gid, OPERATION)
        self.shop.connection.execute(
            "UPDATE bulk_operations SET status = 'CANCELED' "
            "WHERE number = ? AND status IN ('CREATED', 'RUNNING')",
            (number,),
        )
        row = self._row(number)
        return {"bulkOperation": row and self._shaped(row), "userErrors": []}

    def newest(self, schema: GraphQLSchema) -> Node | None:
        (number,) = self._select("SELECT max(number) FROM bulk_operations")
        return None if number is None else self.operation(schema, f"{OPERATION}{number}")

    def operation(self, schema: GraphQLSchema, gid: str) -> Node | None:
        number = number_of(gid, OPERATION)
        row = self._row(number)
        if row is None:
            return None
        if row["status"] in {"CREATED", "RUNNING"}:
            created = datetime.fromisoformat(row["created_at"])
            if self.shop.clock() < created + timedelta(seconds=self.levers.seconds):
                self._move(number, "RUNNING")
            elif self.levers.fails:
                self._move(number, "FAILED", error=self.levers.fails)
            elif row["file"] is not None or self._read(schema, row):
                self._move(number, "COMPLETED")
            else:
                self._move(number, "FAILED", error="INTERNAL_SERVER_ERROR")
        return self._shaped(self._row(number))

    async def file(self, request: Request) -> Response:
        """The signed address of a file; whoever sends a token to it tells it to a stranger."""
        row = self._row(request.path_params["number"])
        if "x-shopify-access-token" in request.headers:
            return Response("no token belongs here", status_code=400)
        if row is None or row["file"] is None or request.path_params["secret"] != row["secret"]:
            return Response(status_code=403)
        content: bytes = row["file"]
        if self.levers.cuts:
            self.levers.cuts -= 1
            content = content[: len(content) // 2]
        return Response(content, media_type="application/jsonl")

    async def set_levers(self, request: Request) -> Response:
        body = json.loads(await request.body())
        for name, value in body.items():
            if name not in Levers.__slots__:
                return JSONResponse({"error": "unknown_lever", "name": name}, status_code=422)
            setattr(self.levers, name, value)
        (count,) = self._select("SELECT count(*) FROM bulk_operations")
        return JSONResponse({"operations": count})

    def _read(self, schema: GraphQLSchema, row: sqlite3.Row) -> bool:
        """Leaves the file; False where the query fails."""
        token = unpaged.set(True)
        try:
            result = execute_sync(schema, parse(row["query"]), self.reads.root())
        finally:
            unpaged.reset(token)
        if result.errors or result.data is None:
            return False
        (root,) = result.data.values()
        lines = list(_lines(root))
        content = "".join(json.dumps(line) + "\n" for line in lines).encode()
        self.shop.connection.execute(
            "UPDATE bulk_operations SET objects = ?, roots = ?, file = ? WHERE number = ?",
            (len(lines), len(root["edges"]), content or None, row["number"]),
        )
        return True

    def _move(self, number: int | None, status: str, *, error: str | None = None) -> None:
        done = self.shop.now() if status == "COMPLETED" else None
        self.shop.connection.execute(
            "UPDATE bulk_operations SET status = ?, error = ?, completed_at = ? WHERE number = ?",
            (status, error, done, number),
        )

    def _row(self, number: int | None) -> Any:
        return self.shop.connection.execute(
            "SELECT * FROM bulk_operations WHERE number = ?", (number,)
        ).fetchone()

    def _select(self, query: str) -> Any:
        return self.shop.connection.execute(query).fetchone()

    def _shaped(self, row: Any) -> Node:
        number = row["number"]
        content = row["file"] if row["status"] == "COMPLETED" else None
        url = f"{self.address}bulk/{number}/{row['secret']}" if content is not None else None
        return {
            "__typename": "BulkOperation",
            "id": f"{OPERATION}{number}",
            "status": row["status"],
            "type": "QUERY",
            "errorCode": row["error"],
            "createdAt": to_second(row["created_at"]),
            "completedAt": to_second(row["completed_at"]) if row["completed_at"] else None,
            "query": row["query"],
            "objectCount": str(row["objects"]),
            "rootObjectCount": str(row["roots"]),
            "fileSize": None if content is None else str(len(content)),
            "url": url,
            "partialDataUrl": None,
        }


class _Connections(Visitor):
    """Counts the connections of a document: what has edges."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def enter_field(self, node: FieldNode, *_: Any) -> None:
        self.count += node.name.value == "edges"


def _problem(schema: GraphQLSchema, query: str) -> str:
    """Why a query cannot run in bulk; "" where it can."""
    try:
        document: DocumentNode = parse(query)
    except GraphQLError as error:
        return str(error.message)
    problems = validate(schema, document)
    if problems:
        return str(problems[0].message)
    found = _Connections()
    visit(document, found)
    if not 1 <= found.count <= MAX_CONNECTIONS:
        return f"a bulk query has 1 to {MAX_CONNECTIONS} connections, this one {found.count}"
    return ""


def _refused(code: str, message: str) -> Node:
    error = {"code": code, "field": ["query"], "message": message}
    return {"bulkOperation": None, "userErrors": [error]}


def _lines(connection: Node, parent: str | None = None) -> Iterator[Node]:
    """Objects of a connection, a block of them and then what those hold."""
    nodes = [edge["node"] for edge in connection["edges"]]
    for start in range(0, len(nodes), BLOCK):
        block = nodes[start : start + BLOCK]
        for node in block:
            plain = {name: value for name, value in node.items() if not _is_connection(value)}
            yield plain if parent is None else {**plain, "__parentId": parent}
        for node in block:
            for value in node.values():
                if _is_connection(value):
                    yield from _lines(value, node["id"])


def _is_connection(value: Any) -> bool:
    return isinstance(value, dict) and "edges" in value
