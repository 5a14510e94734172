"""What the rest of the hub needs of a connector, a clock and a watcher: small, and owned by core.

A connector declares what its system can do (`Capabilities`); the core decides by capability, never
by the system's name: docs/connectors.md shows how much they differ.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Protocol, runtime_checkable

from inventory_pipeline.core.errors import ChannelError
from inventory_pipeline.core.limits import Limiter
from inventory_pipeline.core.vocabulary import MovesAt

Clock = Callable[[], datetime]
Cursor = dict[str, Any]  # a connector's own JSON; {} means: from the beginning


class Write(StrEnum):
    NONE = "none"
    ABSOLUTE = "absolute"
    DELTA = "delta"


class Basis(StrEnum):
    AVAILABLE = "available"
    ON_HAND = "on_hand"


class Completion(StrEnum):
    SYNC = "sync"
    EVENTUAL = "eventual"
    JOB = "job"


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What a system's quantity write and its change feed can do."""

    snapshots: bool = False
    changes: bool = False
    webhooks: bool = False
    levels: bool = False
    write: Write = Write.NONE
    basis: Basis = Basis.AVAILABLE
    compare_and_swap: bool = False
    idempotency: timedelta | None = None  # how long a key is remembered; None: no keys
    batch_size: int = 1
    atomic_batch: bool = False
    completion: Completion = Completion.SYNC
    decimals: int = 0
    revisions_per_day: int | None = None
    moves_at: MovesAt = MovesAt.NONE
    restores_on: frozenset[str] = frozenset()  # "cancel", "refund"
    parallel: int = 1  # batches that may be under way at once
    # Completion.EVENTUAL: how long an acknowledged number may take until a reading shows it.
    applied_within: timedelta = timedelta(seconds=30)
    # Numbers that it takes, in thousandths of its unit (core.outbox.offerable). Above zero the
    # least is `least_milli`: what is less is told as zero. What is more than `most_milli` is told
    # as that much.
    least_milli: int = 0
    most_milli: int | None = None
    takes_zero: bool = True  # False: a write of zero does not leave, and a person hears of it
    one_write_at_a_time: bool = False  # of all channels of the system; `parallel` is of each one
    slow_verify: bool = False  # `verify` may ask the system, as for a public key: in a thread


@dataclass(frozen=True, slots=True, kw_only=True)
class RawEvent:
    """One event in the shape of SEMANTICS §1, in the system's own identifiers and units.

    `body` is the JSON object; numbers are str, int or Decimal, never float. `body` may be None
    where the line or payload could not be read: `text` then holds it and `error` says why.
    """

    body: dict[str, Any] | None
    source: str  # a file's path, "poll orders", "webhook orders/create"
    position: str  # a line number, a message id
    text: str = ""
    error: str = ""
    delivery: str = ""  # the id of the webhook that brought it; "" where none did


@dataclass(frozen=True, slots=True, kw_only=True)
class LevelHint:
    """A system says that a level changed: a reason to read it, never a number to go by.

    `quantity_milli` is what it says is available, in thousandths of its unit; None where it tells
    no number. `told_at` is the system's own time of that number, None where it has none.
    """

    external_id: str  # as the hub knows the item
    bucket_external: str = ""  # the system's name for the place; "" where it names none
    quantity_milli: int | None = None
    told_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangePage:
    """A bounded piece of a change feed; `cursor` is where the next piece begins."""

    events: Sequence[RawEvent]
    cursor: Cursor
    more: bool
    hints: Sequence[LevelHint] = ()  # what the feed says of levels, where it tells no event


@dataclass(frozen=True, slots=True, kw_only=True)
class RawSnapshot:
    """One snapshot as read: text columns of SEMANTICS §1, nothing checked.

    `frame` is a pandas DataFrame of strings (missing cells are NA), or None if it could not be
    read; `error` then says why. `key` names it within its feed, so that it lands once.
    """

    source: str
    key: str
    frame: Any
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ListingRef:
    """A place in a channel that has its own quantity: bucket and external id."""

    bucket: str  # the bucket's id in hub.yaml
    bucket_external: str  # the channel's own name for it, "" where it has none
    external_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """What a channel showed, in thousandths of the channel's unit.

    `quantity_milli` is the number that `write_levels` sets. Where that is the platform's on_hand
    (Basis.ON_HAND), `reserved_milli` says how much of it the platform holds for its own orders and
    carts; on any other basis it is 0.
    """

    listing: ListingRef
    quantity_milli: int
    asked_at: datetime
    answered_at: datetime
    changed_at: datetime | None = None  # the channel's own change time, where it tells
    reserved_milli: int = 0

    @property
    def available_milli(self) -> int:
        """What the channel offers for sale: the number that the hub's own are compared with."""
        return self.quantity_milli - self.reserved_milli


@dataclass(frozen=True, slots=True, kw_only=True)
class LevelWrite:
    """One quantity to set; `compare_milli` is the value that must still stand there.

    Both are on the channel's own basis: on_hand includes what the platform holds reserved.
    """

    listing: ListingRef
    quantity_milli: int
    compare_milli: int | None

    @property
    def delta_milli(self) -> int:
        """What a channel of Write.DELTA is told: the difference to what must stand there."""
        return self.quantity_milli - (self.compare_milli or 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteOutcome:
    """What became of one write of a batch: `error` is None when it was acknowledged."""

    write: LevelWrite
    error: ChannelError | None
    receipt: "Receipt | None" = None  # accepted, not applied yet: asked for again by poll_receipt


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """What an asynchronous channel gave for a batch: its own JSON (a feed id, a submission id).

    `poll_after` says when asking makes sense first, `give_up_at` when its window ends: whatever is
    not answered then is unknown and read.
    """

    body: dict[str, Any]
    poll_after: datetime
    give_up_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One webhook as it came in; header names are lower case."""

    headers: Mapping[str, str]
    body: bytes
    received_at: datetime
    url: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a system wants to read in the 200 that it gets."""

    body: bytes
    content_type: str = "application/json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """A delivery whose signature holds, with the names that its system gives it.

    `answer` leaves once the delivery is durable; None: the receiver's usual one. Where `keep` is
    False the delivery is only answered, as one that tries the address out: it tells nothing.
    """

    topic: str
    delivery_id: str  # for recognizing the same delivery again
    signed_at: datetime | None = None  # where the scheme signs a time: outside the window, refused
    answer: Answer | None = None
    keep: bool = True


@runtime_checkable
class Connector(Protocol):
    """One system. Methods that its capabilities do not name raise NotImplementedError.

    Construction does no I/O. Every method may raise SourceError or ChannelError and no other error
    for anything that the other side does.
    """

    system: str
    capabilities: Capabilities

    def snapshots(self, seen: frozenset[str]) -> Iterator[RawSnapshot]:
        """New snapshots in the order of their keys, leaving out the keys in `seen`."""

    def changes(self, cursor: Cursor) -> ChangePage:
        """The next events after `cursor`; repeats are harmless, gaps are not."""

    def verify(self, delivery: Delivery) -> Verified:
        """Checks the signature over the raw body in constant time. Raises WebhookRefused."""

    def parse(self, topic: str, delivery: Delivery) -> Sequence[RawEvent]:
        """Events of a verified delivery; empty for a topic that says nothing new."""

    def read_levels(self, listings: Sequence[ListingRef] | None) -> Iterator[Level]:
        """What the channel shows: of these listings, or of all that it has (reconciliation).

        A listing that the channel does not have is left out of the answer.
        """

    def write_levels(self, writes: Sequence[LevelWrite], *, key: str) -> list[WriteOutcome]:
        """Sends one batch of at most `batch_size` writes under one idempotency key.

        Per-item failures are outcomes; ChannelBusy and OutcomeUnknown for the whole call are
        raised.
        """

    def close(self) -> None: ...


@runtime_checkable
class Doubting(Protocol):
    """A connector that can say which of its options are allowed and probably not meant."""

    def doubts(self) -> Iterator[str]:
        """One sentence each: the option, and what is odd about it now."""


@runtime_checkable
class Hinting(Protocol):
    """A connector whose webhooks also tell of levels that changed."""

    def hints(self, topic: str, delivery: Delivery) -> Sequence[LevelHint]:
        """Levels that a verified delivery says have changed; empty for any other topic.

        Only of what `parse` does not read from the system itself. Raises what `parse` raises.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class LevelPage:
    """A piece of a full reading; each level is dated by the call that read it.

    `resume` is where the reading goes on behind this piece, in the connector's own words; None: the
    reading is complete. A piece may be empty, where the system is still at work.
    """

    levels: Sequence[Level]
    resume: str | None


@runtime_checkable
class LevelPaging(Protocol):
    """A connector whose full reading goes on where it broke off (reconciliation)."""

    def level_pages(self, resume: str | None = None) -> Iterator[LevelPage]:
        """What `read_levels(None)` gives, in pieces: from the beginning, or behind the piece that
        told `resume`. It may use a way that suits large catalogs only.

        ChannelBusy: ask again with the newest `resume`, and no level is read twice.
        """


@runtime_checkable
class Challenged(Protocol):
    """A connector whose system asks by GET whether the address of its webhooks is ours."""

    def challenge(self, asked: Delivery) -> Answer:
        """What answers the question in `asked.url`, without any I/O.

        Anybody may ask: the answer gives no secret away. Raises WebhookRefused for what is no
        challenge.
        """


@runtime_checkable
class Receipting(Protocol):
    """A connector whose writes are accepted first and applied later (Completion.JOB)."""

    def poll_receipt(
        self, receipt: Receipt, writes: Sequence[LevelWrite]
    ) -> list[WriteOutcome] | None:
        """What became of the batch; None while it is not known yet."""


@runtime_checkable
class OrderListing(Protocol):
    """A connector that can list the orders that a channel itself took (reconciliation)."""

    def orders_since(self, since: datetime) -> Iterator[RawEvent]:
        """Events of all orders that were made or changed at or after `since`; it ends.

        The same events with the same ids as `changes` and webhooks give.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Something that a person who waits wants to see."""

    step: str
    done: int = 0
    total: int | None = None


Watcher = Callable[[Progress], None]


def unwatched(_: Progress) -> None:
    """A watcher for whoever does not wait."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """What a connector is built from."""

    system: str
    options: Mapping[str, Any]
    hub_folder: str
    external_ids: frozenset[str] = field(
        default_factory=frozenset
    )  # items that identifiers.csv or items.csv know
    limiter: Limiter | None = None  # shared by all processes; None: counted in this one
    clock: Clock | None = None  # the hub's; None: this machine's
