"""catalog/*.csv: items, identifiers and bundles, checked row by row (SEMANTICS §1).
 Every wrong row is named with file and line. Plain `csv`: a million rows are read in seconds, and
nothing heavier needs to be imported.
"""

import csv
import hashlib
import io
from collections.abc import Collection, Iterator, Mapping
from decimal import Decimal
from operator import itemgetter
from pathlib import Path
from typing import Any, Literal, TypeAlias

from inventory_pipeline.config.bundles import check_parts
from inventory_pipeline.config.findings import Report, did_you_mean, listed
from inventory_pipeline.config.policy import BundlePart, Catalog, Identifier, Item
from inventory_pipeline.core.errors import ConfigInvalid
from inventory_pipeline.core.quantities import InexactQuantity, parse_decimal, to_milli

FOLDER = "catalog"
ITEMS, IDENTIFIERS, BUNDLES = "items.csv", "identifiers.csv", "bundles.csv"
CATALOG_FILES = (ITEMS, IDENTIFIERS, BUNDLES)
COLUMNS = {
    ITEMS: ("sku", "title", "kind", "decimals", "tags", "price"),
    IDENTIFIERS: ("system", "external_id", "sku", "units"),
    BUNDLES: ("bundle_sku", "component_sku", "quantity"),
}
OPTIONAL_COLUMNS = {"price"}
# What an empty cell means is its first entry.
_KINDS: dict[str, Literal["simple", "bundle"]] = {
    "": "simple",
    "simple": "simple",
    "bundle": "bundle",
}
_DECIMALS = {"": 0, "0": 0, "1": 1, "2": 2, "3": 3}
Row: TypeAlias = tuple[int, tuple[str, ...]]


def catalog_files(folder: Path) -> dict[str, str]:
    """The text of each catalogue file that exists, by its name (`items.csv`, …), byte for byte.

    Raises ConfigInvalid where one cannot be read.
    """
    report = Report()
    files = read_catalog_files(folder, report)
    if report.findings():
        raise ConfigInvalid(report.findings())
    return files


def read_catalog_files(folder: Path, report: Report) -> dict[str, str]:
    """As `catalog_files`; what cannot be read, or is not a catalogue file, becomes a finding."""
    files: dict[str, str] = {}
    for name in CATALOG_FILES:
        path = folder / FOLDER / name
        try:
            files[name] = path.read_bytes().decode("utf-8")
        except FileNotFoundError:
            continue
        except UnicodeDecodeError as error:
            line = error.object.count(b"\n", 0, error.start) + 1
            report.error(_shown(name), line, "is not UTF-8 text here: save the file as UTF-8")
        except OSError as error:
            report.error(_shown(name), 0, f"cannot be read: {error.strerror}")
    for other in sorted((folder / FOLDER).glob("*.csv")):
        if other.name not in CATALOG_FILES:
            message = f"is not read{did_you_mean(other.name, CATALOG_FILES)}"
            report.warn(_shown(other.name), 0, message)
    return files


def catalog_hash(files: Mapping[str, str]) -> str:
    """SHA-256 over the names, lengths and bytes of the files, in the order of their names."""
    digest = hashlib.sha256()
    for name in sorted(files):
        content = files[name].encode()
        digest.update(f"{name}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()


def read_catalog(
    files: Mapping[str, str], systems: Collection[str] | None, report: Report
) -> Catalog:
    """The catalogue of these texts; wrong rows are left out and become findings.

    `systems`: the ids that hub.yaml names; None where they are not known.
    """
    if ITEMS not in files and not any(f.file == _shown(ITEMS) for f in report.findings()):
        report.error(_shown(ITEMS), 0, "is missing: every hub needs its list of items")
    bundle_lines: dict[str, int] = {}
    items = _read_items(files.get(ITEMS, ""), bundle_lines, report)
    known = items if files.get(ITEMS) else None
    identifiers = _read_identifiers(files.get(IDENTIFIERS, ""), systems, known, report)
    parts = _read_parts(files.get(BUNDLES, ""), report)
    if known is not None:
        check_parts(parts, items, bundle_lines, report)
    return Catalog(
        items=items, identifiers=tuple(identifiers), parts=tuple(part for _, part in parts)
    )


def _shown(name: str) -> str:
    return f"{FOLDER}/{name}"


def _rows(name: str, text: str, report: Report) -> Iterator[Row]:
    """Line and cells of every data row, in the order of COLUMNS; absent columns are empty."""
    if not text:
        return
    reader = csv.reader(io.StringIO(text.removeprefix("\ufeff"), newline=""), strict=True)
    done = 0
    try:
        header = next((row for row in reader if row), [])
        pick = _columns(name, header, reader.line_num, report)
        done = reader.line_num
        if pick is None:
            return
        width = len(header)
        for row in reader:
            line, done = done + 1, reader.line_num
            if len(row) == width:
                row.append("")
                yield line, pick(row)
            elif row:
                message = f"has {len(row)} cells, and the header {width}"
                report.error(_shown(name), line, message, ",".join(row))
    except csv.Error as error:
        report.error(_shown(name), done + 1, f"is not readable as CSV from here on: {error}")


def _columns(
    name: str, header: list[str], line: int, report: Report
) -> "itemgetter[tuple[str, ...]] | None":
    """Picks the known columns of a row with one empty cell appended; None: the header is wrong."""
    wanted = COLUMNS[name]
    found = [cell.strip() for cell in header]
    wrong = [cell for cell in found if cell not in wanted]
    missing = [cell for cell in wanted if cell not in found and cell not in OPTIONAL_COLUMNS]
    twice = [cell for n, cell in enumerate(found) if cell in found[:n] and cell in wanted]
    for cell in wrong:
        hint = did_you_mean(cell, wanted) or f" - known columns: {listed(wanted, most=20)}"
        report.error(_shown(name), line, f"unknown column '{cell}'{hint}", cell)
    for cell in missing:
        report.error(_shown(name), line, f"the column '{cell}' is missing")
    for cell in twice:
        report.error(_shown(name), line, f"the column '{cell}' stands twice", cell)
    if wrong or missing or twice:
        return None
    places: list[Any] = [found.index(c) if c in found else len(found) for c in wanted]
    return itemgetter(*places)


def _read_items(text: str, bundle_lines: dict[str, int], report: Report) -> dict[str, Item]:
    items: dict[str, Item] = {}
    # Tags and prices repeat, and a catalogue may have a million rows: each text is read once.
    tag_lists: dict[str, tuple[str, ...]] = {}
    prices: dict[str, Decimal | None] = {}
    for line, (sku, title, kind, decimals, tag_text, price_text) in _rows(ITEMS, text, report):
        if not sku or sku != sku.strip() or kind not in _KINDS or decimals not in _DECIMALS:
            report.error(_shown(ITEMS), line, *_item_problem(sku, kind, decimals))
            continue
        if sku in items:
            report.error(_shown(ITEMS), line, "this sku stands twice: keep one row", sku)
            continue
        tags = tag_lists.get(tag_text)
        if tags is None:
            tags = tuple(dict.fromkeys(t for t in map(str.strip, tag_text.split("|")) if t))
            tag_lists[tag_text] = tags
        price = prices.get(price_text)
        if price is None and price_text:
            price = prices[price_text] = _price(price_text, line, report)
        if _KINDS[kind] == "bundle":
            bundle_lines[sku] = line
        items[sku] = Item(
            sku=sku,
            title=title,
            kind=_KINDS[kind],
            decimals=_DECIMALS[decimals],
            tags=tags,
            price=price,
        )
    return items


def _item_problem(sku: str, kind: str, decimals: str) -> tuple[str, str]:
    if not sku or sku != sku.strip():
        return "sku should be a text without blanks around it", repr(sku)
    if kind not in _KINDS:
        hint = did_you_mean(kind, ["simple", "bundle"])
        return f"kind of '{sku}' should be simple or bundle{hint}", kind
    return f"decimals of '{sku}' should be 0, 1, 2 or 3", decimals


def _price(text: str, line: int, report: Report) -> Decimal | None:
    try:
        price = parse_decimal(text)
    except ValueError:
        price = Decimal(-1)
    if price < 0:
        report.error(_shown(ITEMS), line, "price should be a number, 0 or more", text)
        return None
    return price


def _read_identifiers(
    text: str, systems: Collection[str] | None, items: Mapping[str, Item] | None, report: Report
) -> list[Identifier]:
    found: list[Identifier] = []
    first: dict[str, dict[str, int]] = {}
    unit_values: dict[str, Decimal | str] = {"": Decimal(1)}
    for line, (system, external_id, sku, units_text) in _rows(IDENTIFIERS, text, report):
        units = unit_values.get(units_text)
        if units is None:
            units = unit_values[units_text] = _positive(units_text)
        lines = first.setdefault(system, {})
        if systems is not None and system not in systems:
            hint = did_you_mean(system, systems)
            message = f"hub.yaml has no system '{system}'{hint}"
            report.error(_shown(IDENTIFIERS), line, message, system)
        elif not external_id:
            report.error(_shown(IDENTIFIERS), line, f"external_id of '{sku}' is empty")
        elif items is not None and sku not in items:
            report.error(_shown(IDENTIFIERS), line, f"items.csv has no sku '{sku}'", sku)
        elif external_id in lines:
            message = f"{system} lists this id twice; the first is in line {lines[external_id]}"
            report.error(_shown(IDENTIFIERS), line, message, external_id)
        elif isinstance(units, str):
            message = f"units of '{external_id}' {units}"
            report.error(_shown(IDENTIFIERS), line, message, units_text)
        else:
            lines[external_id] = line
            identifier = Identifier(system=system, external_id=external_id, sku=sku, units=units)
            found.append(identifier)
    return found


def _read_parts(text: str, report: Report) -> list[tuple[int, BundlePart]]:
    parts: list[tuple[int, BundlePart]] = []
    for line, (bundle, component, quantity_text) in _rows(BUNDLES, text, report):
        quantity = _positive(quantity_text)
        if isinstance(quantity, str):
            message = f"quantity of '{component}' in '{bundle}' {quantity}"
            report.error(_shown(BUNDLES), line, message, quantity_text)
            # A usable row all the same, so that what else is wrong with it is found in this run.
            quantity = Decimal(1)
        part = BundlePart(bundle_sku=bundle, component_sku=component, quantity=quantity)
        parts.append((line, part))
    return parts


def _positive(text: str) -> Decimal | str:
    """The number, or what it should be instead."""
    try:
        value = parse_decimal(text)
        to_milli(value)
    except InexactQuantity:
        return "should have at most 3 decimals"
    except ValueError:
        return "should be a number greater than 0"
    return value if value > 0 else "should be a number greater than 0"
