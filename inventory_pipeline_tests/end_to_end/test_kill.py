"""Pulling the plug: any process is killed in the middle of the replay; the numbers end the same."""

import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import psutil
import pytest

from inventory_pipeline.simulate.grocer_data import read_slice
from inventory_pipeline.simulate.grocer_expected import CHANNEL_OF, expected_shown
from inventory_pipeline.simulate.truth import truth

pytestmark = [pytest.mark.processes, pytest.mark.timeout(900)]
EXAMPLE = Path(__file__).parents[2] / "examples" / "grocer"
SECONDS = 25
DAYS = 6
# Words of the command lines of everything that a hub consists of, in the order in which they die.
VICTIMS = {
    "replay": "inventory_pipeline.simulate.replay",
    "receiver": "inventory_pipeline serve",
    "web shop": "inventory_pipeline.simulate.shopify",
    "run worker": "multiprocessing.spawn",
    "daemon": "dagster._daemon",
    "marketplace": "inventory_pipeline.simulate.woocommerce",
    "Postgres": "postgres -D",
    "code server": "code-server",
    "webserver": "dagster_webserver",
}


@pytest.fixture
def example(tmp_path: Path) -> Path:
    """The grocer, with fewer days in less time."""
    folder = tmp_path / "grocer"
    shutil.copytree(EXAMPLE, folder, ignore=shutil.ignore_patterns(".state"))
    demo = folder / "demo.yaml"
    text = demo.read_text()
    assert "seconds: 75" in text
    text = text.replace("seconds: 75", f"seconds: {SECONDS}")
    market_url = '    market-url: "{market_url}"\n'
    assert market_url in text
    demo.write_text(text.replace(market_url, f'{market_url}    days: "{DAYS}"\n'))
    return folder


def test_every_kind_of_process_is_killed_and_the_numbers_end_the_same(
    example: Path, tmp_path: Path
) -> None:
    state = tmp_path / "s"
    ports = free_ports(2)
    with hub(example, state, ports, "first") as up:
        wait_for_replay(state, up)
        for name, words in VICTIMS.items():
            kill_one(state, words, called=name)
            time.sleep(1.5)
        # And then the whole hub: nobody has the time to clean up.
        up.kill()
        up.wait()
    with hub(example, state, ports, "second", "--once") as up:
        code = up.wait(timeout=400)
    said = (state.parent / "second.log").read_text()
    assert code == 0, said[-3000:]
    found = truth(state / "demo" / "replay.sqlite")
    assert found.finished
    expected = expected_shown(found, read_slice().products)
    assert shown(state) == expected


@contextmanager
def hub(
    example: Path, state: Path, ports: list[int], name: str, *more: str
) -> Iterator[subprocess.Popen[bytes]]:
    """A hub in the background; its terminal goes to a log."""
    argv = [
        sys.executable, "-m", "inventory_pipeline", "up", str(example), "--state", str(state),
        "--port", str(ports[0]), "--dagster-port", str(ports[1]), *more,
    ]  # fmt: skip
    with (state.parent / f"{name}.log").open("wb") as log:
        process = subprocess.Popen(argv, stdout=log, stderr=log, start_new_session=True)
        try:
            yield process
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
                process.wait(timeout=60)


def of_this_hub(state: Path) -> Iterator[tuple[psutil.Process, str]]:
    """Its processes with their command lines; Postgres is known by its data folder."""
    for process in psutil.process_iter():
        try:
            words = " ".join(process.cmdline())
            marked = process.environ().get("HUB_SUPERVISED_STATE") == str(state)
        except (psutil.Error, OSError):
            continue
        if marked or (str(state / "postgres") in words and "postgres" in process.name()):
            yield process, words


def kill_one(state: Path, words: str, *, called: str) -> None:
    """Kills one that is there, or as soon as there is one: runs come and go."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        for process, line in of_this_hub(state):
            if words in line:
                process.send_signal(signal.SIGKILL)
                return
        time.sleep(0.2)
    raise AssertionError(f"there was no {called} to kill")


def wait_for_replay(state: Path, up: subprocess.Popen[bytes]) -> None:
    """Until the first baskets have been sold and pushed about."""
    deadline = time.monotonic() + 180
    file = state / "demo" / "replay.sqlite"
    while time.monotonic() < deadline:
        assert up.poll() is None, "the hub ended by itself"
        if file.exists() and sum(truth(file).told.values()) > 50:
            return
        time.sleep(0.5)
    raise AssertionError("the replay did not begin")


def shown(state: Path) -> dict[tuple[str, str], int]:
    """(channel, sku) → units, from the shops' own files."""
    found = {}
    for shop, channel in CHANNEL_OF.items():
        with closing(sqlite3.connect(state / "demo" / f"{shop}.sqlite")) as connection:
            rows = connection.execute(
                "SELECT sku, available FROM levels JOIN items USING (item_id)"
            )
            found |= {(channel, sku): units for sku, units in rows}
    return found


def free_ports(count: int) -> list[int]:
    listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [listener.getsockname()[1] for listener in listeners]
    for listener in listeners:
        listener.close()
    return ports
