"""GraphQL connections of the simulated Shopify: pages of rows behind opaque cursors."""

import base64
import json
from collections.abc import Callable, Iterable
from contextvars import ContextVar
from itertools import islice
from typing import Any

from graphql import GraphQLError

MAX_FIRST = 250
UNPAGED = 10_000_000
Node = dict[str, Any]

# Within a bulk operation a connection without `first` gives all that it has.
unpaged: ContextVar[bool] = ContextVar("unpaged", default=False)


def connection(
    rows: Iterable[Any],
    asked: Node,
    shape: Callable[[Any], Node],
    cursor_of: Callable[[Any], Any],
) -> Node:
    """One page of a connection; `rows` begin after the cursor and may go on beyond the page."""
    first = asked.get("first")
    if first is None and unpaged.get():
        first = UNPAGED
    elif first is None or asked.get("last") is not None or asked.get("before") is not None:
        raise GraphQLError("You must provide `first` (this server does not page backwards).")
    elif not 0 <= first <= MAX_FIRST:
        raise GraphQLError(f"`first` must be 0 to {MAX_FIRST}, was {first}.")
    page = list(islice(iter(rows), first + 1))
    shown = page[:first]
    edges = [{"cursor": _encode(cursor_of(row)), "node": shape(row)} for row in shown]
    return {
        "edges": edges,
        "nodes": [edge["node"] for edge in edges],
        "pageInfo": {
            "startCursor": edges[0]["cursor"] if edges else None,
            "endCursor": edges[-1]["cursor"] if edges else None,
            "hasNextPage": len(page) > first,
            "hasPreviousPage": asked.get("after") is not None,
        },
    }


def _encode(value: Any) -> str:
    return base64.b64encode(json.dumps(value).encode()).decode()


def given_cursor(asked: Node) -> Any:
    if asked.get("after") is None:
        return None
    try:
        return json.loads(base64.b64decode(asked["after"]))
    except ValueError:
        raise GraphQLError(f"Invalid cursor: {asked['after']}") from None


def after_id(asked: Node) -> int:
    cursor = given_cursor(asked)
    return cursor if isinstance(cursor, int) else -1
