"""Child processes: started, waited for, started again when they die, stopped in order."""

import os
import re
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from inventory_pipeline.core.errors import HubError
from inventory_pipeline.up.ownership import ProcessFile

LOOK_EVERY_S = 0.25
TAIL_LINES = 12
MAX_RESTARTS = 5
RESTART_WINDOW_S = 120.0
MAX_PAUSE_S = 15.0
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")

Say = Callable[[str], None]


class ProcessFailed(HubError):
    """A process does not start, or dies again and again. The message has its last words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildSpec:
    """A process to keep alive.

    `ready` is asked until it is true; without it a process is ready once it runs. `lines` gets each
    line of its standard output, which then does not go to the log. `ends`: it has an end of its
    own, with status 0.
    """

    name: str
    argv: Sequence[str]
    env: Mapping[str, str]
    ready: Callable[[], bool] | None = None
    ready_timeout_s: float = 60.0
    grace_s: float = 10.0
    lines: Callable[[str], None] | None = None
    ends: bool = False
    wave: int = 0


@dataclass(slots=True, kw_only=True)
class _Child:
    spec: ChildSpec
    process: subprocess.Popen[str]
    deaths: deque[float] = field(default_factory=deque)
    restart_at: float | None = None
    done: bool = False


class Supervisor:
    """Keeps children alive from a thread of its own until `stop`.

    Each child leads its own session, so that a terminal's Ctrl-C reaches this process only.
    `blocked`, while true, postpones restarts without counting them (a database that is away would
    kill every new process as well).
    """

    def __init__(
        self,
        *,
        logs: Path,
        record: ProcessFile,
        say: Say,
        blocked: Callable[[], bool] = lambda: False,
    ) -> None:
        self._logs = logs
        self._record = record
        self._say = say
        self._blocked = blocked
        self._children: dict[str, _Child] = {}
        self._lock = threading.RLock()
        self._stopping = threading.Event()
        self._failure: ProcessFailed | None = None
        self._thread: threading.Thread | None = None
        self.restarts = 0
        logs.mkdir(parents=True, exist_ok=True)

    def start(self, spec: ChildSpec) -> None:
        """Starts it; returns at once. Raises ProcessFailed if there is no such program."""
        with self._lock:
            self._children[spec.name] = _Child(spec=spec, process=self._spawn(spec))
        if self._thread is None:
            self._thread = threading.Thread(target=self._tend, name="supervisor", daemon=True)
            self._thread.start()

    def wait_ready(self, name: str) -> None:
        """Returns when it answers. Raises ProcessFailed after its time is up, or when it keeps
        dying.
        """
        spec = self._children[name].spec
        until = time.monotonic() + spec.ready_timeout_s
        while spec.ready is not None and not spec.ready():
            self.check()
            if time.monotonic() > until:
                raise self._failed(
                    name, f"{name} was started and does not answer after {spec.ready_timeout_s:g} s"
                )
            time.sleep(LOOK_EVERY_S)

    def done(self, name: str) -> bool:
        """A child with an end of its own has reached it."""
        return self._children[name].done

    def pid(self, name: str) -> int:
        return self._children[name].process.pid

    def check(self) -> None:
        """Raises what the supervising thread found: a child that cannot be kept alive."""
        if self._failure is not None:
            raise self._failure

    def log_path(self, name: str) -> Path:
        return self._logs / f"{name}.log"

    def stop(self, *, down_to: int = 0, hurry: Callable[[], bool] = lambda: False) -> None:
        """Stops the children of waves >= `down_to`, higher ones first, those of one wave together.

        Nothing is started again from now on. SIGTERM to each and all that it started, then SIGKILL
        when its grace is over or when `hurry` says so.
        """
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()
        waves = {child.spec.wave for child in self._children.values()}
        for wave in sorted((wave for wave in waves if wave >= down_to), reverse=True):
            children = [child for child in self._children.values() if child.spec.wave == wave]
            for child in children:
                _signal_group(child.process, signal.SIGTERM)
            began = time.monotonic()
            for child in children:
                until = began + child.spec.grace_s
                while child.process.poll() is None and time.monotonic() < until and not hurry():
                    time.sleep(0.05)
                _signal_group(child.process, signal.SIGKILL)
                child.process.wait()
                self._record.remove(child.spec.name)
                del self._children[child.spec.name]

    def _spawn(self, spec: ChildSpec) -> subprocess.Popen[str]:
        with self.log_path(spec.name).open("a", encoding="utf-8") as log:
            try:
                process = subprocess.Popen(
                    list(spec.argv),
                    env=dict(spec.env),
                    stdin=subprocess.DEVNULL,
                    stdout=log if spec.lines is None else subprocess.PIPE,
                    stderr=log,
                    start_new_session=True,
                    text=True,
                    encoding="utf-8",
                    errors="replace",
                )
            except OSError as error:
                raise ProcessFailed(
                    f"{spec.name} cannot be started: {error}",
                    hint=f"{spec.argv[0]} must exist and be executable; install the package again.",
                ) from error
        self._record.add(spec.name, process.pid)
        if spec.lines is not None:
            threading.Thread(target=_read_lines, args=(process, spec.lines), daemon=True).start()
        return process

    def _tend(self) -> None:
        while not self._stopping.wait(LOOK_EVERY_S):
            with self._lock:
                children = list(self._children.values())
            try:
                for child in children:
                    self._look_after(child)
            except ProcessFailed as error:
                self._failure = error
                return

    def _look_after(self, child: _Child) -> None:
        status = child.process.poll()
        if status is None or child.done:
            return
        name = child.spec.name
        if child.restart_at is None:
            if child.spec.ends and status == 0:
                child.done = True
                self._record.remove(name)
                return
            child.restart_at = self._note_death(child, status)
        if time.monotonic() >= child.restart_at and not self._blocked():
            child.restart_at = None
            child.process = self._spawn(child.spec)
            self.restarts += 1

    def _note_death(self, child: _Child, status: int) -> float:
        """When to start it again. Raises ProcessFailed after too many deaths in a short time."""
        now = time.monotonic()
        if not self._blocked():
            child.deaths.append(now)
        while child.deaths and child.deaths[0] < now - RESTART_WINDOW_S:
            child.deaths.popleft()
        how = f"was killed by signal {-status}" if status < 0 else f"ended with status {status}"
        if len(child.deaths) > MAX_RESTARTS:
            raise self._failed(
                child.spec.name,
                f"{child.spec.name} {how}, {len(child.deaths)} times in a short while",
            )
        self._say(f"{child.spec.name} {how}; starting it again")
        return now + min(0.5 * float(2 ** max(len(child.deaths) - 1, 0)), MAX_PAUSE_S)

    def _failed(self, name: str, message: str) -> ProcessFailed:
        path = self.log_path(name)
        return ProcessFailed(
            f"{message}. Its last words:\n{last_lines(path)}",
            hint=f"read {path}; what was accepted is kept, the next start goes on from there.",
        )


def last_lines(path: Path, count: int = TAIL_LINES) -> str:
    """The end of a log, indented; a dash where there is none."""
    try:
        text = _COLOURS.sub("", path.read_text(encoding="utf-8", errors="replace"))
        lines = text.splitlines()[-count:]
    except OSError:
        lines = []
    return "\n".join(f"  | {line}" for line in lines or ["(nothing)"])


def _read_lines(process: subprocess.Popen[str], lines: Callable[[str], None]) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        lines(line.rstrip("\n"))
    process.stdout.close()


def _signal_group(process: subprocess.Popen[str], number: signal.Signals) -> None:
    """To the child and all that it started; they share the session that the child leads."""
    try:
        os.killpg(process.pid, number)
    except ProcessLookupError:
        return
