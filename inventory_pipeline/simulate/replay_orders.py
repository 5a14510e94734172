"""What becomes of a basket that is ordered from afar: sold, picked, shipped, sometimes sent back.

A shop decides by the number that it shows; the goods are looked for only afterwards, in the
warehouse first. What no place has is `unshippable`: the shop sold what was not there.
"""

import json
from collections.abc import Mapping
from typing import Any

from inventory_pipeline.core.errors import HubError
from inventory_pipeline.simulate.grocer import item_name
from inventory_pipeline.simulate.grocer_stock import CODE_OF, DC, SHIPS_FROM
from inventory_pipeline.simulate.replay_world import World, chance

SHIP_AFTER = 0.015
SHIP_SPREAD = 0.02
PARCEL_TOLD_AFTER = 0.004
LOOK_AGAIN_AFTER = 0.08
RETURN_AFTER = 0.1
CANCEL_PERCENT = 4
EARLY_PERCENT = 10
RETURN_PERCENT = 4
DISPOSITIONS = ("restock", "inspect", "discard")
Payload = Mapping[str, Any]


def order_reference(shop: str, number: int) -> str:
    """How a shop's order is called in the papers of whoever ships it."""
    return f"gid://shopify/Order/{number}" if shop == "shop" else str(number)


def line_reference(shop: str, line_id: int) -> str:
    return f"gid://shopify/LineItem/{line_id}" if shop == "shop" else str(line_id)


class Orders:
    """The orders of both shops, on top of the world that fills them."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.state = world.state

    # -- what the customer does ---------------------------------------------------------------

    def order(self, at: float, payload: Payload) -> None:
        """A customer sends the basket; `lines` are what is still wanted of it."""
        shop, order_id = payload["shop"], payload["order_id"]
        self._do("INSERT OR IGNORE INTO orders VALUES (?, ?, NULL, 'sent')", shop, order_id)
        lines = [{"sku": sku, "quantity": units} for sku, units in payload["lines"]]
        self._post(at, shop, "/storefront/orders", {"order_id": order_id, "lines": lines})

    def cancel(self, at: float, payload: Payload) -> None:
        self._post(at, payload["shop"], f"/storefront/orders/{payload['order_id']}/cancel", {})

    def give_back(self, at: float, payload: Payload) -> None:
        """One unit of a shipped order comes back to the warehouse."""
        shop, order_id = payload["shop"], payload["order_id"]
        row = self.state.rows(
            "SELECT * FROM lines WHERE shop = ? AND order_id = ? AND shipped > 0 "
            "ORDER BY line_id LIMIT 1",
            shop,
            order_id,
        )
        if not row:
            return
        sku = row[0]["sku"]
        what = DISPOSITIONS[chance("disposition", order_id) % len(DISPOSITIONS)]
        if what != "discard":
            self.state.move(DC, sku, on_hand=1, quality_control=1 if what == "inspect" else 0)
        event = {"event_id": f"return-{shop}-{order_id}", "type": "returned", "disposition": what}
        event |= {"location": CODE_OF[DC], "item": item_name(DC, sku)}
        reference = order_reference(shop, self._number(shop, order_id))
        self.world.tell(at, DC, {**event, "quantity": 1, "order_id": reference})

    # -- what the shop answers ----------------------------------------------------------------

    def answered(self, at: float, target: str, content: str, status: int, body: Any) -> None:
        """Takes in a shop's answer to a post; part of the transaction that marks it delivered.

        Raises HubError for an answer that no shop should give.
        """
        shop, _, path = target.partition(" ")
        if path == "/storefront/orders" and status == 409:
            self._refused(at, shop, json.loads(content), body)
        elif status != 200:
            raise HubError(
                f"{shop}: POST {path} was answered with {status}: {str(body)[:200]}",
                hint="was the shop's state deleted while the replay's was kept? Delete both.",
            )
        elif path == "/storefront/orders":
            self._accepted(at, shop, body)
        elif path.endswith("/cancel"):
            self._cancelled(shop, body)

    def _refused(self, at: float, shop: str, sent: Payload, body: Payload) -> None:
        """The customer takes what is sold out from the basket and orders the rest."""
        order_id = sent["order_id"]
        gone = {line["sku"] for line in body["sold_out"]}
        for line in sent["lines"]:
            if line["sku"] in gone:
                self.state.lose("sold_out", f"{shop}/{order_id}", line["sku"], line["quantity"])
        left = [line for line in sent["lines"] if line["sku"] not in gone]
        if left:
            self._post(at, shop, "/storefront/orders", {"order_id": order_id, "lines": left})
        else:
            self._do(
                "UPDATE orders SET status = 'refused' WHERE shop = ? AND order_id = ?",
                shop,
                order_id,
            )

    def _accepted(self, at: float, shop: str, body: Payload) -> None:
        order_id = body["order_id"]
        self._do(
            "UPDATE orders SET status = 'accepted', number = ? WHERE shop = ? AND order_id = ?",
            body["number"],
            shop,
            order_id,
        )
        for line in body["lines"]:
            self._do(
                "INSERT OR IGNORE INTO lines (shop, order_id, line_id, sku, quantity) "
                "VALUES (?, ?, ?, ?, ?)",
                shop,
                order_id,
                line["line_id"],
                line["sku"],
                line["quantity"],
            )
        about = {"shop": shop, "order_id": order_id}
        due = at + SHIP_AFTER + SHIP_SPREAD * chance("when", order_id) / 100
        if chance("cancel", order_id) < CANCEL_PERCENT:
            self.state.plan(due, "cancel", about)
        else:
            self.state.plan(due, "ship", {**about, "parcel": 1})

    def _cancelled(self, shop: str, body: Payload) -> None:
        for line in body["lines"]:
            self._do(
                "UPDATE lines SET cancelled = ? WHERE shop = ? AND line_id = ?",
                line["cancelled"],
                shop,
                line["line_id"],
            )

    # -- who ships it -------------------------------------------------------------------------

    def ship(self, at: float, payload: Payload) -> None:
        """Sends a parcel with all that is there, and looks again later for what is not.

        A tenth of the shops' parcels is announced to the customer before the goods have left.
        """
        shop, order_id, parcel = payload["shop"], payload["order_id"], payload["parcel"]
        picked, missing = self._pick(shop, order_id)
        early = chance("early", order_id) < EARLY_PERCENT and picked
        if early and all(place == DC for _, place, _ in picked):
            for row, _, units in picked:
                self.state.move(DC, row["sku"], held=units)
            parts = [[row["line_id"], DC, units] for row, _, units in picked]
            about = {"shop": shop, "order_id": order_id, "parts": parts}
            self.state.plan(at + PARCEL_TOLD_AFTER, "issue", about, must=True)
            self._announce(at, shop, order_id, parcel, picked)
        elif picked:
            for row, place, units in picked:
                self._issue(at, shop, row, place, units)
            self._announce(at + PARCEL_TOLD_AFTER, shop, order_id, parcel, picked)
        if missing:
            for row, units in missing:
                self.state.lose("unshippable", f"{shop}/{order_id}", row["sku"], units)
            again = {"shop": shop, "order_id": order_id, "parcel": parcel + 1}
            self.state.plan(at + LOOK_AGAIN_AFTER, "ship", again)
        elif chance("return", order_id) < RETURN_PERCENT:
            self.state.plan(at + RETURN_AFTER, "give_back", {"shop": shop, "order_id": order_id})

    def issue(self, at: float, payload: Payload) -> None:
        """Goods that were held for an announced parcel leave the warehouse."""
        for line_id, place, units in payload["parts"]:
            row = self._line(payload["shop"], line_id)
            self.state.move(place, row["sku"], held=-units)
            self._issue(at, payload["shop"], row, place, units)

    def _pick(
        self, shop: str, order_id: str
    ) -> tuple[list[tuple[Any, str, int]], list[tuple[Any, int]]]:
        """(line, place, units) that can leave now, and (line, units) that nobody has."""
        picked, missing = [], []
        rows = self.state.rows(
            "SELECT * FROM lines WHERE shop = ? AND order_id = ? "
            "AND shipped + cancelled < quantity ORDER BY line_id",
            shop,
            order_id,
        )
        for row in rows:
            units = row["quantity"] - row["shipped"] - row["cancelled"]
            places = [p for p in SHIPS_FROM[shop] if self.state.free(p, row["sku"]) >= units]
            if places:
                picked.append((row, places[0], units))
            else:
                missing.append((row, units))
        return picked, missing

    def _issue(self, at: float, shop: str, row: Any, place: str, units: int) -> None:
        self.state.move(place, row["sku"], on_hand=-units)
        self._do(
            "UPDATE lines SET shipped = shipped + ?, place = ? WHERE shop = ? AND line_id = ?",
            units,
            place,
            shop,
            row["line_id"],
        )
        event = {
            "event_id": f"issue-{shop}-{row['line_id']}-{row['shipped']}",
            "type": "goods_issued",
            "location": CODE_OF[place],
            "item": item_name(place, row["sku"]),
            "quantity": units,
            "order_id": order_reference(shop, self._number(shop, row["order_id"])),
            "line_id": line_reference(shop, row["line_id"]),
        }
        self.world.tell(at, place, event)

    def _announce(
        self, due: float, shop: str, order_id: str, parcel: int, picked: list[tuple[Any, str, int]]
    ) -> None:
        lines = [{"sku": row["sku"], "quantity": units} for row, _, units in picked]
        body = {"name": f"parcel-{parcel}", "lines": lines}
        self._post(due, shop, f"/storefront/orders/{order_id}/fulfil", body)

    # -- inside -------------------------------------------------------------------------------

    def _post(self, due: float, shop: str, path: str, body: Payload) -> None:
        self.state.emit(due, "post", f"{shop} {path}", json.dumps(body), self.state.tick())

    def _number(self, shop: str, order_id: str) -> int:
        (row,) = self.state.rows(
            "SELECT number FROM orders WHERE shop = ? AND order_id = ?", shop, order_id
        )
        return int(row["number"])

    def _line(self, shop: str, line_id: int) -> Any:
        (row,) = self.state.rows(
            "SELECT * FROM lines WHERE shop = ? AND line_id = ?", shop, line_id
        )
        return row

    def _do(self, sql: str, *values: object) -> None:
        self.state.connection.execute(sql, values)
