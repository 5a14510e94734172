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
AGREEMENTS_PER_PAGE = 10
SALES_PER_PAGE = 40

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

# What a bulk operation is given: it pages by itself, wants edges, and an id of every node.
ALL_LEVELS = """
query HubAllLevels {
  inventoryItems {
    edges {
      node {
        id
        sku
        variant { id }
        inventoryLevels {
          edges {
            node {
              id
              location { id }
              quantities(names: ["available"]) { name quantity updatedAt }
            }
          }
        }
      }
    }
  }
}
"""

START_BULK = """
mutation HubStartBulk($query: String!) {
  bulkOperationRunQuery(query: $query) {
    bulkOperation { id status }
    userErrors { code field message }
  }
}
"""

BULK_OPERATION = """
query HubBulkOperation($id: ID!) {
  node(id: $id) {
    ... on BulkOperation { id status errorCode objectCount fileSize url }
  }
}
"""

CANCEL_BULK = """
mutation HubCancelBulk($id: ID!) {
  bulkOperationCancel(id: $id) {
    bulkOperation { id status }
    userErrors { field message }
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
      edited
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

# One order in the shape of a page's.
ORDER_BY_ID = """
query HubOrder($id: ID!, $lines: Int!, $parts: Int!, $partLines: Int!) {
  order(id: $id) {
    id
    createdAt
    updatedAt
    cancelledAt
    edited
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
"""

# What was agreed when the order was placed, and by each edit since. An agreement cannot be asked
# for by its id: more of its sales are had with first: 1 behind the cursor of the one before it.
ORDER_AGREEMENTS = """
query HubOrderAgreements(
  $id: ID!, $first: Int!, $after: String, $sales: Int!, $afterSale: String
) {
  order(id: $id) {
    agreements(first: $first, after: $after) {
      pageInfo { hasNextPage }
      edges {
        cursor
        node {
          __typename
          id
          happenedAt
          sales(first: $sales, after: $afterSale) {
            pageInfo { hasNextPage endCursor }
            nodes { id actionType quantity ... on ProductSale { lineItem { id } } }
          }
        }
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
    INVENTORY_ITEMS, ALL_LEVELS, START_BULK, BULK_OPERATION, CANCEL_BULK, ITEM_LEVELS,
    LEVELS_AT_LOCATION, VARIANTS, ORDERS_UPDATED, ORDER_BY_ID,
    ORDER_AGREEMENTS, ORDER_LINES, ORDER_FULFILMENTS, ORDER_REFUNDS, FULFILMENT_LINES,
    REFUND_LINES, SET_QUANTITIES,
)  # fmt: skip
