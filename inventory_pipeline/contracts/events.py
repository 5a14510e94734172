"""Events that come in: what each type must have, mapped and exact, or a reason why not (SEMANTICS
§4).
"""

import hashlib
from collections.abc import Mapping as MappingOf
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from inventory_pipeline.config.policy import Hub
from inventory_pipeline.contracts.mapping import MAX_WHOLE, Mapping, Target, mapping_of
from inventory_pipeline.contracts.values import (
    BadValue,
    base_milli,
    canonical,
    clean,
    parse_number,
    parse_time,
    printable,
)
from inventory_pipeline.core.ledger import BadRow, LedgerEvent
from inventory_pipeline.core.ports import RawEvent
from inventory_pipeline.core.quantities import MAX_DECIMALS, MILLI, InexactQuantity
from inventory_pipeline.core.vocabulary import Disposition, EventType, Reason

E = EventType
MAX_TEXT = 1000  # characters of an identifier


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """The fields of one type beyond event_id, type and occurred_at; others are kept in `raw`
    only.
    """

    required: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    goods: bool = True  # has an item and a quantity
    signed: bool = False
    bundle: bool = False  # may be about a bundle


_ORDER_LINE = ("order_id", "line_id")
SHAPES: MappingOf[EventType, Shape] = {
    E.GOODS_EXPECTED: Shape(required=("reference", "location", "expected_at")),
    E.GOODS_RECEIVED: Shape(required=("location",), optional=("reference",)),
    E.GOODS_ISSUED: Shape(required=("location",), optional=_ORDER_LINE, bundle=True),
    E.TRANSFER_SHIPPED: Shape(
        required=("reference", "location", "to_location"), optional=("expected_at",)
    ),
    E.TRANSFER_RECEIVED: Shape(required=("reference", "location", "to_location")),
    E.COUNTED: Shape(required=("location",)),
    E.ADJUSTED: Shape(required=("location", "reason"), signed=True),
    E.DAMAGED: Shape(required=("location",), signed=True),
    E.QUALITY_HELD: Shape(required=("location",), signed=True),
    E.RESERVED: Shape(
        required=("reservation_id",), optional=("location", "channel", "expires_at"), bundle=True
    ),
    E.RESERVATION_RELEASED: Shape(required=("reservation_id",), goods=False),
    E.ORDER_PLACED: Shape(required=_ORDER_LINE, optional=("channel", "location"), bundle=True),
    E.ORDER_ADJUSTED: Shape(required=_ORDER_LINE, signed=True, bundle=True),
    E.ORDER_CANCELLED: Shape(required=("order_id",), optional=("line_id",), bundle=True),
    E.PAYMENT_FAILED: Shape(required=("order_id",), goods=False),
    E.PAYMENT_RECOVERED: Shape(required=("order_id",), goods=False),
    E.ORDER_FULFILLED: Shape(required=(*_ORDER_LINE, "location"), bundle=True),
    E.FULFILMENT_CANCELLED: Shape(required=(*_ORDER_LINE, "location"), bundle=True),
    E.RETURNED: Shape(required=("location", "disposition"), optional=("order_id",), bundle=True),
    E.POS_SALE: Shape(required=("location",), bundle=True),
}
_LOCATIONS = {"location": "external_location", "to_location": "external_to_location"}
_TIMES = ("expires_at", "expected_at")
_TYPES = {type_.value: type_ for type_ in EventType}
_DISPOSITIONS = frozenset(one.value for one in Disposition)


class _Bad(Exception):
    """This event goes to quarantine."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


def check_events(
    hub: Hub, system: str, raw: Sequence[RawEvent], received_at: datetime
) -> tuple[list[LedgerEvent], list[BadRow]]:
    """Sorts events into those for the ledger, in their order, and those for quarantine. Never
    raises for anything that an event holds; whether an id came before is for the ledger to see.
    """
    mapping = mapping_of(hub, system)
    events: list[LedgerEvent] = []
    bad: list[BadRow] = []
    for one in raw:
        try:
            events.append(_checked(mapping, one, received_at))
        except _Bad as problem:
            bad.append(_bad_row(system, one, problem))
    return events, bad


def _checked(mapping: Mapping, raw: RawEvent, received_at: datetime) -> LedgerEvent:
    body = raw.body
    if raw.error or not isinstance(body, dict):
        raise _Bad(Reason.BAD_JSON, raw.error or "not a JSON object")
    event_id = _required(body, "event_id")
    type_ = _type(body)
    shape = SHAPES[type_]
    occurred_at = _time(body, "occurred_at", required=True)
    assert occurred_at is not None
    fields = _fields(mapping, body, shape)
    if shape.goods:
        fields |= _goods(mapping, body, type_, shape)
    try:
        text = canonical(body)
    except BadValue as error:
        raise _Bad(Reason.BAD_VALUE, str(error)) from error
    return LedgerEvent(
        system=mapping.system,
        event_id=event_id,
        type=type_.value,
        occurred_at=occurred_at,
        received_at=received_at,
        content_hash=hashlib.sha256(text.encode()).digest(),
        raw=text,
        source=clean(raw.source),
        position=clean(raw.position),
        delivery=raw.delivery or None,
        **fields,
    )


def _type(body: MappingOf[str, Any]) -> EventType:
    name = _required(body, "type")
    type_ = _TYPES.get(name)
    if type_ is None:
        raise _Bad(Reason.UNKNOWN_TYPE, f"type {name!r} is unknown")
    return type_


def _fields(mapping: Mapping, body: MappingOf[str, Any], shape: Shape) -> dict[str, Any]:
    """The fields of this type but item and quantity, as LedgerEvent names them."""
    found: dict[str, Any] = {}
    for name in (*shape.required, *shape.optional):
        needed = name in shape.required
        if name in _TIMES:
            found[name] = _time(body, name, required=needed)
            continue
        text = _required(body, name) if needed else _text(body, name)
        if text is None:
            continue
        if name in _LOCATIONS:
            found[_LOCATIONS[name]] = text
            found[name] = _location(mapping, name, text)
        else:
            found[name] = text
    disposition = found.get("disposition")
    if disposition is not None and disposition not in _DISPOSITIONS:
        raise _Bad(Reason.BAD_VALUE, f"disposition {disposition!r} is unknown")
    return found


def _location(mapping: Mapping, name: str, text: str) -> str:
    location = mapping.location(text)
    if location is None:
        raise _Bad(Reason.UNKNOWN_LOCATION, f"{name} {text!r} is not mapped")
    return location


def _goods(
    mapping: Mapping, body: MappingOf[str, Any], type_: EventType, shape: Shape
) -> dict[str, Any]:
    """Item and quantity. A cancel of a whole order ignores both; one of a line may leave them
    out.
    """
    cancel = type_ is E.ORDER_CANCELLED
    if cancel and _text(body, "line_id") is None:
        return {}
    item = _text(body, "item") if cancel else _required(body, "item")
    target = None if item is None else _target(mapping, item, shape)
    if cancel and body.get("quantity") is None:
        quantity_milli = None
    else:
        quantity_milli = _quantity(body, target, signed=shape.signed)
    return {"item": item, "sku": target and target.sku, "quantity_milli": quantity_milli}


def _target(mapping: Mapping, item: str, shape: Shape) -> Target:
    target = mapping.item(item)
    if target is None:
        raise _Bad(Reason.UNKNOWN_ITEM, f"item {item!r} is not mapped")
    if target.bundle and not shape.bundle:
        raise _Bad(
            Reason.BUNDLE_HAS_NO_STOCK, f"{target.sku} is a bundle: send its components instead"
        )
    return target


def _quantity(body: MappingOf[str, Any], target: Target | None, *, signed: bool) -> int:
    """Thousandths of the base unit."""
    value = body.get("quantity")
    if value is None or value == "":
        raise _Bad(Reason.MISSING_KEY, "quantity is missing")
    # Most are small whole numbers of whole units, exact without decimals; True is no number.
    small = type(value) is int and -MAX_WHOLE < value < MAX_WHOLE
    if small and target and target.whole and (signed or value >= 0):
        milli: int = value * target.whole * MILLI
        return milli
    try:
        number = parse_number(value)
    except ValueError as error:
        raise _Bad(Reason.BAD_NUMBER, f"quantity is {error}") from error
    if number < 0 and not signed:
        raise _Bad(Reason.NEGATIVE_QUANTITY, f"quantity {value} is below 0")
    units = target.units if target else Decimal(1)
    try:
        return base_milli(number, units=units, decimals=target.decimals if target else MAX_DECIMALS)
    except InexactQuantity as error:
        raise _Bad(Reason.FRACTION_OF_INDIVISIBLE, f"quantity {value}: {error}") from error
    except ValueError as error:
        raise _Bad(Reason.BAD_NUMBER, f"quantity {value}: {error}") from error


def _required(body: MappingOf[str, Any], name: str) -> str:
    text = _text(body, name)
    if text is None:
        raise _Bad(Reason.MISSING_KEY, f"{name} is missing")
    return text


def _text(body: MappingOf[str, Any], name: str) -> str | None:
    """An identifier: text, or a whole number as text; None where absent or blank."""
    value = body.get(name)
    if type(value) is str and value.isascii() and value.isprintable() and len(value) <= MAX_TEXT:
        return None if not value or value.isspace() else value  # what nearly all of them are
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise _Bad(Reason.BAD_VALUE, f"{name} must be a text, not {type(value).__name__}")
    try:
        text = str(value)
    except ValueError as error:
        raise _Bad(Reason.BAD_VALUE, f"{name} is too long") from error
    if len(text) > MAX_TEXT:
        raise _Bad(Reason.BAD_VALUE, f"{name} is longer than {MAX_TEXT} characters")
    if text != clean(text):
        raise _Bad(Reason.BAD_VALUE, f"{name} holds characters that cannot be stored")
    return text


def _time(body: MappingOf[str, Any], name: str, *, required: bool) -> datetime | None:
    value = body.get(name)
    if value is None or value == "":
        if required:
            raise _Bad(Reason.MISSING_KEY, f"{name} is missing")
        return None
    try:
        return parse_time(value)
    except ValueError as error:
        raise _Bad(Reason.BAD_TIME, f"{name}: {error}") from error


def _bad_row(system: str, raw: RawEvent, problem: _Bad) -> BadRow:
    unread = not isinstance(raw.body, dict)
    return BadRow(
        system=system,
        kind="event",
        source=clean(raw.source),
        position=clean(raw.position),
        reason=problem.reason,
        message=clean(problem.message),
        raw=clean(raw.text) if unread and raw.text else printable(raw.body),
    )
