"""The GraphQL documents that the Shopify connector sends, for API version 2026-10.

Every document asks for few objects at a time: the price of a query grows with the sizes of its
connections, and one query may not cost more than 1,000 points.
"""

API_VERSION = "2026-10"

ITEMS_PER_PAGE = 25
LEVELS_PER_ITEM = 10
VARIANTS_PER_PAGE = 200
ORDERS_PER_PAGE = 10
LINES_PER_ORDER = 20
# What most orders have; one with as many or more is asked again for all of them.
FIRST_PARTS = 2
LINES_PER_FIRST_PART = 10
LINES_PER_PAGE = 100
PARTS_PER_ORDER = 10  # fulfilments, and refunds
LINES_PER_PART = 20
# An order with more parts is asked again in this shape; with more than that, it is refused.
MANY_PARTS_PER_ORDER = 60
FEW_LINES_PER_PART = 3
ITEMS_PER_LOOK = 100

INVENTORY_ITEMS = """
query HubInventoryItems($first: Int!, $after: String, $levels: Int!) {
  inventoryItems(first: $first, after: $after) {
    pageInfo { hasNextPage endCursor }
    nodes {
      id
      sku
      variant { id }
      inventoryLevels(first: $levels) {
        pageInfo { hasNextPage endCursor }
        nodes {
          location { id }
          quantities(names: ["available"]) { name quantity updatedAt }
        }
      }
    }
  }
}
"""

ITEM_LEVELS = """
query HubItemLevels($id: ID!, $first: Int!, $after: String) {
  inventoryItem(id: $id) {
    inventoryLevels(first: $first, after: $after) {
      pageInfo { hasNextPage endCursor }
      nodes {
        location { id }
        quantities(names: ["available"]) { name quantity updatedAt }
      }
    }
  }
}
"""

# `query` names items by number: "id:1 OR id:2".
LEVELS_AT_LOCATION = """
query HubLevelsAtLocation($first: Int!, $query: String!, $location: ID!) {
  inventoryItems(first: $first, query: $query) {
    nodes {
      id
      inventoryLevel(locationId: $location) {
        quantities(names: ["available"]) { name quantity updatedAt }
      }
    }
  }
}
"""

VARIANTS = """
query HubVariants($first: Int!, $after: String) {
  productVariants(first: $first, after: $after) {
    pageInfo { hasNextPage endCursor }
    nodes { id sku inventoryItem { id } }
  }
}
"""

ORDERS_UPDATED = """
query HubOrdersUpdated(
  $first: Int!, $after: String, $query: String, $lines: Int!, $parts: Int!, $partLines: Int!
) {
  orders(first: $first, after: $after, query: $query, sortKey: UPDATED_AT) {
    pageInfo { hasNextPage endCursor }
    nodes {
      id
      createdAt
      updatedAt
      cancelledAt
      fulfillments(first: $parts) {
        id
        status
        createdAt
        updatedAt
        location { id }
        fulfillmentLineItems(first: $partLines) {
          pageInfo { hasNextPage endCursor }
          nodes { quantity lineItem { id } }
        }
      }
      lineItems(first: $lines) {
        pageInfo { hasNextPage endCursor }
        nodes { id sku quantity currentQuantity variant { id } }
      }
    }
  }
}
"""

ORDER_LINES = """
query HubOrderLines($id: ID!, $first: Int!, $after: String) {
  order(id: $id) {
    lineItems(first: $first, after: $after) {
      pageInfo { hasNextPage endCursor }
      nodes { id sku quantity currentQuantity variant { id } }
    }
  }
}
"""

ORDER_FULFILMENTS = """
query HubOrderFulfilments($id: ID!, $parts: Int!, $lines: Int!) {
  order(id: $id) {
    fulfillments(first: $parts) {
      id
      status
      createdAt
      updatedAt
      location { id }
      fulfillmentLineItems(first: $lines) {
        pageInfo { hasNextPage endCursor }
        nodes { quantity lineItem { id } }
      }
    }
  }
}
"""

ORDER_REFUNDS = """
query HubOrderRefunds($id: ID!, $parts: Int!, $lines: Int!) {
  order(id: $id) {
    refunds(first: $parts) {
      id
      createdAt
      refundLineItems(first: $lines) {
        pageInfo { hasNextPage endCursor }
        nodes { quantity restockType lineItem { id } }
      }
    }
  }
}
"""

FULFILMENT_LINES = """
query HubFulfilmentLines($id: ID!, $first: Int!, $after: String) {
  fulfillment(id: $id) {
    fulfillmentLineItems(first: $first, after: $after) {
      pageInfo { hasNextPage endCursor }
      nodes { quantity lineItem { id } }
    }
  }
}
"""

REFUND_LINES = """
query HubRefundLines($id: ID!, $first: Int!, $after: String) {
  refund(id: $id) {
    refundLineItems(first: $first, after: $after) {
      pageInfo { hasNextPage endCursor }
      nodes { quantity restockType lineItem { id } }
    }
  }
}
"""

SET_QUANTITIES = """
mutation HubSetQuantities($input: InventorySetQuantitiesInput!, $key: String!) {
  inventorySetQuantities(input: $input) @idempotent(key: $key) {
    inventoryAdjustmentGroup { id }
    userErrors { field code message }
  }
}
"""

ALL = (
    INVENTORY_ITEMS, ITEM_LEVELS, LEVELS_AT_LOCATION, VARIANTS, ORDERS_UPDATED, ORDER_LINES,
    ORDER_FULFILMENTS, ORDER_REFUNDS, FULFILMENT_LINES, REFUND_LINES, SET_QUANTITIES,
)  # fmt: skip
