"""Folders of files: snapshots as CSV, TSV, Parquet or JSON Lines, events as JSON Lines (SEMANTICS
§1).

Options: `snapshots`, `events` (globs relative to the hub folder, one or a list), `columns` (our
name of a snapshot's column → the file's own), `delimiter` (of CSV files; default a comma),
`settle_s` (a file changed less than this many seconds ago may still be written to and waits for the
next poll; default 1), and `page_lines` (event lines read at once; default 5000).

A snapshot's key is its path with size and change time: a file lands once, and a changed file is a
new snapshot. Names that begin with `.` or `_` or end in `.tmp`, `.part`, `.partial` or `~` are not
read.
"""

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, ClassVar, NoReturn

from inventory_pipeline.connectors.options import Options
from inventory_pipeline.core.errors import HubError, SourceRefused
from inventory_pipeline.core.ports import (
    Capabilities,
    ChangePage,
    Cursor,
    Delivery,
    Level,
    LevelWrite,
    ListingRef,
    Opening,
    RawEvent,
    RawSnapshot,
    Verified,
    WriteOutcome,
)

UNFINISHED = (".tmp", ".part", ".partial", "~")
SETTLE_S = 1.0
PAGE_LINES = 5000
MAX_LINE_BYTES = 1024 * 1024
TAIL_BYTES = 64
# An editor's or a copier's clock may be a little ahead; a file from further ahead is not waited
# for.
MAX_AHEAD_S = 60.0


class FilesConnector:
    """One system that leaves files; nothing can be written back to it."""

    EXAMPLE: ClassVar[Mapping[str, str]] = {"snapshots": "*.csv", "events": "*.jsonl"}

    def __init__(self, opening: Opening, *, wall: Callable[[], float] = time.time) -> None:
        options = Options(opening, "files")
        self.system = opening.system
        self._folder = Path(opening.hub_folder)
        self._snapshots = options.texts("snapshots")
        self._events = options.texts("events")
        self._columns = options.names("columns")
        self._delimiter = options.text("delimiter", ",")
        self._settle_s = options.number("settle_s", SETTLE_S, most=3600)
        self._page_lines = int(options.number("page_lines", PAGE_LINES, least=1, most=100_000))
        options.finish(one_of=("snapshots", "events"))
        _check_delimiter(opening.system, self._delimiter)
        self._wall = wall
        self.capabilities = Capabilities(
            snapshots=bool(self._snapshots), changes=bool(self._events)
        )

    def snapshots(self, seen: frozenset[str]) -> Iterator[RawSnapshot]:
        """Files not read before, in the order of their paths."""
        for path in self._found(self._snapshots):
            key = self._key(path)
            if key is None or key in seen or not self._settled(path):
                continue
            frame, error = _read_table(path, self._delimiter, self._columns)
            if (
                self._key(path) == key
            ):  # else it changed under the reader and waits for the next poll
                yield RawSnapshot(source=self._relative(path), key=key, frame=frame, error=error)

    def changes(self, cursor: Cursor) -> ChangePage:
        """The next whole lines of the event files, at most `page_lines` of them.

        The cursor holds, for each file, {"offset": bytes, "line": count, "tail": the last bytes
        read, as hex}. A file that became shorter, or no longer has that tail, is read again from
        its beginning.
        """
        moved: Cursor = {}
        events: list[RawEvent] = []
        more = False
        for path in self._found(self._events):
            name = self._relative(path)
            place = _Place.of(cursor.get(name))
            if len(events) < self._page_lines:
                place, more = self._read_lines(path, place, events)
            elif place.offset < _size(path):
                more = True
            moved[name] = place.as_json()
            if more:
                break
        # Files behind the one where the page ended, and files that are away for now, keep their
        # place.
        return ChangePage(events=events, cursor={**cursor, **moved}, more=more)

    def _read_lines(
        self, path: Path, place: "_Place", into: list[RawEvent]
    ) -> tuple["_Place", bool]:
        """Appends events up to the page's limit; returns the new place and whether whole lines are
        left.
        """
        name = self._relative(path)
        try:
            with path.open("rb") as file:
                if not place.fits(file):
                    place = _Place()
                file.seek(place.offset)
                offset, line = place.offset, place.line
                tail = place.tail
                while len(into) < self._page_lines:
                    raw = file.readline(MAX_LINE_BYTES)
                    if len(raw) == MAX_LINE_BYTES and not raw.endswith(b"\n"):
                        raw += _skip_line(file)
                    if not raw.endswith(b"\n") and not _is_object(raw):
                        return _Place(offset, line, tail), False  # not written to its end yet
                    # The end of a line that was read before it had one counts no line more.
                    line += 0 if not raw.strip() and not tail.endswith(b"\n") and tail else 1
                    offset, tail = file.tell(), raw[-TAIL_BYTES:]
                    if raw.strip():
                        into.append(_parse_line(raw, source=name, position=str(line)))
                return _Place(offset, line, tail), b"\n" in file.read(MAX_LINE_BYTES)
        except FileNotFoundError:
            return place, False
        except OSError as error:
            raise self._unreadable(name, error) from error

    def doubts(self) -> Iterator[str]:
        """Globs that no file matches: not there yet, or a typing error."""
        for option, patterns in (("snapshots", self._snapshots), ("events", self._events)):
            where = f"systems.{self.system}.options.{option}"
            for pattern in patterns:
                try:
                    if not self._found([pattern]):
                        yield f"{where}: no file matches {pattern!r} in {self._folder.resolve()}"
                except SourceRefused as error:
                    yield f"{where}: {error}"

    def _found(self, patterns: Sequence[str]) -> list[Path]:
        try:
            paths = {p for pattern in patterns for p in self._folder.glob(pattern) if p.is_file()}
        except (OSError, ValueError, NotImplementedError, IndexError) as error:
            raise self._unreadable(", ".join(patterns), error) from error
        return sorted(p for p in paths if not _unfinished(p.name))

    def _key(self, path: Path) -> str | None:
        try:
            stat = path.stat()
        except FileNotFoundError:
            return None
        return f"{self._relative(path)}@{stat.st_size}-{stat.st_mtime_ns}"

    def _settled(self, path: Path) -> bool:
        try:
            age_s = self._wall() - path.stat().st_mtime
        except FileNotFoundError:
            return False
        return age_s >= self._settle_s or age_s < -MAX_AHEAD_S

    def _relative(self, path: Path) -> str:
        return path.relative_to(self._folder).as_posix()

    def _unreadable(self, what: str, error: Exception) -> SourceRefused:
        return SourceRefused(
            f"cannot be read: {error}",
            system=self.system,
            call="read files",
            item=what,
            hint="check the glob in hub.yaml and the rights on the folder.",
        )

    def verify(self, delivery: Delivery) -> Verified:
        raise NotImplementedError("files send no webhooks")

    def parse(self, topic: str, delivery: Delivery) -> Sequence[RawEvent]:
        raise NotImplementedError("files send no webhooks")

    def read_levels(self, listings: Sequence[ListingRef] | None) -> Iterator[Level]:
        raise NotImplementedError("files show no quantities")

    def write_levels(self, writes: Sequence[LevelWrite], *, key: str) -> list[WriteOutcome]:
        raise NotImplementedError("files take no quantities")

    def close(self) -> None:
        """Nothing is held open between calls."""


@dataclass(frozen=True, slots=True)
class _Place:
    """How far an event file was read: bytes, lines, and the last bytes, to know the file again."""

    offset: int = 0
    line: int = 0
    tail: bytes = b""

    @classmethod
    def of(cls, saved: Any) -> "_Place":
        if not saved:
            return cls()
        return cls(int(saved["offset"]), int(saved["line"]), bytes.fromhex(saved.get("tail", "")))

    def as_json(self) -> dict[str, Any]:
        return {"offset": self.offset, "line": self.line, "tail": self.tail.hex()}

    def fits(self, file: Any) -> bool:
        """Whether the file still has, before `offset`, what was read there."""
        file.seek(max(0, self.offset - len(self.tail)))
        found: bytes = file.read(len(self.tail))
        return found == self.tail


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number in JSON")


_JSON = json.JSONDecoder(parse_float=Decimal, parse_constant=_no_number)


def _parse_line(raw: bytes, *, source: str, position: str) -> RawEvent:
    try:
        if len(raw) > MAX_LINE_BYTES:
            raise ValueError(f"longer than {MAX_LINE_BYTES} bytes")  # noqa: TRY301
        body = _JSON.decode(raw.decode("utf-8").lstrip("\ufeff"))
        if not isinstance(body, dict):
            raise ValueError(f"not a JSON object but {type(body).__name__}")  # noqa: TRY004, TRY301
    except (ValueError, RecursionError) as error:
        text = raw.decode("utf-8", "replace").strip().lstrip("\ufeff")
        short = text[:MAX_LINE_BYTES]
        return RawEvent(body=None, source=source, position=position, text=short, error=str(error))
    return RawEvent(body=body, source=source, position=position)


def _is_object(raw: bytes) -> bool:
    """Whether a line without an end is whole: no beginning of a JSON object is itself one."""
    if not raw.rstrip().endswith(b"}"):
        return False
    return _parse_line(raw, source="", position="").body is not None


def _skip_line(file: Any) -> bytes:
    """Reads on to the end of an overlong line; returns its last piece."""
    while True:
        piece: bytes = file.readline(MAX_LINE_BYTES)
        if piece.endswith(b"\n") or len(piece) < MAX_LINE_BYTES:
            return piece


def _read_table(path: Path, delimiter: str, columns: Mapping[str, str]) -> tuple[Any, str]:
    """The file's cells under our names, or why there are none."""
    from inventory_pipeline.connectors.tables import read_csv, read_json_lines, read_parquet

    try:
        match path.suffix.lower():
            case ".parquet" | ".pq":
                frame = read_parquet(path)
            case ".jsonl" | ".ndjson":
                frame = read_json_lines(path)
            case ".tsv" | ".tab":
                frame = read_csv(path, "\t")
            case _:
                frame = read_csv(path, delimiter)
    except (OSError, ValueError, NotImplementedError) as error:
        return None, f"{type(error).__name__}: {error}"
    theirs = {name: ours for ours, name in columns.items() if name in frame.columns}
    # What has one of our names and means something else gives way to the column that was named.
    hidden = [ours for name, ours in theirs.items() if ours != name and ours in frame.columns]
    return frame.drop(columns=hidden).rename(columns=theirs), ""


def _check_delimiter(system: str, delimiter: str) -> None:
    if len(delimiter) != 1 or not delimiter.isascii():
        raise HubError(
            f"hub.yaml: systems.{system}.options.delimiter must be one character, "
            f"not {delimiter!r}",
            hint='write it like ";" or "\\t".',
        )


def _unfinished(name: str) -> bool:
    return name.startswith((".", "_")) or name.lower().endswith(UNFINISHED)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
