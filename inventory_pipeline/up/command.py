"""`inventory-pipeline up`: the whole hub on one machine, from nothing to numbers that agree."""

import os
import signal
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from types import FrameType
from typing import TYPE_CHECKING, Any, TypeVar

from inventory_pipeline.core.errors import ChannelError, PostgresUnavailable, SourceError
from inventory_pipeline.memory.versions import StaleMapping
from inventory_pipeline.up.dagster import (
    STARTS_WORK,
    LocationWatch,
    dagster_processes,
    prepare_dagster_home,
    reload_definitions,
)
from inventory_pipeline.up.database import Database
from inventory_pipeline.up.demo import remembered
from inventory_pipeline.up.folders import Folders
from inventory_pipeline.up.ownership import MARKER, ProcessFile, end_leftovers, only_one
from inventory_pipeline.up.ports import HOST, free_ports, require_free
from inventory_pipeline.up.processes import ChildSpec, Supervisor
from inventory_pipeline.up.renewal import HubWatch
from inventory_pipeline.up.runs import end_runs
from inventory_pipeline.up.terminal import Terminal

if TYPE_CHECKING:
    from inventory_pipeline.flow.context import HubContext
    from inventory_pipeline.simulate.demo import Demo

# A comparison whose variances were healed is made once more, and then once more.
MAX_COMPARISONS = 3
BETWEEN_COMPARISONS_S = 3.0
MAX_PATIENCE = 5

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """What the command line asks for. `once`: end by itself after one reconciliation."""

    folders: Folders
    port: int
    dagster_port: int
    once: bool = False
    postgres_url: str = ""


def up(wishes: Wishes, terminal: Terminal | None = None) -> int:
    """Runs the hub until Ctrl-C, or with `once` until it is done. Returns the exit code.

    0: served and stopped, or with `once` every channel shows what it must; 1: with `once`, one does
    not; 130: interrupted before the work was done. Raises HubError with one clear message for what
    cannot be started.
    """
    from inventory_pipeline.config.logs import configure_logs

    configure_logs(level="warning")  # its steps are told on the terminal
    terminal = terminal or Terminal()
    with only_one(wishes.folders.state):
        run = _Run(wishes, terminal)
        try:
            return run.run()
        except KeyboardInterrupt:
            terminal.say("stopping; the next start goes on from here")
            return 0 if run.serving else 130
        finally:
            run.stop()


class _Run:
    """One life of `up`: what it has started, so that it can be stopped whatever happens."""

    def __init__(self, wishes: Wishes, terminal: Terminal) -> None:
        self.wishes = wishes
        self.terminal = terminal
        self.folders = wishes.folders
        self.state = remembered(self.folders)
        self.record = ProcessFile(self.folders.state / "processes.json")
        self.database = Database(
            self.folders.postgres, given_url=wishes.postgres_url, say=terminal.say
        )
        self.supervisor = Supervisor(
            logs=self.folders.logs,
            record=self.record,
            say=terminal.say,
            blocked=self.database.is_down,
        )
        self.location = LocationWatch(wishes.dagster_port, say=terminal.say)
        self.opened = ExitStack()
        self.watch: HubWatch | None = None
        self.serving = False
        self.uncompared: set[str] = set()
        self.interrupts = 0
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._interrupt)

    def run(self) -> int:
        end_leftovers(self.folders.state, self.record.recorded(), self.terminal.say)
        self._require_ports()
        demo, env = self._prepare()
        with self.terminal.step("Postgres"):
            self.database.start()
            env |= {"HUB_POSTGRES_URL": self.database.url}
        os.environ.update(env)
        with self.terminal.step("hub and memory"):
            ctx = self._open()
        self._rebuild_if_outdated(ctx)
        self._start_processes(demo, env)
        if demo is not None and not self.state.get("replayed"):
            self._replay(demo, env)
        well = True
        if demo is not None or self.wishes.once:
            well = self._finish()
        self._addresses()
        if self.wishes.once:
            return 0 if well else 1
        self._serve()
        return 0

    def stop(self) -> None:
        """Everything that was started, the last one first; a second Ctrl-C shortens every grace."""
        before = self.interrupts
        self.opened.close()
        if not self.database.url:
            return  # nothing was started

        def hurry() -> bool:
            return self.interrupts > before

        with self.terminal.step("stopped"):
            self.supervisor.stop(down_to=STARTS_WORK, hurry=hurry)
            end_runs(self.folders.state, self.database.url, hurry=hurry)
            self.supervisor.stop(hurry=hurry)
            end_leftovers(self.folders.state, [])
            self.database.stop()

    def _interrupt(self, number: int, _frame: FrameType | None) -> None:
        self.interrupts += 1
        if number == signal.SIGHUP:
            self.terminal.mute()  # nobody is there any more, and stopping must not fail for that
        if self.interrupts == 1:
            raise KeyboardInterrupt

    def _require_ports(self) -> None:
        require_free(
            self.wishes.port, wanted_by="the receiver and the pages", flag="--port",
            variable="HUB_PORT",
        )  # fmt: skip
        require_free(
            self.wishes.dagster_port, wanted_by="Dagster's webserver", flag="--dagster-port",
            variable="HUB_DAGSTER_PORT",
        )  # fmt: skip

    def _prepare(self) -> tuple["Demo | None", dict[str, str]]:
        env = _environment(self.wishes)
        if not self.folders.is_demo:
            return None, env
        from inventory_pipeline.simulate.demo import load_demo

        demo = load_demo(self.folders.named)
        assert demo is not None, "is_demo says that there is a demo.yaml"
        with self.terminal.step("demo hub from real data"):
            self.folders.demo.mkdir(parents=True, exist_ok=True)
            demo.prepare(self.folders.hub)
        ports = free_ports(demo.port_names, before=self.state.get("ports", {}))
        self.state.set("ports", ports)
        return demo, env | demo.env(ports)

    def _open(self) -> "HubContext":
        from inventory_pipeline.flow.context import open_context

        ctx = open_context(self.folders.hub, self.folders.state, self.database.url)
        self.opened.callback(ctx.close)
        self.watch = HubWatch(
            ctx,
            say=self.terminal.say,
            reload=lambda: reload_definitions(self.wishes.dagster_port),
        )
        self.opened.callback(self.watch.close)
        return ctx

    def _rebuild_if_outdated(self, ctx: "HubContext") -> None:
        """Numbers of another version of the calculation are made again before they are read."""
        from inventory_pipeline.compute.engine import DerivedOutdated
        from inventory_pipeline.flow.derived import derived
        from inventory_pipeline.flow.rebuild import rebuild

        try:
            with derived(ctx):
                return
        except DerivedOutdated:
            with self.terminal.step("numbers made again by this version's calculation"):
                rebuild(ctx)

    def _start_processes(self, demo: "Demo | None", env: Mapping[str, str]) -> None:
        child_env = _child_environment(self.folders, env)
        home = self.folders.dagster
        socket = prepare_dagster_home(home)
        specs = [*self._shops(demo, child_env), self._receiver(child_env)]
        specs += dagster_processes(
            home, socket, port=self.wishes.dagster_port,
            env=child_env | {"DAGSTER_HOME": str(home)},
        )  # fmt: skip
        for spec in specs:
            # The webserver and the daemon ask the code server; the others start beside each other.
            if spec.name == "dagster-webserver":
                with self.terminal.step("Dagster's definitions"):
                    self.supervisor.wait_ready("dagster-code")
            self.supervisor.start(spec)
        for spec in specs:
            if spec.ready is not None and spec.name != "dagster-code":
                with self.terminal.step(spec.name):
                    self.supervisor.wait_ready(spec.name)

    def _shops(self, demo: "Demo | None", env: Mapping[str, str]) -> list[ChildSpec]:
        if demo is None:
            return []
        return [
            ChildSpec(
                name=process.name, argv=process.argv, env=env, ready=_answers(process.ready_url)
            )
            for process in demo.processes(
                self.state.get("ports", {}),
                self._demo_folders(),
                f"http://{HOST}:{self.wishes.port}",
            )
        ]

    def _receiver(self, env: Mapping[str, str]) -> ChildSpec:
        return ChildSpec(
            name="receiver",
            argv=[
                sys.executable, "-m", "inventory_pipeline", "serve", str(self.folders.hub),
                "--state", str(self.folders.state), "--port", str(self.wishes.port), "--no-demo",
            ],
            env=env,
            ready=_answers(f"http://{HOST}:{self.wishes.port}/v1/health"),
        )  # fmt: skip

    def _demo_folders(self) -> Any:
        from inventory_pipeline.simulate.demo import DemoFolders

        return DemoFolders(hub=self.folders.hub, state=self.folders.demo)

    def _replay(self, demo: "Demo", env: Mapping[str, str]) -> None:
        from inventory_pipeline.up.replay import run_replay

        argv = demo.replay(self.state.get("ports", {}), self._demo_folders())
        summary = run_replay(
            self.supervisor, self.terminal, argv, env=_child_environment(self.folders, env),
            check=self._look_around,
        )  # fmt: skip
        self.state.set("replayed", summary or True)

    def _now(self) -> "HubContext":
        """The hub as it counts now."""
        assert self.watch is not None, "the hub is open"
        return self.watch.ctx

    def _finish(self) -> bool:
        """Quiet, then compared; prints the table. True if every channel shows what it must."""
        from inventory_pipeline.up.summary import summarize

        self._wait_until_quiet()
        for _ in range(MAX_COMPARISONS):
            if self._patiently(self._compare) == 0 and not self.uncompared:
                break
            time.sleep(BETWEEN_COMPARISONS_S)
            self._wait_until_quiet()
        summary = self._patiently(lambda: summarize(self._now()))
        self.terminal.table(f"{self._now().hub.name}: what was done so far", summary.lines())
        return summary.all_well and not self.uncompared

    def _wait_until_quiet(self) -> None:
        from inventory_pipeline.up import quiet

        with self.terminal.bar("everything read, computed and pushed") as bar:
            for trouble in self._patiently(lambda: quiet.read_to_the_end(self._now())):
                self.terminal.say(trouble)
            quiet.wait_until_quiet(
                self._now(),
                show=lambda work: bar.show(f"under way: {work}", 0, None),
                check=self._look_around,
            )

    def _compare(self) -> int:
        """One full reconciliation of every channel; how many variances were told to heal."""
        from inventory_pipeline.flow.reconcile import heal, reconcile_channel

        ctx = self._now()
        for channel in ctx.hub.channels:
            with self.terminal.step(f"comparing all that {channel} shows"):
                try:
                    report = reconcile_channel(ctx, channel, full=True)
                except (SourceError, ChannelError) as error:
                    self.terminal.say(str(error))
                    self.uncompared.add(channel)
                    continue
            self.uncompared.discard(channel)
            if report.skipped:
                self.terminal.say(report.skipped)
        return sum(heal(ctx).values())

    def _patiently(self, work: Callable[[], Result]) -> Result:
        """Does it again when Postgres is back; every such piece of work can be repeated."""
        for _ in range(MAX_PATIENCE):
            try:
                return work()
            except StaleMapping:
                self._look_around()
            except PostgresUnavailable:
                while self.database.is_down():
                    self._look_around()
                    time.sleep(1.0)
        return work()

    def _addresses(self) -> None:
        self.terminal.addresses(
            {
                "pages": f"http://{HOST}:{self.wishes.port}/",
                "API": f"http://{HOST}:{self.wishes.port}/docs",
                "Dagster": f"http://{HOST}:{self.wishes.dagster_port}/",
                "logs": str(self.folders.logs),
            }
        )

    def _serve(self) -> None:
        self.serving = True
        self.terminal.say("serving; Ctrl-C stops everything and loses nothing")
        while True:
            self._look_around()
            time.sleep(1.0)

    def _look_around(self) -> None:
        """Whatever waits calls this again and again: it says what goes away and what is back."""
        self.supervisor.check()
        if not self.database.is_down():
            self.location.look()
            if self.watch is not None:
                self.watch.look()


def _environment(wishes: Wishes) -> dict[str, str]:
    return {
        "HUB_FOLDER": str(wishes.folders.hub),
        "HUB_STATE": str(wishes.folders.state),
        "HUB_PORT": str(wishes.port),
        "HUB_DAGSTER_PORT": str(wishes.dagster_port),
        "HUB_DAGSTER_URL": f"http://{HOST}:{wishes.dagster_port}",
        "HUB_URL": f"http://{HOST}:{wishes.port}",
    }


def _child_environment(folders: Folders, env: Mapping[str, str]) -> dict[str, str]:
    return {**os.environ, **env, MARKER: str(folders.state), "PYTHONUNBUFFERED": "1"}


def _answers(url: str) -> Any:
    def ready() -> bool:
        import httpx

        try:
            return httpx.get(url, timeout=5.0).status_code == 200
        except httpx.HTTPError:
            return False

    return ready
