"""Replays the grocer's month in about a minute: tills and warehouse as files, orders at both shops.

`python -m inventory_pipeline.simulate.replay --hub FOLDER --state FILE.sqlite --shop-url URL
 --market-url URL --seconds 75 [--days 35]`

Prints {"step", "done", "total"} as JSON lines and ends with 0. Killed at any moment and started
again, it goes on: what was told is told again with the same content, to the same byte of the same
file and under the same order id. A replay that has ended prints its summary and ends.
"""

import argparse
import contextlib
import json
import os
import sqlite3
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx

from inventory_pipeline.core.errors import HubError
from inventory_pipeline.core.ports import Clock
from inventory_pipeline.simulate.grocer import write
from inventory_pipeline.simulate.grocer_data import DAYS, read_slice
from inventory_pipeline.simulate.grocer_stock import DC, STORES, opening
from inventory_pipeline.simulate.replay_orders import Orders
from inventory_pipeline.simulate.replay_plan import write_plan
from inventory_pipeline.simulate.replay_state import ReplayState
from inventory_pipeline.simulate.replay_world import World
from inventory_pipeline.simulate.truth import summary_of

LATE_S = 60.0
TICK_S = 0.05
REPORT_S = 1.0
ANSWER_S = 10.0
RETRY_S = 0.5
PATIENCE_S = 600.0  # a shop that does not answer for so long is not coming back
SHOPS = ("shop", "market")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """`seconds`: how long the whole replay takes; 0: as fast as it goes."""

    hub: Path
    state: Path
    urls: Mapping[str, str]
    seconds: float = 75.0
    days: int = DAYS


@dataclass(slots=True)
class Pace:
    """Turns time into positions: from `begun_at` on, `seconds` for the whole."""

    seconds: float
    begun_at: float
    timer: Callable[[], float] = time.monotonic
    started: float = field(init=False)

    def __post_init__(self) -> None:
        self.started = self.timer()

    def position(self) -> float:
        if self.seconds <= 0:
            return float("inf")
        return self.begun_at + (self.timer() - self.started) / self.seconds


def _now() -> datetime:
    return datetime.now(UTC)


class Replay:
    """One run of the replay; `report` takes what a person who waits wants to see."""

    def __init__(
        self,
        settings: Settings,
        *,
        report: Callable[[dict[str, Any]], None],
        clock: Clock = _now,
    ) -> None:
        self.settings = settings
        self.report = report
        self.state = ReplayState(settings.state, clock)
        self.client = httpx.Client(timeout=ANSWER_S, trust_env=False)
        self.quiet_until = dict.fromkeys(SHOPS, 0.0)
        self.unheard_since: dict[str, float] = {}
        self.reported_at = 0.0

    def run(self) -> None:
        """Plays to the end. Raises HubError if a shop cannot be reached or answers nonsense."""
        slice_ = read_slice()
        stock = opening(slice_)
        write_plan(self.state, slice_, stock, days=self.settings.days)
        late = min(LATE_S / self.settings.seconds, 0.5) if self.settings.seconds > 0 else 0.3
        self.world = World(self.state, stock, late=late)
        self.orders = Orders(self.world)
        pace = Pace(seconds=self.settings.seconds, begun_at=float(self.state.get("position", 0)))
        while self._step(pace.position()):
            if pace.seconds > 0:
                time.sleep(TICK_S)
        self._final_counts()
        self._progress("done", force=True, summary=summary_of(self.state.connection))

    def close(self) -> None:
        self.client.close()
        self.state.connection.close()

    def _step(self, position: float) -> bool:
        """Everything that is due by now; False once nothing is left to do or to tell."""
        todo, told = self.state.next_todo(), self.state.next_emission()
        if todo is None and told is None:
            return False
        if position == float("inf"):
            position = min(row["due"] for row in (todo, told) if row is not None)
        while todo is not None and todo["due"] <= position:
            self._happen(todo)
            self._tell_due(todo["due"])
            todo = self.state.next_todo()
        self._tell_due(position)
        self._progress("replay")
        return True

    def _happen(self, todo: sqlite3.Row) -> None:
        """One thing happens, whole or not at all."""
        doers: tuple[World | Orders, ...] = (self.world, self.orders)
        (doer,) = [one for one in doers if hasattr(one, todo["kind"])]
        with self.state.together():
            getattr(doer, todo["kind"])(todo["due"], json.loads(todo["payload"]))
            self.state.finish_todo(todo["id"])
            self.state.put("position", todo["due"])

    # -- telling ------------------------------------------------------------------------------

    def _tell_due(self, position: float) -> None:
        due = self.state.due_emissions(position)
        self._write_lines([row for row in due if row["way"] == "line"])
        for row in due:
            if row["way"] == "file":
                write(self.settings.hub / row["target"], row["content"])
                self.state.delivered(row["id"])
            elif row["way"] == "post":
                self._post(row)

    def _write_lines(self, rows: list[sqlite3.Row]) -> None:
        """Lines go to bytes that were set down before, so that a repetition changes nothing."""
        if not rows:
            return
        with self.state.together():
            placed = [(self.state.place_line(row), row) for row in rows]
        for path in dict.fromkeys(row["target"] for row in rows):
            lines = sorted((at, row["content"]) for at, row in placed if row["target"] == path)
            _write_at(self.settings.hub / path, lines)
        with self.state.together():
            for row in rows:
                self.state.delivered(row["id"])

    def _post(self, row: sqlite3.Row) -> None:
        shop, _, path = row["target"].partition(" ")
        if time.monotonic() < self.quiet_until[shop]:
            return
        try:
            answer = self.client.post(
                self.settings.urls[shop] + path,
                content=row["content"],
                headers={"Content-Type": "application/json"},
            )
        except httpx.HTTPError as error:
            self._unheard(shop, str(error))
            return
        if answer.status_code >= 500:
            self._unheard(shop, f"it answers {answer.status_code}")
            return
        self.unheard_since.pop(shop, None)
        with self.state.together():
            self.orders.answered(
                row["due"], row["target"], row["content"], answer.status_code, answer.json()
            )
            self.state.delivered(row["id"])

    def _unheard(self, shop: str, why: str) -> None:
        """The shop is asked again in a moment, for a while; other things go on."""
        now = time.monotonic()
        since = self.unheard_since.setdefault(shop, now)
        self.quiet_until[shop] = now + RETRY_S
        if now - since > PATIENCE_S:
            raise HubError(
                f"{shop} at {self.settings.urls[shop]} is silent for {PATIENCE_S:.0f} s: {why}",
                hint="start it again; the replay goes on where it was.",
            )
        if self.settings.seconds <= 0:
            time.sleep(RETRY_S)

    def _final_counts(self) -> None:
        """The month ends with a count of every location, dated after all that happened."""
        if not self.state.get("counted"):
            with self.state.together():
                for place in (DC, *STORES):
                    self.world.count(1.0, {"place": place})
                self.state.put("counted", True)
        self._tell_due(float("inf"))

    def _progress(self, step: str, *, force: bool = False, **more: Any) -> None:
        now = time.monotonic()
        if not force and now - self.reported_at < REPORT_S:
            return
        self.reported_at = now
        done, total = self.state.rows(
            "SELECT count(*) FROM emissions WHERE delivered_at IS NOT NULL "
            "UNION ALL SELECT count(*) FROM emissions"
        )
        planned = self.state.rows("SELECT count(*) AS n, sum(done) AS done FROM todo")[0]
        part = (planned["done"] or 0) / max(1, planned["n"])
        expected = int(total[0] / part) if 0 < part < 1 and step != "done" else total[0]
        self.report({"step": step, "done": done[0], "total": max(expected, total[0]), **more})


def _write_at(path: Path, lines: list[tuple[int, str]]) -> None:
    """Writes lines that follow each other at the byte of the first one, in one write."""
    path.parent.mkdir(parents=True, exist_ok=True)
    start = 0
    while start < len(lines):
        end, place = start, lines[start][0]
        block = b""
        while end < len(lines) and lines[end][0] == place + len(block):
            block += lines[end][1].encode() + b"\n"
            end += 1
        descriptor = os.open(path, os.O_CREAT | os.O_WRONLY, 0o644)
        try:
            os.pwrite(descriptor, block, place)
        finally:
            os.close(descriptor)
        start = end


def main() -> None:
    parser = argparse.ArgumentParser(description="Replays real baskets against a hub.")
    parser.add_argument("--hub", type=Path, required=True, help="the working hub folder")
    parser.add_argument("--state", type=Path, required=True, help="SQLite file; created if absent")
    parser.add_argument("--shop-url", required=True)
    parser.add_argument("--market-url", required=True)
    parser.add_argument("--seconds", type=float, default=75.0)
    parser.add_argument("--days", type=int, default=DAYS)
    given = parser.parse_args()
    settings = Settings(
        hub=given.hub,
        state=given.state,
        urls={"shop": given.shop_url, "market": given.market_url},
        seconds=given.seconds,
        days=given.days,
    )

    def report(line: dict[str, Any]) -> None:
        sys.stdout.write(json.dumps(line) + "\n")
        sys.stdout.flush()

    with contextlib.suppress(KeyboardInterrupt):
        replay = Replay(settings, report=report)
        try:
            replay.run()
        except HubError as error:
            report({"step": "failed", "done": 0, "total": None, "error": str(error)})
            sys.exit(1)
        except BrokenPipeError:
            # Whoever waited is gone; the next start goes on from here.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(1)
        finally:
            replay.close()


if __name__ == "__main__":
    main()
