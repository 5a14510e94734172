"""A shop's GraphQL endpoint that costs next to nothing: `python -m benchmarks.made.endpoint PORT`.

It answers what the hub's Shopify connector asks when it sends quantities: levels at a location and
inventorySetQuantities with its comparison, at the prices of `simulate/shopify_cost.py` from a
bucket that can be set. It remembers when it answered which quantity, by the machine's monotonic
clock. Blind, it looks at nothing and says yes.

    POST /control    {"blind"?, "maximum"?, "restore"?, "points"?, "stock"?, "levels"?};
                     forgets
    GET  /control    {"taken": [[monotonic s, item, quantity], ...], "counts", "left", "at"}
"""

import asyncio
import json
import re
import sys
import time
from functools import lru_cache
from typing import Any

from graphql import DocumentNode, get_operation_ast, parse

from inventory_pipeline.simulate.shopify_cost import Bucket, query_cost

MUCH = 1e9
YES = {"data": {"inventorySetQuantities": {"inventoryAdjustmentGroup": None, "userErrors": []}}}
NO_ORDERS = {"orders": {"nodes": [], "pageInfo": {"hasNextPage": False, "endCursor": None}}}
NUMBER = re.compile(r"\d+$")


@lru_cache(maxsize=64)
def _parsed(query: str) -> DocumentNode:
    return parse(query, no_location=True)


class Endpoint:
    """What one shop shows and how much it has been asked."""

    def __init__(self) -> None:
        self.set({})

    def set(self, wanted: dict[str, Any]) -> None:
        self.blind = bool(wanted.get("blind"))
        maximum = float(wanted.get("maximum", MUCH))
        self.bucket = Bucket(
            maximum=maximum, restore=float(wanted.get("restore", MUCH)), timer=time.monotonic
        )
        self.bucket.points = float(wanted.get("points", maximum))
        self.stock = int(wanted.get("stock", 0))
        self.levels = {int(item): units for item, units in wanted.get("levels", {}).items()}
        self.taken: list[tuple[float, int, int]] = []
        self.counts = {"requests": 0, "throttled": 0, "stale": 0, "read": 0, "points": 0}
        self.yes = json.dumps(YES | {"extensions": {"cost": self._cost(1)}}).encode()

    def answer(self, body: bytes) -> bytes:
        self.counts["requests"] += 1
        if self.blind:
            return self.yes
        asked = json.loads(body)
        document, variables = _parsed(asked["query"]), asked["variables"]
        operation = get_operation_ast(document)
        assert operation is not None
        cost = query_cost(document, operation, variables)
        if not self.bucket.take(cost):
            self.counts["throttled"] += 1
            throttled = {"message": "Throttled", "extensions": {"code": "THROTTLED"}}
            return json.dumps(
                {"errors": [throttled], "extensions": {"cost": self._cost(cost)}}
            ).encode()
        self.counts["points"] += cost
        write = operation.operation.value == "mutation"
        if write:
            data = self._write(variables["input"])
        else:
            data = NO_ORDERS if "HubOrders" in asked["query"] else self._read(variables)
        return json.dumps({"data": data, "extensions": {"cost": self._cost(cost)}}).encode()

    def _cost(self, cost: float) -> dict[str, Any]:
        return {
            "requestedQueryCost": cost,
            "actualQueryCost": cost,
            "throttleStatus": self.bucket.status(),
        }

    def _write(self, wanted: dict[str, Any]) -> dict[str, Any]:
        lines = [
            (number_of(one["inventoryItemId"]), one["quantity"], one["changeFromQuantity"])
            for one in wanted["quantities"]
        ]
        stale = [
            {
                "code": "CHANGE_FROM_QUANTITY_STALE",
                "field": ["input", "quantities", str(place), "changeFromQuantity"],
                "message": "The changeFromQuantity value does not match the persisted quantity.",
            }
            for place, (item, _, compared) in enumerate(lines)
            if compared is not None and compared != self.levels.get(item, self.stock)
        ]
        self.counts["stale"] += len(stale)
        if not stale:
            now = time.monotonic()
            for item, quantity, _ in lines:
                self.levels[item] = quantity
                self.taken.append((now, item, quantity))
        return {"inventorySetQuantities": {"inventoryAdjustmentGroup": None, "userErrors": stale}}

    def _read(self, variables: dict[str, Any]) -> dict[str, Any]:
        items = [number_of(one) for one in str(variables["query"]).split(" OR ")]
        self.counts["read"] += len(items)
        nodes = [
            {
                "id": f"gid://shopify/InventoryItem/{item}",
                "inventoryLevel": {
                    "quantities": [
                        {"name": "available", "quantity": self.levels.get(item, self.stock)}
                    ]
                },
            }
            for item in items
        ]
        return {"inventoryItems": {"nodes": nodes}}

    def said(self) -> bytes:
        self.bucket.take(0)
        said = {"taken": self.taken, "counts": self.counts, "left": self.bucket.points}
        return json.dumps(said | {"at": time.monotonic()}).encode()


def number_of(gid: str) -> int:
    found = NUMBER.search(gid)
    assert found is not None, gid
    return int(found[0])


class Connection(asyncio.Protocol):
    """HTTP/1.1 with Content-Length and nothing else."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self.received = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.received += data
        while True:
            end = self.received.find(b"\r\n\r\n")
            if end < 0:
                return
            head = bytes(self.received[:end]).lower()
            length = re.search(rb"content-length: *(\d+)", head)
            whole = end + 4 + (int(length[1]) if length else 0)
            if len(self.received) < whole:
                return
            body = bytes(self.received[end + 4 : whole])
            del self.received[:whole]
            self._reply(head, body)

    def _reply(self, head: bytes, body: bytes) -> None:
        if head.startswith(b"get /control"):
            answer = self.endpoint.said()
        elif head.startswith(b"post /control"):
            self.endpoint.set(json.loads(body))
            answer = b"{}"
        else:
            answer = self.endpoint.answer(body)
        self.transport.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
            % (len(answer), answer)
        )


async def _serve(port: int) -> None:
    endpoint = Endpoint()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(endpoint), "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1])))
