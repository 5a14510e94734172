"""One `up` for a state folder, and an end to what an earlier one left behind."""

import fcntl
import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from inventory_pipeline.core.errors import HubError

# Every process that `up` starts carries the state folder's name here, and so do the processes that
# these start.
MARKER = "HUB_SUPERVISED_STATE"
GRACE_S = 8.0


class AlreadyRunning(HubError):
    """Another `up` works on this state folder."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """A process that cannot be mistaken for another one: ids are used again, with another time of
    creation.
    """

    name: str
    pid: int
    create_time: float


@contextmanager
def only_one(state: Path) -> Iterator[None]:
    """Holds the state folder for this process; the system gives it back even after kill -9."""
    state.mkdir(parents=True, exist_ok=True)
    with (state / "up.lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            lock.seek(0)
            raise AlreadyRunning(
                f"another `up` (process {lock.read().strip() or '?'}) works on {state}",
                hint="use or end that one; a second hub needs its own --state DIR and ports.",
            ) from error
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield


class ProcessFile:
    """The processes that run, on disk, so that the next start finds them after a kill -9 of this
    one.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._started: dict[str, Started] = {}

    def add(self, name: str, pid: int) -> None:
        try:
            created = psutil.Process(pid).create_time()
        except psutil.NoSuchProcess:
            return
        self._started[name] = Started(name=name, pid=pid, create_time=created)
        self._write()

    def remove(self, name: str) -> None:
        if self._started.pop(name, None):
            self._write()

    def recorded(self) -> list[Started]:
        """What an earlier process wrote; empty where there is nothing readable."""
        try:
            return [Started(**entry) for entry in json.loads(self._path.read_text())]
        except (OSError, ValueError, TypeError):
            return []

    def _write(self) -> None:
        beside = self._path.with_suffix(".new")
        beside.write_text(json.dumps([asdict(entry) for entry in self._started.values()], indent=1))
        beside.replace(self._path)


def end_leftovers(
    state: Path, recorded: Sequence[Started], say: Callable[[str], None] = lambda _: None
) -> int:
    """Ends processes of an earlier `up` on this folder; only those that are provably its own.
    Returns how many.

    Proof is the recorded id together with the time of creation, or this folder's name in the
    process's environment.
    """
    ours = {process.pid: process for process in supervised(state)}
    for entry in recorded:
        process = _alive(entry)
        if process is not None:
            ours[process.pid] = process
    if not ours:
        return 0
    names = ", ".join(entry.name for entry in recorded if entry.pid in ours)
    say(f"ending {len(ours)} processes that an earlier start left behind ({names or 'their own'})")
    for process in ours.values():
        _signal(process, kill=False)
    _, alive = psutil.wait_procs(list(ours.values()), timeout=GRACE_S)
    for process in alive:
        _signal(process, kill=True)
    psutil.wait_procs(alive, timeout=GRACE_S)
    return len(ours)


def supervised(state: Path) -> list[psutil.Process]:
    """Every process that a hub on this state folder has started, directly or not."""
    found = []
    me = os.getpid()
    for process in psutil.process_iter():
        try:
            if process.pid != me and process.environ().get(MARKER) == str(state):
                found.append(process)
        except (psutil.Error, OSError):
            continue  # somebody else's, or gone
    return found


def _alive(entry: Started) -> psutil.Process | None:
    try:
        process = psutil.Process(entry.pid)
        same = abs(process.create_time() - entry.create_time) < 0.01
    except psutil.Error:
        return None
    return process if same and process.status() != psutil.STATUS_ZOMBIE else None


def _signal(process: psutil.Process, *, kill: bool) -> None:
    try:
        if kill:
            process.kill()
        else:
            process.terminate()
    except psutil.Error:
        return  # gone in between: what was wanted
