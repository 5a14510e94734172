"""Shopify's query cost and its leaky bucket, simplified.

An object costs 1, a mutation 10 and its input a little, a connection 2 and a tenth of a point for
each object that it may return. Every answer says what it cost and how full the bucket is.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import ceil
from typing import Any

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    InlineFragmentNode,
    IntValueNode,
    OperationDefinitionNode,
    SelectionSetNode,
    VariableNode,
)

MUTATION_COST = 10.0
CONNECTION_COST = 2.0
OBJECT_SHARE = 0.1
INPUT_SHARE = 0.01
DEFAULT_FIRST = 50
MAX_COST = 1000


@dataclass(slots=True)
class Bucket:
    """`points` of `maximum`, refilled by `restore` points a second of the monotonic `timer`.

    Counts what was spent, and how often a query was refused.
    """

    maximum: float
    restore: float
    timer: Callable[[], float]
    points: float = 0.0
    filled_at: float = 0.0
    began_at: float = 0.0
    spent: float = 0.0
    refused: int = 0

    def __post_init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Full again, and nothing counted."""
        self.points, self.spent, self.refused = self.maximum, 0.0, 0
        self.filled_at = self.began_at = self.timer()

    def take(self, cost: float) -> bool:
        """Takes the points, or says False and takes none."""
        self._fill()
        if cost > self.points:
            self.refused += 1
            return False
        self.points -= cost
        self.spent += cost
        return True

    def used_percent(self) -> float:
        """What was spent of all that could have been since the reset: what it held then, and what
        came back since.
        """
        allowed = self.maximum + (self.timer() - self.began_at) * self.restore
        return 100 * self.spent / allowed

    def status(self) -> dict[str, float]:
        self._fill()
        return {
            "maximumAvailable": self.maximum,
            "currentlyAvailable": int(self.points),
            "restoreRate": self.restore,
        }

    def _fill(self) -> None:
        now = self.timer()
        self.points = min(self.maximum, self.points + (now - self.filled_at) * self.restore)
        self.filled_at = now


def query_cost(
    document: DocumentNode, operation: OperationDefinitionNode, variables: Mapping[str, Any]
) -> int:
    """Points of one operation before it runs."""
    fragments = {
        node.name.value: node
        for node in document.definitions
        if isinstance(node, FragmentDefinitionNode)
    }
    if operation.operation.value == "mutation":
        items = sum(_list_lengths(value) for value in variables.values())
        return ceil(MUTATION_COST + INPUT_SHARE * items)
    return max(1, ceil(_selection(operation.selection_set, fragments, variables)))


def _selection(
    selected: SelectionSetNode | None,
    fragments: Mapping[str, FragmentDefinitionNode],
    variables: Mapping[str, Any],
) -> float:
    if selected is None:
        return 0.0
    total = 0.0
    for node in selected.selections:
        if isinstance(node, FragmentSpreadNode):
            total += _selection(fragments[node.name.value].selection_set, fragments, variables)
        elif isinstance(node, InlineFragmentNode):
            total += _selection(node.selection_set, fragments, variables)
        elif isinstance(node, FieldNode) and node.selection_set is not None:
            total += _field(node, fragments, variables)
    return total


def _field(
    node: FieldNode,
    fragments: Mapping[str, FragmentDefinitionNode],
    variables: Mapping[str, Any],
) -> float:
    inside = _selection(node.selection_set, fragments, variables)
    size = _size(node, variables)
    if size is None:
        return inside if node.name.value in {"nodes", "edges", "pageInfo"} else 1 + inside
    return CONNECTION_COST + size * OBJECT_SHARE * (1 + inside)


def _size(node: FieldNode, variables: Mapping[str, Any]) -> int | None:
    """The `first` or `last` of a connection; None for a field that has neither."""
    for argument in node.arguments:
        if argument.name.value in {"first", "last"}:
            if isinstance(argument.value, IntValueNode):
                return int(argument.value.value)
            if isinstance(argument.value, VariableNode):
                return int(variables.get(argument.value.name.value) or DEFAULT_FIRST)
    return None


def _list_lengths(value: Any) -> int:
    if isinstance(value, Mapping):
        return sum(_list_lengths(inner) for inner in value.values())
    return len(value) if isinstance(value, list) else 0
