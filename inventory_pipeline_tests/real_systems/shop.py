"""What customers and the staff of a Vendure shop do, through its own APIs."""

import itertools
import time

import httpx

from inventory_pipeline.config.load import check_hub
from inventory_pipeline.config.secrets import Secret
from inventory_pipeline.connectors.rest import RestConnector
from inventory_pipeline.connectors.vendure import VendureConnector
from inventory_pipeline.core.ports import Opening
from inventory_pipeline_tests.real_systems.servers import (
    PASSWORD,
    REST_EXAMPLE,
    WEBHOOK_SECRET,
    Server,
)

ORDER = """{ order(id: "%s") { id code state lines { id quantity productVariant { sku } }
  fulfillments { id state } } }"""


class Api:
    """One GraphQL API with one session."""

    def __init__(self, url: str) -> None:
        self._client = httpx.Client(base_url=url, timeout=60, trust_env=False)
        self.close = self._client.close
        self._headers: dict[str, str] = {}

    def __call__(self, _query: str, **variables):
        answer = self._client.post(
            "", json={"query": _query, "variables": variables}, headers=self._headers
        )
        if token := answer.headers.get("vendure-auth-token"):
            self._headers["authorization"] = f"Bearer {token}"
        body = answer.json()
        assert not body.get("errors"), body["errors"]
        for value in body["data"].values():
            if isinstance(value, dict) and "errorCode" in value:
                raise AssertionError(value)
        return body["data"]


class Shop:
    """A running shop."""

    names = itertools.count(1)

    def __init__(self, server: Server, hub_url: str = "") -> None:
        self.server = server
        self.url = server.url
        self.hub_url = hub_url
        self._open: list[Api | VendureConnector | RestConnector] = []
        self.admin = self._session("admin-api")
        self.admin(
            'mutation($p: String!) { login(username: "superadmin", password: $p,'
            " rememberMe: true) { __typename ... on ErrorResult { errorCode message } } }",
            p=PASSWORD,
        )
        self.variants: dict[str, str] = {}

    def options(self, **more):
        given = {
            "url": self.url, "username": "superadmin", "password": Secret(PASSWORD),
            "webhook_secret": Secret(WEBHOOK_SECRET), "timeout_s": 20,
        }  # fmt: skip
        return given | more

    def connector(self, *known: str, **more) -> VendureConnector:
        options = {name: value for name, value in self.options(**more).items() if value is not None}
        known_here = frozenset(known)
        opening = Opening(system="shop", options=options, hub_folder=".", external_ids=known_here)
        self._open.append(connector := VendureConnector(opening))
        return connector

    def as_rest(self, *known: str, **more) -> RestConnector:
        """The connector of the example that has Vendure's calls in hub.yaml."""
        environ = {"VENDURE_URL": self.url, "VENDURE_PASSWORD": PASSWORD}
        loaded, findings = check_hub(REST_EXAMPLE, environ)
        assert loaded is not None, findings
        options = dict(loaded.systems["shop"].options)
        if "password" in more:
            options["auth"] = dict(options["auth"]) | {"password": more["password"]}
        if "page_size" in more:
            paging = {"style": "offset", "size": more["page_size"]}
            options["changes"] = dict(options["changes"]) | {"paging": paging}
        opening = Opening(
            system="shop",
            options=options,
            hub_folder=str(REST_EXAMPLE),
            external_ids=frozenset(known),
        )
        self._open.append(connector := RestConnector(opening))
        return connector

    def close(self) -> None:
        for one in self._open:
            one.close()

    def _session(self, path: str) -> Api:
        self._open.append(session := Api(f"{self.url}/{path}"))
        return session

    def product(self, sku: str = "", on_hand: int = 0, **more) -> str:
        """A new product with one variant; returns its sku."""
        number = next(self.names)
        sku = sku or f"V-{number}"
        name = f"Thing {number} {time.time_ns()}"
        product = self.admin(
            "mutation($i: CreateProductInput!) { createProduct(input: $i) { id } }",
            i={
                "enabled": True,
                "translations": [
                    {
                        "languageCode": "en", "name": name, "description": "",
                        "slug": name.replace(" ", "-").lower(),
                    }
                ],
            },
        )["createProduct"]["id"]  # fmt: skip
        variant = {
            "productId": product, "sku": sku, "price": 1000, "stockOnHand": on_hand,
            "translations": [{"languageCode": "en", "name": name}],
        }  # fmt: skip
        made = self.admin(
            "mutation($i: [CreateProductVariantInput!]!) {"
            " createProductVariants(input: $i) { id } }",
            i=[variant | more],
        )["createProductVariants"]
        self.variants[sku] = made[0]["id"]
        return sku

    def location(self, name: str) -> str:
        made = self.admin(
            "mutation($i: CreateStockLocationInput!) { createStockLocation(input: $i) { id } }",
            i={"name": name, "description": ""},
        )
        return made["createStockLocation"]["id"]

    def remove_location(self, number: str) -> None:
        self.admin(
            "mutation($i: DeleteStockLocationInput!) { deleteStockLocation(input: $i) { result } }",
            i={"id": number},
        )

    def shown(self, sku: str) -> int:
        """What the shop's own pages say can be bought."""
        customer = self._session("shop-api")
        found = customer(
            "query($id: ID!) { product(id: $id) { variants { id stockLevel } } }",
            id=self._product_of(sku),
        )
        (variant,) = found["product"]["variants"]
        return int(variant["stockLevel"])

    def stock(self, sku: str) -> tuple[int, int]:
        """(on hand, allocated) at the first location."""
        found = self.admin(
            "query($id: ID!) { productVariant(id: $id) {"
            " stockLevels { stockOnHand stockAllocated } } }",
            id=self.variants[sku],
        )["productVariant"]["stockLevels"][0]
        return found["stockOnHand"], found["stockAllocated"]

    def buy(self, sku: str, quantity: int):
        """A customer orders and pays; returns the order."""
        customer = self._session("shop-api")
        error = "__typename ... on ErrorResult { errorCode message }"
        customer(
            "mutation($v: ID!, $q: Int!) { addItemToOrder(productVariantId: $v, quantity: $q)"
            f" {{ {error} }} }}",
            v=self.variants[sku],
            q=quantity,
        )
        customer(
            'mutation($e: String!) { setCustomerForOrder(input: {firstName: "A", lastName: "B",'
            f" emailAddress: $e}}) {{ {error} }} }}",
            e=f"a{time.time_ns()}@example.com",
        )
        customer(
            'mutation { setOrderShippingAddress(input: {fullName: "A B", streetLine1: "x",'
            f' city: "y", postalCode: "1", countryCode: "DE"}}) {{ {error} }} }}'
        )
        method = customer("{ eligibleShippingMethods { id } }")["eligibleShippingMethods"][0]["id"]
        customer(
            "mutation($i: [ID!]!) { setOrderShippingMethod(shippingMethodId: $i)"
            f" {{ {error} }} }}",
            i=[method],
        )
        customer(f'mutation {{ transitionOrderToState(state: "ArrangingPayment") {{ {error} }} }}')
        paid = customer(
            'mutation { addPaymentToOrder(input: {method: "dummy", metadata: {}}) {'
            " __typename ... on Order { id } ... on ErrorResult { errorCode message } } }"
        )
        return self.order(paid["addPaymentToOrder"]["id"])

    def order(self, number: str):
        return self.admin(ORDER % number)["order"]

    def fulfil(self, order, quantity: int) -> str:
        line = order["lines"][0]["id"]
        made = self.admin(
            "mutation($i: FulfillOrderInput!) { addFulfillmentToOrder(input: $i) { __typename"
            " ... on Fulfillment { id } ... on ErrorResult { errorCode message } } }",
            i={
                "lines": [{"orderLineId": line, "quantity": quantity}],
                "handler": {
                    "code": "manual-fulfillment",
                    "arguments": [{"name": "method", "value": "parcel"}],
                },
            },
        )
        return made["addFulfillmentToOrder"]["id"]

    def undo_fulfilment(self, number: str) -> None:
        self.admin(
            'mutation($i: ID!) { transitionFulfillmentToState(id: $i, state: "Cancelled") {'
            " __typename ... on ErrorResult { errorCode message } } }",
            i=number,
        )

    def cancel(self, order, quantity: int | None = None) -> None:
        """Units of the first line, or the whole order."""
        chosen = {"orderId": order["id"], "reason": "changed their mind"}
        if quantity is not None:
            chosen["lines"] = [{"orderLineId": order["lines"][0]["id"], "quantity": quantity}]
        self.admin(
            "mutation($i: CancelOrderInput!) { cancelOrder(input: $i) { __typename"
            " ... on ErrorResult { errorCode message } } }",
            i=chosen,
        )

    def modify(self, order, **change) -> None:
        error = "__typename ... on ErrorResult { errorCode message }"
        self.admin(
            'mutation($i: ID!) { transitionOrderToState(id: $i, state: "Modifying")'
            f" {{ {error} }} }}",
            i=order["id"],
        )
        self.admin(
            f"mutation($i: ModifyOrderInput!) {{ modifyOrder(input: $i) {{ {error} }} }}",
            i={"dryRun": False, "orderId": order["id"], **change},
        )

    def _product_of(self, sku: str) -> str:
        found = self.admin(
            "query($id: ID!) { productVariant(id: $id) { productId } }", id=self.variants[sku]
        )
        return found["productVariant"]["productId"]
