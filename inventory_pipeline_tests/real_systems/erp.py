"""What people in a company with Tryton do: over its JSON-RPC, as its own client."""

import base64
import contextlib
import sqlite3
import time
from datetime import UTC, date, datetime
from decimal import Decimal

import httpx

from inventory_pipeline.config.secrets import Secret
from inventory_pipeline.connectors.tryton import TrytonConnector
from inventory_pipeline.core.ports import Opening
from inventory_pipeline_tests.real_systems.servers import PASSWORD, Server


def _wrapped(value):
    if isinstance(value, Decimal):
        return {"__class__": "Decimal", "decimal": str(value)}
    if isinstance(value, date):
        return {"__class__": "date", "year": value.year, "month": value.month, "day": value.day}
    if isinstance(value, dict):
        return {key: _wrapped(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_wrapped(one) for one in value]
    return value


class Erp:
    """A running Tryton with a company, and warehouses WH and WH2."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.url = server.url
        self._client = httpx.Client(base_url=server.url, timeout=120, trust_env=False)
        self._open: list[httpx.Client | TrytonConnector] = [self._client]
        self._auth: dict[str, str] = {}
        self.context: dict[str, object] = {}
        self._log_in()
        self._company()
        self._second_warehouse()
        self.places = {
            row["code"]: row["id"]
            for row in self.search("stock.location", [["code", "!=", None]], ["code"])
        }
        self.products: dict[str, int] = {}
        self.customer = self.call("party.party", "create", [
            {"name": "Customer", "addresses": [["create", [{"street": "x"}]]]}
        ])[0]  # fmt: skip
        self.address = self.search("party.address", [["party", "=", self.customer]], ["id"])[0][
            "id"
        ]

    def options(self, **more):
        given = {
            "url": self.url, "database": "tryton", "username": "admin",
            "password": Secret(PASSWORD), "snapshot_every_s": 1,
        }  # fmt: skip
        return given | more

    def connector(self, **more) -> TrytonConnector:
        opening = Opening(system="erp", options=self.options(**more), hub_folder=".")
        self._open.append(connector := TrytonConnector(opening))
        return connector

    def close(self) -> None:
        for one in self._open:
            one.close()

    def call(self, model: str, method: str, *parameters):
        """As a person, who reads a warning and goes on, and asks again what is locked."""
        for _ in range(20):
            answer = self._post(f"model.{model}.{method}", [*parameters, self.context])
            if answer.status_code == 503:
                time.sleep(0.1)
                continue
            body = answer.json()
            if "error" not in body:
                return body["result"]
            name, said, *_ = body["error"]
            assert name == "UserWarning", body["error"]
            self._post("model.res.user.warning.skip", [said[0], False, self.context])
        raise AssertionError(f"{model}.{method} is never done")

    def search(self, model, domain, fields, limit=None):
        return self.call(model, "search_read", domain, 0, limit, None, fields)

    def product(self, code: str, digits: int = 0) -> str:
        """A product that is counted in units, or in kilograms where it has digits."""
        unit = self._unit("Kilogram" if digits else "Unit")
        self.call("product.template", "create", [{
            "name": code, "type": "goods", "default_uom": unit, "list_price": Decimal(10),
            "products": [["create", [{"suffix_code": code}]]],
        }])  # fmt: skip
        rows = self.search("product.product", [["code", "=", code]], ["id"])
        self.products[code] = rows[0]["id"]
        return code

    def count(self, place: str, **found: float) -> None:
        """A physical inventory of a storage location, confirmed."""
        lines = [{"product": self.products[code], "quantity": q} for code, q in found.items()]
        (number,) = self.call("stock.inventory", "create", [{
            "location": self.places[place], "date": _today(), "empty_quantity": "keep",
            "lines": [["create", lines]],
        }])  # fmt: skip
        self.call("stock.inventory", "confirm", [number])

    def move(self, code: str, quantity: float, start: str, end: str, *, done: bool = True) -> int:
        """A single move without a document."""
        (number,) = self.call("stock.move", "create", [self._move(code, quantity, start, end)])
        if done:
            self.call("stock.move", "do", [number])
        return number

    def ship(self, code: str, quantity: float, *, reference: str = "", until: str = "do") -> int:
        """A customer's shipment from WH, as far as the step `until`."""
        move = self._move(code, quantity, "OUT", "CUS")
        (number,) = self.call("stock.shipment.out", "create", [{
            "customer": self.customer, "delivery_address": self.address,
            "warehouse": self.places["WH"], "warehouse_storage": self.places["STO"],
            "warehouse_output": self.places["OUT"], "planned_date": _today(),
            "reference": reference, "company": self.context["company"],
            "outgoing_moves": [["create", [move]]],
        }])  # fmt: skip
        for step in ("wait", "assign_try", "pick", "pack", "do"):
            self.call("stock.shipment.out", step, [number])
            if step == until:
                break
        return number

    def transfer(self, code: str, quantity: float, *, arrive: bool = True) -> int:
        """An internal shipment from WH to WH2, through transit."""
        day = _today()
        move = self._move(code, quantity, "STO", "STO2")
        for price in ("unit_price", "currency"):
            move.pop(price)
        (number,) = self.call("stock.shipment.internal", "create", [{
            "from_location": self.places["STO"], "to_location": self.places["STO2"],
            "planned_date": day, "planned_start_date": day, "company": self.context["company"],
            "moves": [["create", [move]]],
        }])  # fmt: skip
        steps = ("wait", "assign_try", "pack", "ship", "do")
        for step in steps if arrive else steps[:-1]:
            self.call("stock.shipment.internal", step, [number])
        return number

    def touch(self, code: str) -> None:
        """What a later computation of costs does to finished moves: their rows are written."""
        self._sql(
            "UPDATE stock_move SET write_date = datetime('now') WHERE product = ?",
            self.products[code],
        )

    def end_sessions(self) -> None:
        """Everybody is logged out."""
        self._sql("DELETE FROM ir_session WHERE 1 = ?", 1)
        self._log_in()

    def _sql(self, statement: str, value: int) -> None:
        with contextlib.closing(sqlite3.connect(self.server.folder / "tryton.sqlite")) as database:
            database.execute(statement, (value,))
            database.commit()

    def _move(self, code, quantity, start, end):
        product = self.products[code]
        unit = self.search("product.product", [["id", "=", product]], ["default_uom"])
        return {
            "product": product, "unit": unit[0]["default_uom"], "quantity": float(quantity),
            "from_location": self.places[start], "to_location": self.places[end],
            "unit_price": Decimal(5), "currency": self._currency,
            "company": self.context["company"],
        }  # fmt: skip

    def _post(self, method, parameters):
        body = {"id": 1, "method": method, "params": _wrapped(parameters)}
        return self._client.post("/tryton/rpc/", json=body, headers=self._auth)

    def _log_in(self) -> None:
        self._auth = {}
        answer = self._post("common.db.login", ["admin", {"password": PASSWORD}, "en"])
        user, token, *_ = answer.json()["result"]
        plain = base64.b64encode(f"admin:{user}:{token}".encode()).decode()
        self._auth = {"Authorization": f"Session {plain}"}
        self.user = user
        self.context = self._post("model.res.user.get_preferences", [True, {}]).json()["result"]

    def _company(self) -> None:
        (self._currency,) = self.call("currency.currency", "create", [
            {"name": "Euro", "symbol": "€", "code": "EUR", "numeric_code": "978",
             "rates": [["create", [{"date": date(2020, 1, 1), "rate": Decimal(1)}]]]}
        ])  # fmt: skip
        (party,) = self.call("party.party", "create", [{"name": "Hub Company"}])
        made = {"party": party, "currency": self._currency}
        (company,) = self.call("company.company", "create", [made])
        change = {"companies": [["add", [company]]], "company": company}
        self.call("res.user", "write", [self.user], change)
        self._log_in()

    def _second_warehouse(self) -> None:
        lost = self.search("stock.location", [["type", "=", "lost_found"]], ["id"])[0]["id"]
        made = [{"name": n, "code": n, "type": "storage"} for n in ("IN2", "OUT2", "STO2")]
        goods_in, out, storage = self.call("stock.location", "create", made)
        self.call("stock.location", "create", [{
            "name": "Warehouse Two", "code": "WH2", "type": "warehouse", "input_location": goods_in,
            "output_location": out, "storage_location": storage, "lost_found_location": lost,
        }])  # fmt: skip

    def _unit(self, name: str) -> int:
        return self.search("product.uom", [["name", "=", name]], ["id"], 1)[0]["id"]


def _today() -> date:
    return datetime.now(UTC).date()
