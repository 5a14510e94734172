"""What bundles.csv may say: known parts, exact quantities, no bundle inside itself."""

from collections.abc import Mapping, Sequence

from inventory_pipeline.config.findings import Report, listed
from inventory_pipeline.config.policy import BundlePart, Item
from inventory_pipeline.core.quantities import InexactQuantity, to_milli

FILE = "catalog/bundles.csv"
ITEMS_FILE = "catalog/items.csv"
NumberedPart = tuple[int, BundlePart]


def check_parts(
    parts: Sequence[NumberedPart],
    items: Mapping[str, Item],
    bundle_lines: Mapping[str, int],
    report: Report,
) -> None:
    """Findings for every wrong row, every bundle without parts, and every cycle.

    `bundle_lines`: the line in items.csv of each item of kind bundle.
    """
    first: dict[tuple[str, str], int] = {}
    for line, part in parts:
        _check_part(line, part, items, report)
        pair = (part.bundle_sku, part.component_sku)
        earlier = first.setdefault(pair, line)
        if earlier != line:
            message = f"'{pair[0]}' lists this component twice; the first is in line {earlier}"
            report.error(FILE, line, message, pair[1])
    whole = {part.bundle_sku for _, part in parts}
    for sku, line in bundle_lines.items():
        if sku not in whole:
            message = f"the bundle '{sku}' has no components in bundles.csv"
            report.error(ITEMS_FILE, line, message, sku)
    _check_cycles(parts, report)


def _check_part(line: int, part: BundlePart, items: Mapping[str, Item], report: Report) -> None:
    bundle, component = items.get(part.bundle_sku), items.get(part.component_sku)
    if bundle is None:
        message = f"items.csv has no sku '{part.bundle_sku}'"
        report.error(FILE, line, message, part.bundle_sku)
    elif bundle.kind != "bundle":
        message = f"'{part.bundle_sku}' has components here, but items.csv says it is {bundle.kind}"
        report.error(FILE, line, message, part.bundle_sku)
    if component is None:
        message = f"items.csv has no sku '{part.component_sku}'"
        report.error(FILE, line, message, part.component_sku)
        return
    try:
        to_milli(part.quantity, decimals=component.decimals)
    except InexactQuantity:
        message = f"'{component.sku}' is counted with {component.decimals} decimals"
        report.error(FILE, line, message, part.quantity)


def _check_cycles(parts: Sequence[NumberedPart], report: Report) -> None:
    """Each cycle once, at the row that closes it. Iterative: nesting may be deep."""
    edges: dict[str, list[tuple[str, int]]] = {}
    for line, part in parts:
        edges.setdefault(part.bundle_sku, []).append((part.component_sku, line))
    finished: set[str] = set()
    for start, first_children in edges.items():
        path: dict[str, None] = {start: None}
        stack = [(start, iter(first_children))] if start not in finished else []
        while stack:
            sku, children = stack[-1]
            child, line = next(children, (None, 0))
            if child is None:
                stack.pop()
                path.pop(sku)
                finished.add(sku)
            elif child in path:
                _report_cycle(list(path), child, line, report)
            elif child in edges and child not in finished:
                path[child] = None
                stack.append((child, iter(edges[child])))


def _report_cycle(path: list[str], closing: str, line: int, report: Report) -> None:
    cycle = [*path[path.index(closing) :], closing]
    shown = listed(cycle, most=12).replace(", ", " > ")
    report.error(FILE, line, f"a bundle contains itself: {shown}", closing)
