"""Notifications from Amazon's queue: which order or listing changed, never how.

A notification has no signature and may be old, so it is a hint: the order that it names is read
as it stands. The cursor is {"stored": handles of messages whose events are stored and that can be
deleted, "known": the newest notification ids}. It moves in the transaction that stores the events,
so a message is deleted only after that; one that comes again is recognized by its id.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from inventory_pipeline.connectors.amazon_order_feed import Order
from inventory_pipeline.connectors.amazon_queue import Message, Queue
from inventory_pipeline.connectors.http import utc_time
from inventory_pipeline.core.ports import Cursor, LevelHint, RawEvent
from inventory_pipeline.core.quantities import MILLI

ORDER_CHANGE = "ORDER_CHANGE"
QUANTITY_CHANGE = "LISTINGS_ITEM_MFN_QUANTITY_CHANGE"
# Neither tells of a quantity that the hub sets: feeds and what lies with Amazon are read anyway.
SAYS_NOTHING_NEW = frozenset(
    {
        "LISTINGS_ITEM_STATUS_CHANGE",
        "LISTINGS_ITEM_ISSUES_CHANGE",
        "FBA_INVENTORY_AVAILABILITY_CHANGES",
        "FEED_PROCESSING_FINISHED",
    }
)
KNOWN_IDS = 200
SOURCE = "queue"


@dataclass(frozen=True, slots=True, kw_only=True)
class Notification:
    """What a message says: its type, its own id, and the order or listing that it is about."""

    type: str
    id: str
    order_id: str
    by_amazon: bool
    hint: LevelHint | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class QueuePage:
    """Orders to be told as events, messages that nobody understands, levels that changed, and the
    next cursor.
    """

    events: list[RawEvent]
    cursor: Cursor
    more: bool
    hints: list[LevelHint] = field(default_factory=list)


class Notifications:
    """Reads the queue. `read_order` gives an order as it stands, `tell` its events."""

    def __init__(
        self,
        queue: Queue,
        *,
        channel_code: str,
        read_order: Callable[[str], Order | None],
        tell: Callable[[Order, str], list[RawEvent]],
    ) -> None:
        self._queue = queue
        self._channel_code = channel_code
        self._read_order = read_order
        self._tell = tell

    def close(self) -> None:
        self._queue.close()

    def page(self, cursor: Cursor) -> QueuePage:
        """The next messages. Raises SourceError."""
        stored = [str(handle) for handle in cursor.get("stored") or []]
        if stored:
            self._queue.delete(stored)
        messages = self._queue.receive()
        known = [str(one) for one in cursor.get("known") or []]
        seen = set(known)
        events: list[RawEvent] = []
        hints: list[LevelHint] = []
        orders: dict[str, None] = {}
        for message in messages:
            try:
                notification = parse(message.text, self._channel_code)
            except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
                events.append(_unreadable(message, error))
                continue
            if notification.id in seen:
                continue
            seen.add(notification.id)
            known.append(notification.id)
            if notification.type == ORDER_CHANGE and not notification.by_amazon:
                orders[notification.order_id] = None
            elif notification.hint is not None:
                hints.append(notification.hint)
            elif notification.type not in {ORDER_CHANGE, QUANTITY_CHANGE, *SAYS_NOTHING_NEW}:
                events.append(_unreadable(message, ValueError(f"type {notification.type}")))
        for order_id in orders:
            events += self._about(order_id)
        return QueuePage(
            events=events,
            cursor=_cursor([message.handle for message in messages], known),
            more=bool(messages),
            hints=hints,
        )

    def _about(self, order_id: str) -> list[RawEvent]:
        order = self._read_order(order_id)
        if order is None:
            return []  # of another marketplace, or none that this seller may see
        return self._tell(order, f"{SOURCE} {ORDER_CHANGE}")


def parse(text: str, channel_code: str = "DEFAULT") -> Notification:
    """A notification, also inside the envelope of EventBridge; of quantities only those of the
    fulfilment channel `channel_code`. Raises KeyError, TypeError or ValueError.
    """
    body: Any = json.loads(text)
    body = body.get("detail", body)
    # Newer types begin every name with a small letter.
    fields = {name[:1].upper() + name[1:]: value for name, value in body.items()}
    type_ = str(fields["NotificationType"])
    metadata = {n[:1].upper() + n[1:]: v for n, v in fields["NotificationMetadata"].items()}
    order_id, by_amazon = "", False
    if type_ == ORDER_CHANGE:
        change = fields["Payload"]["OrderChangeNotification"]
        order_id = str(change["AmazonOrderId"])
        by_amazon = (change.get("Summary") or {}).get("FulfillmentType") == "AFN"
        if not order_id:
            raise ValueError("no AmazonOrderId")
    hint = None
    if type_ == QUANTITY_CHANGE:
        hint = _hint(fields["Payload"], fields.get("EventTime"), channel_code)
    return Notification(
        type=type_,
        id=str(metadata["NotificationId"]),
        order_id=order_id,
        by_amazon=by_amazon,
        hint=hint,
    )


def _hint(payload: Any, at: object, channel_code: str) -> LevelHint | None:
    if payload.get("FulfillmentChannelCode", channel_code) != channel_code:
        return None
    quantity = payload.get("Quantity")
    return LevelHint(
        external_id=str(payload["Sku"]),
        quantity_milli=None if quantity is None else int(quantity) * MILLI,
        told_at=datetime.fromisoformat(utc_time(at)) if at else None,
    )


def _unreadable(message: Message, error: Exception) -> RawEvent:
    """Kept in quarantine, so that deleting the message loses nothing."""
    return RawEvent(
        body=None,
        source=SOURCE,
        position=message.id,
        text=message.text,
        error=f"not a notification that is understood: {type(error).__name__} {error}",
    )


def _cursor(handles: Sequence[str], known: Sequence[str]) -> Cursor:
    return {"stored": list(handles), "known": list(known[-KNOWN_IDS:])}
