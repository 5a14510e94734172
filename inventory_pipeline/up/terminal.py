"""What `up` says while it works: live progress on a terminal, plain lines elsewhere."""

import io
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

PLAIN_EVERY_S = 5.0


class Terminal:
    """One voice for all steps; safe to use from several threads."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(highlight=False)
        self._lock = threading.Lock()

    def mute(self) -> None:
        """Says nothing from now on: the terminal is gone."""
        self.console = Console(file=io.StringIO())

    def say(self, text: str) -> None:
        """One line that stays."""
        with self._lock:
            self.console.print(f"  {text}", markup=False, soft_wrap=True)

    @contextmanager
    def step(self, text: str) -> Iterator[None]:
        """A piece of work that takes a moment; says how long it took."""
        began = time.monotonic()
        if self.console.is_terminal:
            with self.console.status(text):
                yield
        else:
            yield
        took = time.monotonic() - began
        with self._lock:
            self.console.print(f"[green]✓[/] {text} [dim]{took:.1f} s[/]")

    @contextmanager
    def bar(self, text: str) -> Iterator["Bar"]:
        """A piece of work whose end is known while it runs."""
        bar = Bar(self, text)
        with bar:
            yield bar

    def table(self, title: str, rows: Sequence[tuple[str, str]]) -> None:
        """Two columns: what, and how much."""
        table = Table(title=title, title_justify="left", show_header=False, box=None, pad_edge=True)
        table.add_column(style="bold")
        table.add_column()
        for name, value in rows:
            table.add_row(name, value)
        with self._lock:
            self.console.print()
            self.console.print(table)

    def addresses(self, addresses: Mapping[str, str]) -> None:
        """Where to look, one address a line."""
        with self._lock:
            self.console.print()
            for name, address in addresses.items():
                self.console.print(f"  [bold]{name:<10}[/] [cyan]{address}[/]")
            self.console.print()


class Bar:
    """Progress of one piece of work; its steps follow each other on the same line."""

    def __init__(self, terminal: Terminal, text: str) -> None:
        self._terminal = terminal
        self._text = text
        self._began = time.monotonic()
        self._said = 0.0
        self._done = 0
        self._live: Progress | None = None
        if terminal.console.is_terminal:
            self._live = Progress(
                TextColumn("  {task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                console=terminal.console,
                transient=True,
            )
            self._task = self._live.add_task(text, total=None)

    def __enter__(self) -> "Bar":
        if self._live:
            self._live.start()
        return self

    def __exit__(self, failed: type[BaseException] | None, *_: object) -> None:
        if self._live:
            self._live.stop()
        if failed is None:
            took = time.monotonic() - self._began
            counted = f"{self._done:,} in " if self._done else ""
            self._terminal.console.print(f"[green]✓[/] {self._text} [dim]{counted}{took:.1f} s[/]")

    def show(self, step: str, done: int, total: int | None) -> None:
        """`done` of `total` pieces of `step`; a line now and then where there is no terminal."""
        self._done = done
        if self._live:
            self._live.update(self._task, description=step, completed=done, total=total)
        elif time.monotonic() - self._said > PLAIN_EVERY_S:
            self._said = time.monotonic()
            counted = f": {done:,}" + (f" of {total:,}" if total else "") if done else ""
            self._terminal.say(f"{step}{counted}")
