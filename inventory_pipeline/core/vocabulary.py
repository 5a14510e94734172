"""The field's words, once (SEMANTICS §2, §4, §7, §9)."""

from enum import StrEnum


class State(StrEnum):
    """A stock state that a system can report (SEMANTICS §2)."""

    ON_HAND = "on_hand"
    DAMAGED = "damaged"
    QUALITY_CONTROL = "quality_control"
    COMMITTED = "committed"
    RESERVED = "reserved"
    INCOMING = "incoming"


# These must have an owner wherever a channel sells from (SEMANTICS §3).
OWNED_STATES = (State.ON_HAND, State.DAMAGED, State.QUALITY_CONTROL, State.INCOMING)


class EventType(StrEnum):
    """What an event says happened (SEMANTICS §4)."""

    GOODS_EXPECTED = "goods_expected"
    GOODS_RECEIVED = "goods_received"
    GOODS_ISSUED = "goods_issued"
    TRANSFER_SHIPPED = "transfer_shipped"
    TRANSFER_RECEIVED = "transfer_received"
    COUNTED = "counted"
    ADJUSTED = "adjusted"
    DAMAGED = "damaged"
    QUALITY_HELD = "quality_held"
    RESERVED = "reserved"
    RESERVATION_RELEASED = "reservation_released"
    ORDER_PLACED = "order_placed"
    ORDER_ADJUSTED = "order_adjusted"
    ORDER_CANCELLED = "order_cancelled"
    PAYMENT_FAILED = "payment_failed"
    PAYMENT_RECOVERED = "payment_recovered"
    ORDER_FULFILLED = "order_fulfilled"
    FULFILMENT_CANCELLED = "fulfilment_cancelled"
    RETURNED = "returned"
    POS_SALE = "pos_sale"


class Disposition(StrEnum):
    """What becomes of returned goods (SEMANTICS §4)."""

    RESTOCK = "restock"
    INSPECT = "inspect"
    DISCARD = "discard"


class Mode(StrEnum):
    """How far a channel's numbers go (SEMANTICS §7)."""

    OFF = "off"
    SHADOW = "shadow"
    CANARY = "canary"
    LIVE = "live"


class EntryKind(StrEnum):
    """What a ledger entry is; each takes one offset (architecture: one sequence)."""

    EVENT = "event"
    SNAPSHOT = "snapshot"
    RELEASE = "release"
    MAPPING = "mapping"
    POLICY = "policy"


class Reason(StrEnum):
    """Why a row is in quarantine (SEMANTICS §1, §3, §4)."""

    UNKNOWN_ITEM = "unknown_item"
    UNKNOWN_LOCATION = "unknown_location"
    UNKNOWN_TYPE = "unknown_type"
    BAD_JSON = "bad_json"
    BAD_NUMBER = "bad_number"
    BAD_TIME = "bad_time"
    FRACTION_OF_INDIVISIBLE = "fraction_of_indivisible"
    NEGATIVE_QUANTITY = "negative_quantity"
    MISSING_KEY = "missing_key"
    BAD_VALUE = "bad_value"
    CONFLICTING_DUPLICATE = "conflicting_duplicate"
    BUNDLE_HAS_NO_STOCK = "bundle_has_no_stock"


class Rejection(StrEnum):
    """Why a whole snapshot was refused (SEMANTICS §1)."""

    MISSING_COLUMNS = "missing_columns"
    UNREADABLE = "unreadable"
    CONFLICTING_ROWS = "conflicting_rows"
    MAX_DROP = "max_drop"
    EMPTY = "empty"


class Cause(StrEnum):
    """Why a channel or a source differs, in the order in which they are tested (SEMANTICS §9)."""

    IN_FLIGHT = "in_flight"
    NOT_YET_APPLIED = "not_yet_applied"
    PUSH_FAILED = "push_failed"
    UNMAPPED = "unmapped"
    NOT_LISTED = "not_listed"
    ORDER_NOT_INGESTED = "order_not_ingested"
    LOST_UPDATE = "lost_update"
    DUPLICATE_EFFECT = "duplicate_effect"
    LATE_EVENT = "late_event"
    ROUNDING = "rounding"
    STALE_SOURCE = "stale_source"
    EXTERNAL_EDIT = "external_edit"
    UNEXPLAINED = "unexplained"


class MovesAt(StrEnum):
    """The moment at which a channel lowers its own number by itself (SEMANTICS §8)."""

    NONE = "none"
    ORDER = "order"
    PAYMENT = "payment"
    FULFILMENT = "fulfilment"
