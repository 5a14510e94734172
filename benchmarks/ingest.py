"""How many events a second reach a ledger of ten million, each id looked up before."""

import gc
import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import psycopg

from benchmarks.harness.figures import Figure, at_least, side_by_side
from benchmarks.made.events import bodies
from benchmarks.made.hub import make_hub
from benchmarks.made.ledger import make_ledger
from inventory_pipeline.config.policy import Hub
from inventory_pipeline.connectors.files import FilesConnector
from inventory_pipeline.contracts.events import check_events
from inventory_pipeline.core.ledger import IngestCount, LedgerEvent
from inventory_pipeline.core.ports import Cursor, Opening, RawEvent
from inventory_pipeline.memory import ledger
from inventory_pipeline.memory.embedded import stop_embedded
from inventory_pipeline.memory.event_lines import EventLines

LEDGER_ROWS = 10_000_000
ITEMS = 100_000
BATCH = 50_000
BATCHES = 4  # of one measurement
TIMES = 3
REPEATED_EVERY = 50  # so many-th events came in the batch before
FILE_LINES = 100_000
AT = datetime(2026, 3, 9, tzinfo=UTC)

_FLOOR = "CREATE UNLOGGED TABLE IF NOT EXISTS floor (LIKE hub.ledger)"
Batches = list[list[LedgerEvent]]


def run(scratch: Path) -> Iterator[Figure]:
    folder = scratch / "pg"
    url = make_ledger(folder, LEDGER_ROWS)
    try:
        hub = make_hub(ITEMS, scratch)
        yield _events(url, hub, name="ingest_events_per_s", random_ids=False)
        yield _events(url, hub, name="ingest_random_ids_per_s", random_ids=True)
        yield _file(url, hub, scratch)
    finally:
        stop_embedded(folder)


def _events(url: str, hub: Hub, *, name: str, random_ids: bool) -> Figure:
    """Checked events → committed in the ledger, a transaction a batch."""
    begin = LEDGER_ROWS * (3 if random_ids else 1)
    measured = iter([_batches(hub, begin, turn, random_ids) for turn in range(TIMES)])
    floors = iter([_batches(hub, begin, TIMES, random_ids)] * TIMES)
    # The collector would walk through the waiting events of all turns again and again.
    gc.collect()
    gc.freeze()
    with psycopg.connect(url) as connection:
        connection.execute("SET timezone TO 'UTC'")
        connection.execute(_FLOOR)
        connection.commit()
        taken = side_by_side(
            TIMES,
            ours=lambda: _append(connection, next(measured)),
            floor=lambda: _copy_floor(connection, next(floors)),
        )
        _same_again(connection, _batches(hub, begin, TIMES - 1, random_ids)[-1])
    gc.unfreeze()
    ours = taken["ours"].per_second(BATCH * BATCHES)
    floor = taken["floor"].per_second(BATCH * BATCHES)
    ids = "random ids (UUID)" if random_ids else "ids that ascend"
    return Figure(
        name=name,
        value=round(ours.median),
        unit="events/s",
        against=(
            f"the same lines copied into an unlogged table without indexes and without looking "
            f"for duplicates: {floor.median:,.0f} events/s"
        ),
        note=(
            f"checked events to committed, batches of {BATCH:,}, a durable commit each, "
            f"{100 // REPEATED_EVERY} % duplicates, into a ledger of {LEDGER_ROWS:,}, {ids}; "
            f"{ours.spread}"
        ),
        target=None if random_ids else at_least(100_000),
    )


def _batches(hub: Hub, begin: int, turn: int, random_ids: bool) -> Batches:
    """The batches of one turn; some of each came in the one before."""
    made = [
        _checked(hub, begin + (turn * BATCHES + number) * BATCH, random_ids)
        for number in range(BATCHES)
    ]
    for earlier, batch in pairwise(made):
        batch[::REPEATED_EVERY] = earlier[1::REPEATED_EVERY]
    return made


def _checked(hub: Hub, first: int, random_ids: bool) -> list[LedgerEvent]:
    made = bodies(BATCH, items=ITEMS, first=first + 1, seed=first, random_ids=random_ids)
    raw = [
        RawEvent(body=body, source="events/2026.jsonl", position=str(line))
        for line, body in enumerate(made)
    ]
    events, bad = check_events(hub, "wms", raw, AT)
    assert not bad, bad[0]
    return events


def _append(connection: psycopg.Connection, batches: Batches) -> None:
    """A second thread makes the next batch ready while the server works on this one."""

    def store(lines: EventLines) -> None:
        count = ledger.append_lines(connection, lines, [], received_at=AT, mapping_version=1)
        connection.commit()
        assert count.accepted >= BATCH - BATCH // REPEATED_EVERY, count

    _ahead(batches, store)


def _copy_floor(connection: psycopg.Connection, batches: Batches) -> None:
    def store(lines: EventLines) -> None:
        columns = ", ".join(("ledger_offset", "kind", "mapping_version", *lines.columns))
        with connection.cursor().copy(f"COPY floor ({columns}) FROM STDIN") as copy:
            for piece in lines.numbered((), after=0, mapping_version=1):
                copy.write(piece)
        connection.commit()

    _ahead(batches, store)
    connection.execute("TRUNCATE floor")
    connection.commit()


def _ahead(batches: Batches, store: Callable[[EventLines], None]) -> None:
    with ThreadPoolExecutor(1) as thread:
        ready = thread.submit(EventLines.of, batches[0])
        for following in [*batches[1:], None]:
            lines = ready.result()
            if following is not None:
                ready = thread.submit(EventLines.of, following)
            store(lines)


def _same_again(connection: psycopg.Connection, batch: Sequence[LedgerEvent]) -> None:
    """What was measured was the real thing: everything is there, and known when it comes again."""
    count = ledger.append_events(connection, batch, [], received_at=AT, mapping_version=1)
    connection.rollback()
    assert (count.accepted, count.duplicates) == (0, len(batch)), count


def _file(url: str, hub: Hub, scratch: Path) -> Figure:
    """JSON Lines → read, checked, committed, a page a transaction; in one thread, as the hub does
    it.
    """
    files = iter([_event_file(scratch, turn) for turn in range(TIMES)])
    parsed = iter([_event_file(scratch, turn) for turn in range(TIMES)])
    with psycopg.connect(url) as connection:
        connection.execute("SET timezone TO 'UTC'")
        connection.commit()
        taken = side_by_side(
            TIMES,
            ours=lambda: _read_file(connection, hub, scratch, next(files)),
            floor=lambda: _only_parse(next(parsed)),
        )
    ours = taken["ours"].per_second(FILE_LINES)
    floor = taken["floor"].per_second(FILE_LINES)
    return Figure(
        name="ingest_file_events_per_s",
        value=round(ours.median),
        unit="events/s",
        against=f"json.loads of the same lines and nothing else: {floor.median:,.0f} events/s",
        note=(
            f"a file of {FILE_LINES:,} JSON lines, read in pages of the default size, each event "
            f"checked, mapped and committed into a ledger of {LEDGER_ROWS:,}; {ours.spread}"
        ),
    )


def _event_file(scratch: Path, turn: int) -> Path:
    path = scratch / "events" / f"{turn}.jsonl"
    if not path.exists():
        path.parent.mkdir(exist_ok=True)
        first = LEDGER_ROWS * 2 + turn * FILE_LINES
        made = bodies(FILE_LINES, items=ITEMS, first=first, seed=first)
        path.write_text("".join(json.dumps(body) + "\n" for body in made), encoding="utf-8")
    return path


def _read_file(connection: psycopg.Connection, hub: Hub, scratch: Path, path: Path) -> None:
    connector = FilesConnector(
        Opening(
            system="wms",
            options={"events": path.relative_to(scratch).as_posix()},
            hub_folder=str(scratch),
        )
    )
    count = IngestCount()
    cursor: Cursor = {}
    more = True
    while more:
        page = connector.changes(cursor)
        events, bad = check_events(hub, "wms", page.events, AT)
        count += ledger.append_events(connection, events, bad, received_at=AT, mapping_version=1)
        connection.commit()
        cursor, more = page.cursor, page.more
    assert count.accepted == FILE_LINES, count


def _only_parse(path: Path) -> None:
    with path.open(encoding="utf-8") as file:
        for line in file:
            json.loads(line)
