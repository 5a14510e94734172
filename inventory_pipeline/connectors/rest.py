"""A system that nobody wrote a connector for: its calls stand in hub.yaml (docs/rest.md)."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, ClassVar

import httpx
import structlog

from inventory_pipeline.connectors.events import events_of_each
from inventory_pipeline.connectors.http import (
    UNEXPECTED,
    Caller,
    Purpose,
    Trouble,
    as_error,
    understood,
    utc_time,
)
from inventory_pipeline.connectors.rest_client import (
    PLACEHOLDER,
    Client,
    Paths,
    Row,
    basic_auth,
    filled,
)
from inventory_pipeline.connectors.rest_lines import checked, mentions
from inventory_pipeline.connectors.rest_policy import Call, Changes, Event, Levels, Rest
from inventory_pipeline.connectors.rest_writes import Writer
from inventory_pipeline.connectors.times import clock_of
from inventory_pipeline.connectors.tracing import traced
from inventory_pipeline.core.ports import (
    Capabilities,
    ChangePage,
    Clock,
    Cursor,
    Delivery,
    Level,
    LevelWrite,
    ListingRef,
    Opening,
    RawEvent,
    RawSnapshot,
    Verified,
    Write,
    WriteOutcome,
)
from inventory_pipeline.core.quantities import to_milli

log = structlog.get_logger("rest")

ONE_SECOND = timedelta(seconds=1)
MAX_PAGES = 100_000
COUNTED = frozenset({"page", "offset"})


class RestConnector:
    """One system. `transport` and `clock` are for tests."""

    EXAMPLE: ClassVar[Mapping[str, Any]] = {
        "url": "https://api.example.com",
        "levels": {
            "call": {"path": "/stock"},
            "items": "$.items[*]",
            "item": "@.sku",
            "quantity": "@.quantity",
        },
        "write": {"call": {"method": "PUT", "path": "/stock/{item}", "json": {"q": "{quantity}"}}},
    }

    def __init__(
        self,
        opening: Opening,
        *,
        transport: httpx.BaseTransport | None = None,
        clock: Clock | None = None,
    ) -> None:
        clock = clock_of(opening, clock)
        policy = checked(opening)
        self.system = opening.system
        self._policy = policy
        self._clock = clock
        self._paths = Paths()
        self._caller = Caller(
            system=opening.system,
            base_url=policy.url,
            timeout_s=policy.timeout_s,
            auth=basic_auth(policy.auth),
            transport=traced(transport),
            limiter=opening.limiter,
        )
        self._client = Client(self._caller, policy, self._paths)
        self.capabilities = _capabilities(policy)
        self._writer = (
            Writer(
                self._client,
                self._paths,
                policy.write,
                system=opening.system,
                decimals=policy.capabilities.decimals,
            )
            if policy.write
            else None
        )

    def changes(self, cursor: Cursor) -> ChangePage:
        """One page of what changed since the cursor, as events.

        Where pages are counted, the next question begins at the newest change that was seen, and
        only pages of that same moment are counted: what changes meanwhile shifts nothing. The
        cursor is {"since", "step" (pages of one moment)} or, where the system gives its own cursor,
        {"since", "newest", "next"}.
        """
        policy = self._policy.changes
        if policy is None:
            raise NotImplementedError("hub.yaml has no `changes` for this system")
        call = "changes"
        try:
            with understood(Purpose.SOURCE, system=self.system, call=call):
                return self._page(policy, cursor)
        except Trouble as trouble:
            raise as_error(trouble, Purpose.SOURCE, system=self.system, call=call) from trouble

    def orders_since(self, since: datetime) -> Iterator[RawEvent]:
        """Events of everything that changed at or after `since`."""
        cursor: Cursor = {"since": since.isoformat(), "step": 0}
        for _ in range(MAX_PAGES):
            page = self.changes(cursor)
            yield from page.events
            if not page.more:
                return
            cursor = page.cursor

    def _page(self, policy: Changes, cursor: Cursor) -> ChangePage:
        since = datetime.fromisoformat(cursor["since"]) if "since" in cursor else policy.since
        within = "step" in cursor or "next" in cursor
        begin = since - (ONE_SECOND if within else timedelta(seconds=policy.overlap_s))
        step, paging = int(cursor.get("step") or 0), policy.paging
        values = {
            "since": begin.astimezone(UTC).isoformat().replace("+00:00", "Z"),
            "page": paging.first + step,
            "offset": step * paging.size,
            "cursor": cursor.get("next", ""),
        }
        target = str(cursor.get("next", "")) if paging.style == "link" else ""
        answer = next(iter(self._client.pages(policy.call, paging, values, target=target)))
        entries = self._paths.entries(
            policy.items, answer.body, absent_is_empty=policy.absent_is_empty
        )
        events, times = self._read(policy, self._paths.all(policy.items, answer.body))
        newest = max([since, *times])
        if paging.style in COUNTED:
            more = entries >= paging.size
            moved: Cursor = {"since": newest.isoformat()}
            if more:
                moved["step"] = step + 1 if within and newest <= since else 0
            return ChangePage(events=events, cursor=moved, more=more)
        seen = max(newest, datetime.fromisoformat(cursor.get("newest", newest.isoformat())))
        following = self._client.following(paging, answer)
        if not following:
            return ChangePage(events=events, cursor={"since": seen.isoformat()}, more=False)
        kept: Cursor = {
            "since": since.isoformat(), "newest": seen.isoformat(), "next": following
        }  # fmt: skip
        return ChangePage(events=events, cursor=kept, more=True)

    def _read(self, policy: Changes, found: Sequence[Any]) -> tuple[list[RawEvent], list[datetime]]:
        """Events and times of change; one odd entry goes to quarantine."""
        times: list[datetime] = []

        def read(one: Any) -> list[dict[str, Any]]:
            at = datetime.fromisoformat(utc_time(self._paths.one(policy.changed_at, one)))
            bodies = [
                body
                for kind in policy.events
                for row in self._paths.rows(kind.each, one)
                if (body := _event(kind, row)) is not None
            ]
            times.append(at)
            return bodies

        return events_of_each(found, read, source="changes", named="id"), times

    def read_levels(self, listings: Sequence[ListingRef] | None) -> Iterator[Level]:
        """What the system shows: of these listings, or of all."""
        policy = self._policy.levels
        if policy is None:
            raise NotImplementedError("hub.yaml has no `levels` for this system")
        if listings is None:
            yield from (level for level in self._levels(policy, policy.call, {}))
            return
        wanted: dict[tuple[str, str], list[ListingRef]] = {}
        for ref in listings:
            place = ref.bucket_external if policy.location else ""
            wanted.setdefault((ref.external_id, place), []).append(ref)
        for level in self._chosen(policy, sorted({ref.external_id for ref in listings})):
            found = level.listing
            for ref in wanted.get((found.external_id, found.bucket_external), ()):
                yield _of(level, ref)

    def _chosen(self, policy: Levels, items: Sequence[str]) -> Iterator[Level]:
        if policy.some is None:
            yield from self._levels(policy, policy.call, {})
            return
        for start in range(0, len(items), policy.paging.size):
            chosen = {"items": list(items[start : start + policy.paging.size])}
            yield from self._levels(policy, policy.some, chosen)

    def _levels(self, policy: Levels, call: Call, values: Mapping[str, Any]) -> Iterator[Level]:
        asked = self._clock()
        try:
            for answer in self._client.pages(call, policy.paging, values):
                answered = self._clock()
                with understood(Purpose.LEVELS, system=self.system, call="levels"):
                    entries = self._paths.entries(
                        policy.items[0], answer.body, absent_is_empty=policy.absent_is_empty
                    )
                    rows = list(self._paths.rows(policy.items, answer.body))
                    levels = self._readable(policy, rows, asked, answered)
                yield from levels
                if policy.paging.style in COUNTED and entries < policy.paging.size:
                    return
                asked = self._clock()
        except Trouble as trouble:
            raise as_error(trouble, Purpose.LEVELS, system=self.system, call="levels") from trouble

    def _readable(
        self, policy: Levels, rows: Sequence[Row], asked: datetime, answered: datetime
    ) -> list[Level]:
        """Levels of the rows. One odd row is left out with a warning; where none of several can be
        read, the shape is another one, and that is raised.
        """
        levels: list[Level] = []
        odd = 0
        for row in rows:
            try:
                levels.append(_level(policy, row, asked, answered))
            except UNEXPECTED as error:
                odd += 1
                if odd == len(rows):
                    raise
                log.warning(
                    "level left out", system=self.system, call="levels",
                    item=str(row.one(policy.item)),
                    why=f"it is not as expected: {type(error).__name__} {error}",
                    hint="correct it there, or the paths in hub.yaml: `probe --trace` shows both.",
                )  # fmt: skip
        return levels

    def write_levels(self, writes: Sequence[LevelWrite], *, key: str) -> list[WriteOutcome]:
        """Sets at most a batch of quantities."""
        if self._writer is None:
            raise NotImplementedError("hub.yaml has no `write` for this system")
        return self._writer.write(writes, key)

    def snapshots(self, seen: frozenset[str]) -> Iterator[RawSnapshot]:
        raise NotImplementedError("a system of `rest` is read as levels and changes")

    def verify(self, delivery: Delivery) -> Verified:
        raise NotImplementedError("a system of `rest` is polled")

    def parse(self, topic: str, delivery: Delivery) -> Sequence[RawEvent]:
        raise NotImplementedError("a system of `rest` is polled")

    def close(self) -> None:
        self._caller.close()


def _capabilities(policy: Rest) -> Capabilities:
    said, write = policy.capabilities, policy.write
    uses = (write.call.path, write.call.query, write.call.body, write.each) if write else ()
    hours = said.keys_for_h
    return Capabilities(
        changes=policy.changes is not None,
        levels=policy.levels is not None,
        write=Write.ABSOLUTE if write else Write.NONE,
        basis=said.basis,
        compare_and_swap=mentions(uses, "compare"),
        idempotency=timedelta(hours=hours) if hours and mentions(uses, "key") else None,
        batch_size=write.batch if write else 1,
        decimals=said.decimals,
        revisions_per_day=said.revisions_per_day,
        moves_at=said.moves_at,
        restores_on=frozenset(str(one) for one in said.restores_on),
    )


def _event(kind: Event, row: Row) -> dict[str, Any] | None:
    taken: dict[str, Any] = {}
    for name, path in kind.take.items():
        taken[name] = row.one(filled(path, taken))
    if kind.when and not row.all(filled(kind.when, taken)):
        return None
    for name in PLACEHOLDER.findall(kind.event_id + kind.occurred_at):
        if name in taken and taken[name] is None:
            raise ValueError(f"{kind.type.value}: {kind.take[name]} finds no {name}")
    body: dict[str, Any] = {
        "event_id": str(filled(kind.event_id, taken)),
        "type": kind.type.value,
        "occurred_at": utc_time(filled(kind.occurred_at, taken)),
    }
    for name, template in kind.fields.items():
        value = filled(template, taken)
        if value is not None:
            body[name] = value if name == "quantity" else str(value)
    return body


def _level(policy: Levels, row: Row, asked: datetime, answered: datetime) -> Level:
    changed = row.one(policy.changed_at)
    place = row.one(policy.location)
    return Level(
        listing=ListingRef(
            bucket="",
            bucket_external="" if place is None else str(place),
            external_id=str(row.one(policy.item)),
        ),
        quantity_milli=to_milli(Decimal(str(row.one(policy.quantity)))),
        reserved_milli=to_milli(Decimal(str(row.one(policy.reserved) or 0))),
        asked_at=asked,
        answered_at=answered,
        changed_at=datetime.fromisoformat(utc_time(changed)) if changed else None,
    )


def _of(level: Level, ref: ListingRef) -> Level:
    from dataclasses import replace

    return replace(level, listing=ref)
