"""Batches on their way into the ledger: texts arrive as they were, the first of an id stays."""

from datetime import UTC, datetime, timedelta

from inventory_pipeline.core.ledger import LedgerEvent
from inventory_pipeline.core.vocabulary import Reason
from inventory_pipeline.memory import ledger
from inventory_pipeline.memory.event_lines import CHUNK_LINES, EventLines

NOW = datetime(2026, 3, 2, 8, tzinfo=UTC)
AWKWARD = ["a\tb", "a\nb", "a\rb", "a\\b", "\\N", "\\", "\\.", "N", "", '"', "ü", "\U0001f600", " "]


def event(event_id: str, *, content: bytes = b"same", **fields: object) -> LedgerEvent:
    values = {
        "system": "shop", "event_id": event_id, "type": "pos_sale", "occurred_at": NOW,
        "received_at": NOW, "content_hash": content, "raw": "{}", "source": "test", "position": "1",
    }  # fmt: skip
    return LedgerEvent(**{**values, **fields})


def append(pg, *events):
    with pg.connection() as connection:
        return ledger.append_events(connection, events, (), received_at=NOW, mapping_version=1)


def rows(pg, columns):
    with pg.connection() as connection:
        return connection.execute(
            f"SELECT {columns} FROM hub.ledger ORDER BY ledger_offset"
        ).fetchall()


def copy_lines(pieces):
    return [line.split("\t") for line in b"".join(pieces).decode().split("\n")[:-1]]


def test_every_text_arrives_as_it_was(pg):
    sent = [event(f"{n} {text}", sku=text, source=text) for n, text in enumerate(AWKWARD)]
    assert append(pg, *sent, event("none")).accepted == len(AWKWARD) + 1
    found = rows(pg, "event_id, sku, source")
    assert found == [(one.event_id, one.sku, one.source) for one in sent] + [("none", None, "test")]


def test_every_other_value_arrives_as_it_was(pg):
    early = datetime(1, 1, 1, tzinfo=UTC)
    late = NOW + timedelta(microseconds=1)
    sent = [
        event("1", occurred_at=early, quantity_milli=-(2**62), content=bytes(range(32))),
        event("2", expires_at=late, expected_at=NOW, raw='{"a":"\\\\ \\" \\u00fc \\n"}'),
        event("3", occurred_at=late, quantity_milli=0),
    ]
    append(pg, *sent)
    names = "occurred_at, received_at, expires_at, expected_at, quantity_milli, content_hash"
    assert rows(pg, names) == [
        tuple(getattr(one, name) for name in names.split(", ")) for one in sent
    ]
    assert rows(pg, "raw ->> 'a'")[1] == ('\\ " ü \n',)


def test_what_came_before_takes_no_offset_and_the_rest_keeps_its_order(pg):
    append(pg, event("b"), event("d", content=b"first"))
    count = append(
        pg, event("e"), event("b"), event("a"), event("d", content=b"other"), event("c"), event("e")
    )
    assert (count.accepted, count.duplicates, count.conflicting) == (3, 2, 1)
    assert count.last_offset == 5
    assert rows(pg, "ledger_offset, event_id") == [
        (1, "b"), (2, "d"), (3, "e"), (4, "a"), (5, "c"),
    ]  # fmt: skip


def test_of_two_that_differ_in_one_batch_the_first_stays(pg):
    count = append(
        pg,
        event("1", content=b"first", raw='{"n": 1}'),
        event("1", content=b"other", raw='{"n": 2}'),
        event("1", content=b"first", raw='{"n": 1}'),
    )
    assert (count.accepted, count.duplicates, count.conflicting) == (1, 1, 1)
    with pg.connection() as connection:
        kept = connection.execute("SELECT reason, raw FROM hub.quarantine").fetchall()
    assert kept == [(Reason.CONFLICTING_DUPLICATE, '{"n": 2}')]


def test_an_id_of_the_ledger_decides_over_the_first_of_the_batch(pg):
    append(pg, event("1", content=b"known"))
    count = append(pg, event("1", content=b"other"), event("1", content=b"other"))
    assert (count.accepted, count.duplicates, count.conflicting) == (0, 0, 2)
    count = append(pg, event("1", content=b"other"), event("1", content=b"known"))
    assert (count.duplicates, count.conflicting) == (1, 1)


def test_each_system_has_ids_and_counts_of_its_own(pg):
    append(pg, event("5"), event("1", system="erp"))
    count = append(
        pg, event("1"), event("1", system="erp"), event("5", system="erp"), event("5"), event("9")
    )
    assert (count.accepted, count.duplicates) == (3, 2)
    with pg.connection() as connection:
        intake = connection.execute(
            "SELECT system, accepted, duplicates FROM hub.intake ORDER BY system"
        ).fetchall()
    assert intake == [("erp", 2, 1), ("shop", 3, 1)]


def test_a_batch_of_many_pieces_leaves_no_gap():
    lines = EventLines.of([event(str(n)) for n in range(2 * CHUNK_LINES + 3)])
    left_out = {0, CHUNK_LINES, CHUNK_LINES + 2}
    sent = copy_lines(lines.numbered(left_out, after=7, mapping_version=1))
    assert [int(line[0]) for line in sent] == list(range(8, 8 + 2 * CHUNK_LINES))
    kept = [n for n in range(2 * CHUNK_LINES + 3) if n not in left_out]
    assert [line[4] for line in sent] == [str(n) for n in kept]


def test_a_piece_that_came_before_whole_sends_nothing():
    lines = EventLines.of([event(str(n)) for n in range(CHUNK_LINES + 1)])
    sent = copy_lines(lines.numbered(set(range(CHUNK_LINES)), after=0, mapping_version=1))
    assert [(line[0], line[4]) for line in sent] == [("1", str(CHUNK_LINES))]


def test_a_column_that_only_one_piece_fills_is_in_all_of_them(pg):
    sent = [event(str(n)) for n in range(CHUNK_LINES)]
    append(pg, *sent, event("last", expires_at=NOW, sku="A"))
    with pg.connection() as connection:
        filled = connection.execute(
            "SELECT event_id, expires_at, sku FROM hub.ledger WHERE expires_at IS NOT NULL"
        ).fetchall()
    assert filled == [("last", NOW, "A")]
    assert len(rows(pg, "event_id")) == CHUNK_LINES + 1


def test_ids_of_every_spelling_are_known_again(pg):
    ids = [text or "empty" for text in (*AWKWARD, "{", "}", ",", '","', "NULL", "null", '\\"')]
    sent = [event(event_id, system="a'b") for event_id in ids]
    assert append(pg, *sent).accepted == len(ids)
    assert append(pg, *reversed(sent)).duplicates == len(ids)
    for one in sent:
        assert append(pg, one).duplicates == 1, one.event_id


def test_no_events_are_no_lines():
    assert list(EventLines.of([]).numbered((), after=0, mapping_version=1)) == []
