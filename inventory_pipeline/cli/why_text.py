"""An explanation as text for people, and as plain values for scripts."""

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from inventory_pipeline.core.quantities import from_milli
from inventory_pipeline.flow.evaluate import Evaluation
from inventory_pipeline.flow.last_words import LastWord
from inventory_pipeline.flow.moments import Moment
from inventory_pipeline.flow.pushed import ListingWhy
from inventory_pipeline.flow.waterfall import ComponentTerms, Line, LocationTerms, worth_saying
from inventory_pipeline.flow.why import BucketWhy, OpenLine, Why
from inventory_pipeline.memory.history import Push
from inventory_pipeline.server.present import count, moment, quantity

NOTHING = "\u2013"
WIDE = 200  # columns
SAID = {
    "on_hand": "on hand",
    "quality_control": "quality control",
    "safety_stock": "safety stock",
    "location_reserve": "reserve of the location",
    "sellable": "all locations",
    "components": "can be put together",
    "unassigned": "promised, place open",
    "network_safety_stock": "safety stock, network",
    "protected_for_others": "kept for other channels",
    "min_display": "shown from",
    "exclude": "excluded",
    "available": "may be sold",
}


def plain(value: Any) -> Any:
    """Values for JSON: quantities as exact decimal texts under names without `_milli`."""
    if is_dataclass(value) and not isinstance(value, type):
        value = {f.name: getattr(value, f.name) for f in fields(value)}
    if isinstance(value, Mapping):
        return dict(_named(name, one) for name, one in value.items())
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    return value.isoformat() if isinstance(value, datetime) else value


def _named(name: str, value: Any) -> tuple[str, Any]:
    if name.endswith("_milli"):
        return name.removesuffix("_milli"), _exact(value)
    if name == "share_millionths":
        percent = None if value is None else f"{(Decimal(value) / 10_000).normalize():f}"
        return "share_percent", percent
    return name, plain(value)


def _exact(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _exact(one) for name, one in value.items()}
    return None if value is None else f"{from_milli(value):f}"


def print_why(why: Why) -> None:
    # Where nobody watches, long ids are better whole than folded.
    console = Console(highlight=False, width=None if sys.stdout.isatty() else WIDE)
    console.print(Text.assemble((why.sku, "bold"), f"  {why.title}"))
    console.print(_when(why.moment), soft_wrap=True)
    for bucket in why.buckets:
        _print_bucket(console, bucket)
    _print_positions(console, why)
    _print_promises(console, why)
    for listing in why.elsewhere:
        console.print(Text(f"\n{listing.channel} / {listing.bucket}", "bold"))
        _print_listing(console, listing)


def print_told(result: Evaluation) -> None:
    """Each row of an evaluation by itself."""
    console = Console(highlight=False, width=None if sys.stdout.isatty() else WIDE)
    console.print(f"at {moment(result.at)} UTC")
    for told in result.told:
        console.print(Text.assemble("\n", (told.sku, "bold"), f"  {told.title}"), end="")
        _print_bucket(console, told.bucket)
        _print_order_lines(console, told.order_lines)


def _when(when: Moment) -> str:
    text = (
        f"offset {count(when.ledger_offset)}, at {moment(when.at)} UTC, rules version"
        f" {when.policy.version}, catalogue version {when.mapping.version}"
    )
    if when.past:
        return f"{text} (the ledger is at {count(when.head)} now)"
    behind = when.head - when.computed_offset
    return f"{text}, {count(behind)} entries not computed yet" if behind > 0 else text


def _print_bucket(console: Console, bucket: BucketWhy) -> None:
    head = f"{bucket.channel} / {bucket.bucket}"
    available = quantity(bucket.lines[-1].after_milli)
    console.print(Text.assemble("\n", (head, "bold"), f" ({bucket.mode}) may sell {available}"))
    table = _table("step", "", ">change", ">left", "rule", "")
    for component in bucket.components:
        _add_component(table, component)
    for place in bucket.locations:
        _add_lines(table, place.lines, where=place.location)
    _add_lines(table, bucket.lines)
    console.print(table)
    for listing in bucket.listings:
        _print_listing(console, listing)


def _add_component(table: Table, component: ComponentTerms) -> None:
    for place in component.locations:
        _add_lines(table, place.lines, where=f"{component.sku} at {place.location}")
        _add_possible(table, component, place)
    _add_lines(table, component.lines, where=component.sku)
    note = f"at {quantity(component.units_milli)} each enough for"
    table.add_row("2", f"{component.sku}: {note}", "", quantity(component.possible_milli), "", "")


def _add_possible(table: Table, component: ComponentTerms, place: LocationTerms) -> None:
    if place.sellable_milli:
        enough = quantity(component.possible_at_milli[place.location])
        table.add_row("", f"{component.sku} at {place.location}: enough for", "", enough, "", "")


def _add_lines(table: Table, lines: Iterable[Line], *, where: str = "") -> None:
    for line in filter(worth_saying, lines):
        name = SAID.get(line.term, line.term.replace("_", " "))
        table.add_row(
            str(line.step),
            f"{where}: {name}" if where else name,
            _signed(line.change_milli),
            quantity(line.after_milli),
            ", ".join(line.rules),
            line.note,
        )


def _signed(milli: int) -> str:
    return quantity(milli) if milli <= 0 else f"+{quantity(milli)}"


def _print_listing(console: Console, listing: ListingWhy) -> None:
    for line in _listing_text(listing):
        console.print(line, markup=False, soft_wrap=True)


def _listing_text(listing: ListingWhy) -> Iterator[str]:
    """The listing, what it gets, what was pushed, and what the outbox holds: a line each."""
    gets = "no listing under these rules"
    if listing.desired_milli is not None and listing.units_milli is not None:
        unit = "" if listing.units_milli == 1000 else f" of {quantity(listing.units_milli)} each"
        gets = f"gets {quantity(listing.desired_milli)}{unit}"
    yield f"  {listing.external_id} {gets}"
    yield f"    {_push_text(listing.pushed)}"
    if listing.pushed_next is not None:
        yield f"    then {_push_text(listing.pushed_next)}"
    yield f"    {', '.join(_outbox_parts(listing))}"


def _push_text(push: Push | None) -> str:
    if push is None:
        return "nothing pushed by then"
    done = "computed and not sent (shadow)" if push.outcome == "shadow" else "pushed"
    return (
        f"{done}: {quantity(push.quantity_milli)}, acknowledged {moment(push.answered_at)}"
        f" (offset {count(push.desired_offset)}, key {push.key})"
    )


def _outbox_parts(listing: ListingWhy) -> Iterator[str]:
    held = listing.outbox
    if held is None:
        yield "not in the outbox"
        return
    yield f"the outbox now wants {quantity(held.desired_milli)}"
    if listing.showing_milli is not None:
        sure = " (to be read first)" if listing.uncertain else ""
        yield f"the channel must be showing {quantity(listing.showing_milli)}{sure}"
    if held.failure:
        yield f"failing: {held.failure.splitlines()[0]}"
    if held.dead_at:
        yield "given up until something changes"


def _print_positions(console: Console, why: Why) -> None:
    console.print("\n[bold]Positions and their last valid update[/bold]")
    table = _table("sku", "location", "holds", "owner", "last update", "when (UTC)")
    for position in why.positions:
        for words in _by_entry(position.words):
            word = words[0]
            table.add_row(
                position.sku, word.location, ", ".join(map(_state_text, words)),
                word.owner or NOTHING, _word(word), moment(word.occurred_at),
            )  # fmt: skip
    console.print(table if table.row_count else "  nothing is known of it anywhere")


def _by_entry(words: Iterable[LastWord]) -> list[list[LastWord]]:
    """States of one location that the same entry spoke of last stand together."""
    found: dict[tuple[Any, ...], list[LastWord]] = {}
    for word in words:
        if word.kind or word.quantity_milli:
            entry = (word.location, word.owner, word.kind, word.event_id, word.source)
            found.setdefault((*entry, word.occurred_at), []).append(word)
    return list(found.values())


def _state_text(word: LastWord) -> str:
    return f"{quantity(word.quantity_milli)} {SAID.get(word.state, word.state)}"


def _word(word: LastWord) -> str:
    if word.kind == "snapshot":
        return f"snapshot {word.source.rsplit('/', 1)[-1]} of {word.system}"
    return f"{word.type} {word.event_id} of {word.system}" if word.kind else NOTHING


def _print_promises(console: Console, why: Why) -> None:
    _print_order_lines(console, why.order_lines)
    if why.reservations:
        console.print("\n[bold]Open reservations[/bold]")
        table = _table(
            "system", "reservation", "sku", ">quantity", "location", "channel", "until (UTC)"
        )
        for hold in why.reservations:
            table.add_row(
                hold.system, hold.reservation_id, _of_item(hold.sku, hold.item),
                quantity(hold.quantity_milli), hold.location or "unassigned",
                hold.channel or NOTHING, moment(hold.expires_at),
            )  # fmt: skip
        console.print(table)


def _print_order_lines(console: Console, lines: Sequence[OpenLine]) -> None:
    if not lines:
        return
    console.print("\n[bold]Open order lines[/bold]")
    table = _table(
        "system", "order / line", "sku", ">ordered", ">cancelled", ">shipped", ">open",
        ">awaiting proof", "location", "channel",
    )  # fmt: skip
    for line in lines:
        table.add_row(
            line.system, f"{line.order_id} / {line.line_id}", _of_item(line.sku, line.item),
            quantity(line.ordered_milli), quantity(line.cancelled_milli),
            quantity(line.shipped_milli), quantity(line.open_milli),
            quantity(line.awaiting_shipment_proof_milli), line.location or "unassigned",
            line.channel or NOTHING,
        )  # fmt: skip
    console.print(table)


def _of_item(sku: str, item: str) -> str:
    return sku if sku == item else f"{sku} in {item}"


def _table(*names: str) -> Table:
    """A plain table; columns whose name begins with `>` are numbers."""
    table = Table(box=None, pad_edge=True)
    for name in names:
        right = name.startswith(">")
        table.add_column(
            name.removeprefix(">"),
            justify="right" if right else "left",
            no_wrap=right,
            overflow="fold",
        )
    return table
