"""The ledger: one gapless sequence, duplicates recognized, conflicts kept."""

import threading
from datetime import UTC, datetime, timedelta

import pyarrow as pa

from inventory_pipeline.core.ledger import BadRow, CheckedSnapshot, LedgerEvent, RejectedSnapshot
from inventory_pipeline.core.vocabulary import Reason
from inventory_pipeline.memory import ledger

NOW = datetime(2026, 3, 2, 8, tzinfo=UTC)


def event(event_id: str, *, content: bytes = b"same", **fields: object) -> LedgerEvent:
    values = {
        "system": "shop", "event_id": event_id, "type": "pos_sale", "occurred_at": NOW,
        "received_at": NOW, "content_hash": content, "raw": "{}", "source": "test", "position": "1",
        "sku": "A", "quantity_milli": 1000, "location": "dc",
    }  # fmt: skip
    return LedgerEvent(**{**values, **fields})


def append(pg, *events, bad=()):
    with pg.connection() as connection:
        return ledger.append_events(connection, events, bad, received_at=NOW, mapping_version=1)


def test_the_same_event_again_is_counted_and_ignored(pg):
    assert append(pg, event("1"), event("2")).accepted == 2
    again = append(pg, event("2"), event("3"), event("3"))
    assert (again.accepted, again.duplicates, again.last_offset) == (1, 2, 3)
    with pg.connection() as connection:
        assert ledger.head(connection) == 3
        assert connection.execute("SELECT accepted, duplicates FROM hub.intake").fetchone() == (
            3,
            2,
        )


def test_the_same_id_with_other_content_goes_to_quarantine_and_the_first_stays(pg):
    append(pg, event("1", content=b"first"))
    count = append(pg, event("1", content=b"other", raw='{"quantity": 9}'))
    assert (count.accepted, count.conflicting) == (0, 1)
    with pg.connection() as connection:
        kept = connection.execute("SELECT reason, raw FROM hub.quarantine").fetchall()
        assert kept == [(Reason.CONFLICTING_DUPLICATE, '{"quantity": 9}')]
        assert ledger.head(connection) == 1


def test_one_event_id_of_two_systems_is_two_events(pg):
    assert append(pg, event("1"), event("1", system="erp")).accepted == 2


def test_many_writers_at_once_leave_no_gap_and_no_double(pg):
    def write(writer: int) -> None:
        for number in range(20):
            append(pg, event(f"{writer}-{number}"), event(f"shared-{number}"))

    threads = [threading.Thread(target=write, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with pg.connection() as connection:
        offsets = [row[0] for row in connection.execute("SELECT ledger_offset FROM hub.ledger")]
        assert sorted(offsets) == list(range(1, 101))
        assert ledger.head(connection) == 100


def test_a_reader_that_sees_an_offset_sees_everything_below_it(pg):
    stop = threading.Event()
    seen: list[tuple[int, int]] = []

    def read() -> None:
        while not stop.is_set():
            with pg.connection() as connection:
                head = ledger.head(connection)
                count = ledger.read_events(connection, 0, head).num_rows
            seen.append((head, count))

    reader = threading.Thread(target=read)
    reader.start()
    for number in range(60):
        append(pg, event(f"a{number}"))
    stop.set()
    reader.join()
    assert all(head == count for head, count in seen)


def test_events_come_back_as_arrow_in_order_of_offset(pg):
    append(pg, event("1", expires_at=NOW + timedelta(hours=1)), event("2", sku=None))
    with pg.connection() as connection:
        table = ledger.read_events(connection, 0, 2)
        assert ledger.read_events(connection, 2, 2).num_rows == 0
    assert table.schema == ledger.EVENT_SCHEMA
    assert table["event_id"].to_pylist() == ["1", "2"]
    assert table["expires_at"].to_pylist() == [NOW + timedelta(hours=1), None]


def test_a_snapshot_lands_once(pg):
    snapshot = CheckedSnapshot(
        system="wms", feed="dc", as_of=NOW, complete=True, states=("on_hand",), source="a.csv",
        key="a.csv:1", rows=pa.table({}), data_rows=10,
        bad=(
            BadRow(
                system="wms", kind="snapshot_row", source="a.csv", position="3",
                reason=Reason.UNKNOWN_ITEM, message="?", raw="{}",
            ),
        ),
    )  # fmt: skip

    def register() -> int | None:
        with pg.connection() as connection:
            return ledger.register_snapshot(
                connection, snapshot, path="landing/wms/x.parquet", landed_at=NOW, mapping_version=1
            )

    assert register() == 1
    assert register() is None
    with pg.connection() as connection:
        assert ledger.head(connection) == 1
        assert ledger.seen_snapshots(connection, "wms") == {"a.csv:1"}
        assert ledger.last_accepted_rows(connection, "wms", "dc") == 10
        [landed] = ledger.read_snapshots(connection, 0, 1)
        assert (landed.path, landed.complete) == ("landing/wms/x.parquet", True)


def test_a_rejected_snapshot_takes_no_offset_and_is_remembered(pg):
    rejected = RejectedSnapshot(
        system="wms", feed="dc", source="b.csv", key="b", reason="missing_columns", message="item"
    )
    with pg.connection() as connection:
        ledger.reject_snapshot(connection, rejected, landed_at=NOW)
        ledger.reject_snapshot(connection, rejected, landed_at=NOW)
        assert ledger.head(connection) == 0
        assert connection.execute("SELECT count(*) FROM hub.snapshots").fetchone() == (1,)
