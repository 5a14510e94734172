"""All levels of a Shopify shop by one bulk operation: it costs next to nothing of the rate limit.

The shop is given the query, runs it by itself, and leaves a file of JSON lines: items, and behind
each item (not always directly) its levels, which name it as `__parentId`. The file is fetched
whole and measured before a line of it counts. A level was read at some moment between the start of
the operation and the answer that it is complete; so it is dated.
"""

import json
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import IO, Any
from urllib.parse import urlsplit

import httpx

from inventory_pipeline.connectors import shopify_documents as documents
from inventory_pipeline.connectors.http import Purpose, understood
from inventory_pipeline.connectors.shopify_graphql import Graphql
from inventory_pipeline.connectors.shopify_index import ItemIndex
from inventory_pipeline.connectors.shopify_levels import external_id_of, level_of, place_of
from inventory_pipeline.connectors.shopify_orders import gid
from inventory_pipeline.connectors.tracing import traced
from inventory_pipeline.core.errors import ChannelBusy, ChannelRefused, OutcomeUnknown
from inventory_pipeline.core.ports import Clock, Level, LevelPage

CALL = "read levels in bulk"
BULK = "bulk:"  # how a `resume` begins that goes on with an operation
LEVELS_PER_PAGE = 1000
FETCHES = 3
FIRST_PAUSE_S = 0.5  # between two looks at the operation; grows to the longest
LONGEST_PAUSE_S = 10.0
MAX_FILE_BYTES = 8 * 1024**3
CONNECT_TIMEOUT_S = 5.0
BUSY = {"OPERATION_IN_PROGRESS", "LIMIT_REACHED"}
UNDER_WAY = {"CREATED", "RUNNING"}
NEXT_STEPS = {
    "ACCESS_DENIED": "give the app's token the scopes read_inventory and read_products.",
    "TIMEOUT": "nothing, if it happens now and then; otherwise raise `bulk_from`.",
}
OTHERWISE = "nothing, if it happens now and then: the next comparison tries it again."


class BulkUnusable(Exception):
    """The bulk operation gives nothing: the levels are read in pages. `hint`: what to do."""

    def __init__(self, message: str, *, hint: str = OTHERWISE) -> None:
        super().__init__(message)
        self.hint = hint


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """How far a reading is: its operation, when that was started, and levels already given."""

    operation: str
    asked_at: datetime
    given: int = 0

    def text(self) -> str:
        return BULK + json.dumps([self.operation, self.asked_at.isoformat(), self.given])

    @classmethod
    def of(cls, resume: str) -> "_Place":
        operation, asked_at, given = json.loads(resume.removeprefix(BULK))
        return cls(operation=operation, asked_at=datetime.fromisoformat(asked_at), given=given)


class BulkFiles:
    """Fetches what a bulk operation left; the address is signed, so no credentials go there."""

    def __init__(
        self, *, shop: str, timeout_s: float, transport: httpx.BaseTransport | None = None
    ) -> None:
        self._plain = urlsplit(shop).scheme == "http"  # a shop on this machine
        local = urlsplit(shop).hostname in {"127.0.0.1", "localhost", "::1"}
        self._client = httpx.Client(
            timeout=httpx.Timeout(timeout_s, connect=min(CONNECT_TIMEOUT_S, timeout_s)),
            # The length is that of the file itself.
            headers={"Accept-Encoding": "identity"},
            transport=traced(transport),
            trust_env=not local,
        )

    @contextmanager
    def fetched(self, operation: Mapping[str, Any], *, until: float) -> Iterator[IO[bytes]]:
        """The whole file, by the monotonic time `until`. Raises BulkUnusable."""
        url = str(operation["url"])
        if urlsplit(url).scheme != "https" and not self._plain:
            raise BulkUnusable("the file's address is not https", hint="ask Shopify's support.")
        size = operation.get("fileSize")
        with tempfile.TemporaryFile(prefix="levels-") as file:
            for attempt in range(FETCHES):
                problem = self._fetch(url, file, None if size is None else int(size), until)
                if not problem:
                    break
                if attempt + 1 == FETCHES:
                    raise BulkUnusable(f"{problem}, {FETCHES} times")
            file.seek(0)
            yield file

    def close(self) -> None:
        self._client.close()

    def _fetch(self, url: str, file: IO[bytes], size: int | None, until: float) -> str:
        """Fills the file from its beginning; says what is wrong, "" for nothing."""
        file.seek(0)
        file.truncate()
        count = 0
        try:
            with self._client.stream("GET", url) as answer:
                if answer.status_code != 200:
                    return f"the file's host answered {answer.status_code}"
                for chunk in answer.iter_bytes():
                    file.write(chunk)
                    count += len(chunk)
                    if count > MAX_FILE_BYTES or time.monotonic() > until:
                        return "the file is too large, or came too slowly"
        except httpx.HTTPError as error:
            return f"the file broke off ({str(error) or type(error).__name__})"
        if size is not None and count != size:
            return f"the file is truncated: {count} of {size} bytes"
        return ""


class BulkReader:
    """Starts an operation, waits for it, and reads its file."""

    def __init__(
        self, graphql: Graphql, index: ItemIndex, files: BulkFiles, *, system: str, clock: Clock,
        wait_s: float, sleep: Callable[[float], None] = time.sleep,
    ) -> None:  # fmt: skip
        self._graphql = graphql
        self._index = index
        self._files = files
        self._system = system
        self._clock = clock
        self._wait_s = wait_s
        self._sleep = sleep

    def pages(self, resume: str | None = None) -> Iterator[LevelPage]:
        """Levels of everything; empty pages while the operation runs.

        Raises BulkUnusable before the first level where it comes to nothing, and ChannelBusy where
        asking the shop failed: the operation goes on, and can be resumed.
        """
        until = time.monotonic() + self._wait_s
        place = self._start() if resume is None else _Place.of(resume)
        operation: Mapping[str, Any] = {}
        try:
            for operation in self._looks(place, until):
                if operation["status"] in UNDER_WAY:
                    yield LevelPage(levels=(), resume=place.text())
        except GeneratorExit:
            self._cancel(place)
            raise
        answered_at = self._clock()
        if operation.get("url") is None:  # a shop without items leaves no file
            if int(operation.get("objectCount") or 0):
                raise BulkUnusable("it is complete and has no file")
            yield LevelPage(levels=(), resume=None)
            return
        with self._files.fetched(operation, until=time.monotonic() + self._wait_s) as file:
            self._require_whole(file, int(operation["objectCount"]))
            with understood(Purpose.LEVELS, system=self._system, call=CALL):
                yield from self._pages_of(file, place, answered_at)

    def close(self) -> None:
        self._files.close()

    def _start(self) -> _Place:
        asked_at = self._clock()
        try:
            data = self._graphql.run(
                documents.START_BULK, {"query": documents.ALL_LEVELS}, call=CALL,
                purpose=Purpose.WRITE,
            )  # fmt: skip
        except OutcomeUnknown as error:
            raise BulkUnusable(f"whether it runs is unknown: {error.message}") from error
        except ChannelRefused as error:
            raise BulkUnusable(str(error), hint=error.hint) from error
        with understood(Purpose.LEVELS, system=self._system, call=CALL):
            answer = data["bulkOperationRunQuery"]
            errors, operation = answer["userErrors"], answer["bulkOperation"]
            if errors or operation is None:
                said = "; ".join(f"{e.get('code')}: {e['message']}" for e in errors)
                busy = any(error.get("code") in BUSY for error in errors)
                hint = "nothing: another one of this app is running." if busy else OTHERWISE
                raise BulkUnusable(said or "the shop started no operation", hint=hint)
            return _Place(operation=operation["id"], asked_at=asked_at)

    def _looks(self, place: _Place, until: float) -> Iterator[Mapping[str, Any]]:
        """The operation as it is, again and again, until it is complete."""
        pause = FIRST_PAUSE_S
        while True:
            operation = self._look(place)
            status = operation["status"]
            if status == "COMPLETED":
                yield operation
                return
            if status not in UNDER_WAY:
                code = str(operation.get("errorCode") or "")
                said = f"the operation is {status}" + (f" ({code})" if code else "")
                raise BulkUnusable(said, hint=NEXT_STEPS.get(code, OTHERWISE))
            if time.monotonic() + pause > until:
                self._cancel(place)
                raise BulkUnusable(
                    f"it is not complete after {self._wait_s:g} s", hint="raise `bulk_wait_s`."
                )
            yield operation
            self._sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE_S)

    def _look(self, place: _Place) -> Mapping[str, Any]:
        data = self._graphql.run(
            documents.BULK_OPERATION, {"id": place.operation}, call=CALL, purpose=Purpose.LEVELS
        )
        with understood(Purpose.LEVELS, system=self._system, call=CALL):
            operation: Mapping[str, Any] | None = data["node"]
            if operation is None:
                raise BulkUnusable("the shop does not know the operation any more")
            return {**operation, "status": str(operation["status"])}

    def _cancel(self, place: _Place) -> None:
        """So that the next one is not refused because of this one. Nothing depends on it."""
        try:
            self._graphql.run(
                documents.CANCEL_BULK, {"id": place.operation}, call=CALL, purpose=Purpose.WRITE
            )
        except (ChannelBusy, ChannelRefused, OutcomeUnknown):
            return

    def _require_whole(self, file: IO[bytes], count: int) -> None:
        """Raises BulkUnusable for a file with fewer lines than objects, or half a line."""
        lines, last = 0, b""
        for line in file:
            lines += 1
            last = line
        try:
            json.loads(last if lines else b"null")
        except ValueError:
            raise BulkUnusable("the file's last line is not whole") from None
        if lines < count:
            raise BulkUnusable(f"the file is truncated: {lines} of {count} lines")
        file.seek(0)

    def _pages_of(
        self, file: IO[bytes], place: _Place, answered_at: datetime
    ) -> Iterator[LevelPage]:
        """One page is held back, so that the last one is known to be the last."""
        names: dict[str, str] = {}
        count, levels = 0, list[Level]()
        for line in file:
            row = json.loads(line, parse_float=Decimal)
            parent = row.get("__parentId")
            if parent is None:
                names[gid("InventoryItem", row["id"])] = external_id_of(row, self._index)
                continue
            count += 1
            if count <= place.given:
                continue
            if len(levels) == LEVELS_PER_PAGE:
                yield LevelPage(levels=levels, resume=self._behind(place, count - 1))
                levels = []
            where = place_of(row, names[gid("InventoryItem", parent)])
            levels.append(level_of(where, row, place.asked_at, answered_at))
        yield LevelPage(levels=levels, resume=None)

    def _behind(self, place: _Place, given: int) -> str:
        return _Place(operation=place.operation, asked_at=place.asked_at, given=given).text()
