"""Shopify's search syntax for `query` arguments, as far as stock and orders need it.

`sku:A OR sku:B`, `id:>5`, `updated_at:>='2026-03-02T08:00:00Z' status:open`: terms side by side
must all hold, `OR` binds weaker. A term of an unknown field is ignored, as Shopify does, and
reported as a warning.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

TERM = re.compile(
    r"""\s*(?:(?P<or>OR\b)|(?P<and>AND\b)|(?P<field>\w+):(?P<op><=|>=|<|>)?(?P<value>'[^']*'|"[^"]*"|\S+))"""
)
Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Term:
    field: str
    op: str
    value: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """`alternatives`: any of these lists of terms must hold whole; none: everything matches."""

    alternatives: tuple[tuple[Term, ...], ...]
    warnings: tuple[str, ...]

    def named(self, field: str) -> list[Any] | None:
        """The values that this field must be one of, where the search says nothing else."""
        terms = [term for terms in self.alternatives for term in terms]
        alone = all(len(terms) == 1 for terms in self.alternatives)
        if not terms or not alone or any(t.field != field or t.op != "=" for t in terms):
            return None
        return [term.value for term in terms]

    def matches(self, row: Row) -> bool:
        if not self.alternatives:
            return True
        return any(all(_holds(term, row) for term in terms) for terms in self.alternatives)


def parse_search(text: str | None, fields: Mapping[str, Callable[[str], Any]]) -> Search:
    """Reads a query; `fields` gives each known field's parser of values (ids, times, texts)."""
    alternatives: list[list[Term]] = [[]]
    warnings = []
    place = 0
    while text and place < len(text.rstrip()):
        match = TERM.match(text, place)
        if match is None:
            warnings.append(f"not understood: {text[place:].strip()}")
            break
        place = match.end()
        if match["or"]:
            alternatives.append([])
        elif match["field"]:
            if match["field"] not in fields:
                warnings.append(f"unknown field: {match['field']}")
                continue
            value = match["value"].strip("'\"")
            alternatives[-1].append(
                Term(
                    field=match["field"],
                    op=match["op"] or "=",
                    value=fields[match["field"]](value),
                )
            )
    kept = tuple(tuple(terms) for terms in alternatives if terms)
    return Search(alternatives=kept, warnings=tuple(warnings))


def _holds(term: Term, row: Row) -> bool:
    found, wanted = row[term.field], term.value
    if found is None:
        return False
    if term.op == "=":
        return bool(found == wanted)
    if term.op == ">":
        return bool(found > wanted)
    if term.op == ">=":
        return bool(found >= wanted)
    return bool(found < wanted) if term.op == "<" else bool(found <= wanted)
