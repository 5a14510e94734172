"""The demo's traffic: a process that tells how far it is, one JSON object a line."""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from inventory_pipeline.up.processes import ChildSpec, Supervisor
from inventory_pipeline.up.terminal import Terminal

NAME = "replay"
LOOK_EVERY_S = 0.2


class ReplayProgress:
    """The newest of what the process said, readable from another thread."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self.step = "starting the replay"
        self.done = 0
        self.total: int | None = None
        self.summary: dict[str, Any] = {}

    def line(self, text: str) -> None:
        """One line of its standard output; what is not progress goes to its log."""
        try:
            said = json.loads(text)
            step, done, total = str(said["step"]), int(said["done"]), said["total"]
        except (ValueError, KeyError, TypeError):
            with self._log.open("a", encoding="utf-8") as log:
                log.write(text + "\n")
            return
        self.step, self.done, self.total = step, done, None if total is None else int(total)
        if isinstance(said.get("summary"), dict):
            self.summary = said["summary"]


def run_replay(
    supervisor: Supervisor,
    terminal: Terminal,
    argv: Sequence[str],
    *,
    env: Mapping[str, str],
    check: Callable[[], None],
) -> dict[str, Any]:
    """Returns the replay's own summary when it has ended. A killed replay is started again and goes
    on.
    """
    progress = ReplayProgress(supervisor.log_path(NAME))
    spec = ChildSpec(name=NAME, argv=argv, env=env, lines=progress.line, ends=True, wave=2)
    with terminal.bar("replaying real baskets") as bar:
        supervisor.start(spec)
        while not supervisor.done(NAME):
            check()
            bar.show(progress.step, progress.done, progress.total)
            time.sleep(LOOK_EVERY_S)
        bar.show(progress.step, progress.done, progress.total)
    return progress.summary
