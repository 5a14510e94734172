"""Folders of files: what is read, when, once, and what is said of the rest."""

import json
import os
import time
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from inventory_pipeline.connectors import build
from inventory_pipeline.connectors.files import FilesConnector
from inventory_pipeline.core.errors import HubError, SourceRefused
from inventory_pipeline.core.ports import Connector, Opening

HEAD = "as_of,location,item,on_hand\n"


def opened(folder: Path, **options) -> FilesConnector:
    given = {"snapshots": "in/*", "events": "in/*.jsonl", "settle_s": 0} | options
    given = {name: value for name, value in given.items() if value is not None}
    return FilesConnector(Opening(system="wms", options=given, hub_folder=str(folder)))


def write(folder: Path, name: str, text: str | bytes) -> Path:
    path = folder / "in" / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def snapshots(connector, seen=frozenset()):
    return list(connector.snapshots(seen))


def test_it_is_a_connector_that_only_gives(tmp_path):
    connector = build(
        Opening(system="wms", options={"snapshots": "*.csv"}, hub_folder=str(tmp_path)), "files"
    )
    assert isinstance(connector, Connector)
    assert connector.capabilities.snapshots
    assert not connector.capabilities.changes
    with pytest.raises(NotImplementedError):
        connector.write_levels([], key="k")


def test_every_cell_is_the_text_that_stood_there(tmp_path):
    write(tmp_path, "a.csv", '\ufeffas_of, location ,item,on_hand\nt,"a,b",007,1.10\nt,NA,,null\n')
    (found,) = snapshots(opened(tmp_path, snapshots="in/*.csv"))
    assert found.error == ""
    assert found.source == "in/a.csv"
    assert list(found.frame.columns) == ["as_of", "location", "item", "on_hand"]
    assert found.frame["item"].fillna("<NA>").tolist() == ["007", "<NA>"]
    assert found.frame["on_hand"].tolist() == ["1.10", "null"]
    assert found.frame["location"].tolist() == ["a,b", "NA"]


def test_parquet_gives_the_same_texts_without_floats(tmp_path):
    table = pa.table(
        {
            "as_of": pa.array([1772438400_000000] * 3, pa.timestamp("us", tz="UTC")),
            "location": pa.array(["1", "1", None]).dictionary_encode(),
            "item": [7, 8, 9],
            "on_hand": pa.array([Decimal("0.10"), None, Decimal("12345678901.25")]),
            "damaged": [1.5, float("nan"), 3.0],
        }
    )
    (tmp_path / "in").mkdir()
    pq.write_table(table, tmp_path / "in" / "a.parquet")
    (found,) = snapshots(opened(tmp_path, snapshots="in/*.parquet"))
    assert found.frame["on_hand"].fillna("-").tolist() == ["0.10", "-", "12345678901.25"]
    assert found.frame["item"].tolist() == ["7", "8", "9"]
    assert found.frame["damaged"].fillna("-").tolist()[:2] == ["1.5", "-"]
    assert found.frame["as_of"].iloc[0].startswith("2026-03-02 08:00:00")
    assert found.frame["as_of"].iloc[0].endswith("Z")


def test_a_file_lands_once_and_a_changed_file_is_a_new_snapshot(tmp_path):
    connector = opened(tmp_path, snapshots="in/*.csv")
    path = write(tmp_path, "a.csv", HEAD + "t,1,A,1\n")
    (first,) = snapshots(connector)
    assert snapshots(connector, frozenset({first.key})) == []
    path.write_text(HEAD + "t,1,A,2\n")
    os.utime(path, ns=(1, 2))
    (second,) = snapshots(connector, frozenset({first.key}))
    assert second.key != first.key


def test_files_come_in_the_order_of_their_paths(tmp_path):
    for name in ("c.csv", "a.csv", "b.csv"):
        write(tmp_path, name, HEAD)
    sources = [
        found.source for found in snapshots(opened(tmp_path, snapshots=["in/b*", "in/*.csv"]))
    ]
    assert sources == ["in/a.csv", "in/b.csv", "in/c.csv"]


def test_a_file_that_was_just_changed_waits_for_the_next_poll(tmp_path):
    now = [time.time()]
    options = {"snapshots": "in/*.csv", "settle_s": 5}
    connector = FilesConnector(
        Opening(system="wms", options=options, hub_folder=str(tmp_path)), wall=lambda: now[0]
    )
    write(tmp_path, "a.csv", HEAD)
    assert snapshots(connector) == []
    now[0] += 6
    assert len(snapshots(connector)) == 1


@pytest.mark.parametrize(
    "name", [".a.csv", "_a.csv", "a.csv.tmp", "a.csv.part", "a.CSV.PARTIAL", "a.csv~"]
)
def test_a_file_under_a_temporary_name_is_not_read(tmp_path, name):
    write(tmp_path, name, HEAD)
    assert snapshots(opened(tmp_path)) == []


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "no header"),
        (HEAD + "t,1,A,1\nt,1,A\n", "Expected 4 columns, got 3"),
        (HEAD.encode() + b"t,1,caf\xe9,1\n", "utf-8"),
        ("a,a\n1,2\n", "twice"),
        (b"\x00\x01\x02", ""),
    ],
)
def test_an_unreadable_table_is_a_snapshot_with_an_error(tmp_path, content, said):
    write(tmp_path, "a.csv", content)
    (found,) = snapshots(opened(tmp_path, snapshots="in/*.csv"))
    if found.frame is not None:
        # A file of rubbish may look like a header: then its columns are missing.
        assert "as_of" not in found.frame.columns
    else:
        assert said in found.error


def test_a_broken_parquet_is_a_snapshot_with_an_error(tmp_path):
    write(tmp_path, "a.parquet", b"PAR1 no more")
    (found,) = snapshots(opened(tmp_path))
    assert found.frame is None
    assert found.error


def test_a_header_alone_is_an_empty_table(tmp_path):
    write(tmp_path, "a.csv", HEAD)
    write(tmp_path, "b.csv", HEAD.strip())
    for found in snapshots(opened(tmp_path)):
        assert found.error == ""
        assert len(found.frame) == 0


def event(number: int) -> str:
    return json.dumps({"event_id": f"e{number}", "quantity": 1}) + "\n"


def read_all(connector, cursor=None):
    events, cursor = [], cursor or {}
    for _ in range(50):
        page = connector.changes(cursor)
        events += page.events
        # A cursor survives being stored as JSON.
        cursor = json.loads(json.dumps(page.cursor))
        if not page.more:
            return events, cursor
    raise AssertionError("no end")


def test_lines_are_read_once_in_bounded_pages(tmp_path):
    write(tmp_path, "a.jsonl", "".join(event(n) for n in range(7)))
    path = write(tmp_path, "b.jsonl", "".join(event(n) for n in range(7, 10)))
    connector = opened(tmp_path, page_lines=3)
    assert len(connector.changes({}).events) == 3
    events, cursor = read_all(connector)
    assert [e.body["event_id"] for e in events] == [f"e{n}" for n in range(10)]
    assert [(e.source, e.position) for e in events][6:8] == [
        ("in/a.jsonl", "7"),
        ("in/b.jsonl", "1"),
    ]
    assert read_all(connector, cursor)[0] == []
    with path.open("a") as file:
        file.write(event(10))
    (new,), _ = read_all(connector, cursor)
    assert (new.body["event_id"], new.position) == ("e10", "4")


def test_numbers_are_exact(tmp_path):
    write(tmp_path, "a.jsonl", '{"quantity": 0.1, "n": 3}\n')
    (found,), _ = read_all(opened(tmp_path))
    assert found.body == {"quantity": Decimal("0.1"), "n": 3}
    assert isinstance(found.body["quantity"], Decimal)


def test_half_a_line_waits_until_it_is_whole(tmp_path):
    path = write(tmp_path, "a.jsonl", event(1) + '{"event_id": "e2", "quan')
    connector = opened(tmp_path)
    events, cursor = read_all(connector)
    assert len(events) == 1
    with path.open("a") as file:
        file.write('tity": 1}\n' + event(3))
    events, _ = read_all(connector, cursor)
    assert [(e.body["event_id"], e.position) for e in events] == [("e2", "2"), ("e3", "3")]


def test_a_last_line_without_an_end_counts_once_it_is_a_whole_object(tmp_path):
    path = write(tmp_path, "a.jsonl", event(1) + event(2).strip())
    connector = opened(tmp_path)
    events, cursor = read_all(connector)
    assert len(events) == 2
    with path.open("a") as file:
        file.write("\n" + event(3))
    events, _ = read_all(connector, cursor)
    assert [(e.body["event_id"], e.position) for e in events] == [("e3", "3")]


@pytest.mark.parametrize(
    "line", ["{broken", "[1]", '"text"', '{"n": NaN}', "\x00", '{"a": 1} {"b": 2}', "[" * 100_000]
)  # fmt: skip
def test_a_broken_line_is_kept_and_the_others_go_on(tmp_path, line):
    write(tmp_path, "a.jsonl", event(1) + line + "\n\n" + event(2))
    events, _ = read_all(opened(tmp_path))
    assert [e.position for e in events] == ["1", "2", "4"]
    assert events[1].body is None
    assert events[1].error
    assert events[1].text.startswith(line[:5])


def test_bytes_that_are_no_text_are_kept_as_far_as_they_can_be(tmp_path):
    write(tmp_path, "a.jsonl", b'{"event_id": "caf\xe9"}\n' + event(2).encode())
    events, _ = read_all(opened(tmp_path))
    assert events[0].body is None
    assert "caf" in events[0].text
    assert events[1].body is not None


def test_a_line_without_an_end_in_sight_does_not_fill_the_memory(tmp_path):
    write(tmp_path, "a.jsonl", event(1) + "x" * 3_000_000 + "\n" + event(2))
    events, _ = read_all(opened(tmp_path))
    assert [e.position for e in events] == ["1", "2", "3"]
    assert "longer than" in events[1].error
    assert len(events[1].text) <= 1024 * 1024


@pytest.mark.parametrize("again", ["", "shorter\n", event(8) + event(9) + event(10)])
def test_a_file_that_was_replaced_is_read_again(tmp_path, again):
    path = write(tmp_path, "a.jsonl", event(1) + event(2))
    connector = opened(tmp_path)
    _, cursor = read_all(connector)
    path.write_text(again)
    events, _ = read_all(connector, cursor)
    assert len(events) == again.count("\n")


def test_a_file_that_went_away_keeps_its_place(tmp_path):
    path = write(tmp_path, "a.jsonl", event(1))
    connector = opened(tmp_path)
    _, cursor = read_all(connector)
    path.rename(tmp_path / "away")
    _, cursor = read_all(connector, cursor)
    (tmp_path / "away").rename(path)
    assert read_all(connector, cursor)[0] == []


def test_no_folder_yet_is_no_trouble(tmp_path):
    connector = opened(tmp_path)
    assert snapshots(connector) == []
    assert read_all(connector)[0] == []


def test_a_folder_that_cannot_be_searched_says_so(tmp_path):
    with pytest.raises(SourceRefused, match="wms: read files"):
        snapshots(opened(tmp_path, snapshots="/elsewhere/*.csv"))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            {"snapshot": "*.csv"},
            "snapshot is unknown; known are columns, delimiter, events, page_lines, settle_s, ",
        ),
        ({}, "snapshots or events is missing"),
        ({"snapshots": 7}, "snapshots must be a text"),
        ({"snapshots": "*", "settle_s": "soon"}, "settle_s must be a number"),
        ({"snapshots": "*", "page_lines": 0}, "page_lines must be between"),
    ],
)
def test_wrong_options_are_named(tmp_path, options, said):
    with pytest.raises(HubError, match=r"systems\.wms\.options") as error:
        FilesConnector(Opening(system="wms", options=options, hub_folder=str(tmp_path)))
    assert said in str(error.value)


def test_a_glob_that_no_file_matches_is_doubted_with_its_option_and_place(tmp_path):
    write(tmp_path, "stock.csv", "a\n")
    write(tmp_path, "orders.jsonl.tmp", "{}\n")
    connector = opened(tmp_path, snapshots=["in/*.csv", "out/*.csv"], events="in/*.jsonl*")
    assert list(connector.doubts()) == [
        f"systems.wms.options.snapshots: no file matches 'out/*.csv' in {tmp_path}",
        f"systems.wms.options.events: no file matches 'in/*.jsonl*' in {tmp_path}",
    ]


def test_a_glob_that_cannot_be_used_is_doubted_with_its_reason(tmp_path):
    [doubt, _] = opened(tmp_path, snapshots="/elsewhere/*.csv").doubts()
    assert doubt.startswith("systems.wms.options.snapshots: wms: read files [/elsewhere/*.csv]")


def test_tab_separated_files_are_snapshots(tmp_path):
    write(tmp_path, "a.tsv", HEAD.replace(",", "\t") + "2026-03-02T08:00:00Z\t1\tA, large\t5\n")
    (found,) = snapshots(opened(tmp_path, events=None))
    assert found.frame.iloc[0].tolist() == ["2026-03-02T08:00:00Z", "1", "A, large", "5"]


def test_other_separators_are_named(tmp_path):
    write(tmp_path, "a.csv", HEAD.replace(",", ";") + "2026-03-02T08:00:00Z;1;A;0,5\n")
    (found,) = snapshots(opened(tmp_path, events=None, delimiter=";"))
    assert found.frame["on_hand"].tolist() == ["0,5"]  # and the check of the snapshot refuses it
    with pytest.raises(HubError, match="delimiter must be one character"):
        opened(tmp_path, delimiter=";;")


def test_json_lines_are_snapshots_too_with_every_digit(tmp_path):
    lines = [
        '{"as_of": "2026-03-02T08:00:00Z", "location": "1", "item": "A", "on_hand": 5.10}',
        "",
        '{"as_of": "2026-03-02T08:00:00Z", "location": 1, "item": "B", "damaged": null}',
    ]
    write(tmp_path, "a.ndjson", "\n".join(lines))
    (found,) = snapshots(opened(tmp_path, events=None))
    assert found.frame["on_hand"].tolist()[0] == "5.10"
    assert found.frame["location"].tolist() == ["1", "1"]
    assert found.frame.isna().sum().to_dict()["on_hand"] == 1


@pytest.mark.parametrize("line", ["{", "[1]", '{"item": {"no": 1}}', '{"on_hand": true}'])
def test_a_line_that_is_no_row_makes_the_file_unreadable_and_is_named(tmp_path, line):
    write(tmp_path, "a.ndjson", '{"item": "A"}\n' + line + "\n")
    (found,) = snapshots(opened(tmp_path, events=None))
    assert found.frame is None
    assert "line 2" in found.error


def test_columns_with_other_names_are_mapped(tmp_path):
    head = "Date,Place,SKU,Qty,on_hand\n"
    write(tmp_path, "a.csv", head + "2026-03-02T08:00:00Z,1,A,5,not ours\n")
    columns = {"as_of": "Date", "location": "Place", "item": "SKU", "on_hand": "Qty"}
    (found,) = snapshots(opened(tmp_path, events=None, columns=columns))
    assert found.frame.to_dict("records") == [
        {"as_of": "2026-03-02T08:00:00Z", "location": "1", "item": "A", "on_hand": "5"}
    ]
    with pytest.raises(HubError, match="columns must map names to names"):
        opened(tmp_path, columns={"on_hand": 3})
