"""Charts as SVG text: no script, colours from the page's own style, so light and dark both fit.

Values are drawn as they are given; what is missing leaves a gap. Every chart says in words what it
shows, for whoever does not see it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from html import escape
from math import ceil, log10

from inventory_pipeline.server import present

WIDTH, HEIGHT = 720, 200
LEFT, RIGHT, TOP, BOTTOM = 58, 10, 10, 22


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One curve; `kind` is the CSS class that gives it its colour."""

    name: str
    kind: str
    points: Sequence[tuple[datetime, float | None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One step of a waterfall: from `before` to `after`, both drawn over the same axis."""

    name: str
    note: str
    before_milli: int
    after_milli: int
    total: bool = False


def latency_chart(
    lines: Sequence[Line], *, since: datetime, until: datetime, label: str, step: timedelta
) -> str:
    """Seconds over time on a logarithmic axis: milliseconds and minutes fit in one picture."""
    values = [value for line in lines for _, value in line.points if value is not None]
    low = min([0.1, *values])
    high = max([1.0, *values])
    floor, ceiling = log10(low) - 0.05, log10(high) + 0.1

    def y(value: float) -> float:
        share = (log10(max(value, low)) - floor) / (ceiling - floor)
        return round(HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM), 1)

    marks = [m for m in (0.01, 0.1, 1.0, 10.0, 60.0, 600.0, 3600.0) if low * 0.9 <= m <= high * 1.2]
    parts = _frame(label, since, until)
    for mark in marks:
        parts += _mark(y(mark), present.latency(mark))
    parts += [_curve(line, y, since, until, step) for line in lines]
    return _closed(parts, lines)


def volume_chart(
    bars: Sequence[tuple[datetime, int, int]],
    *,
    since: datetime,
    until: datetime,
    label: str,
    step: timedelta,
    names: tuple[str, str] = ("acked", "not"),
) -> str:
    """Two counts stacked, per `step`: the good one below, the other one above it."""
    highest = max([1, *(good + bad for _, good, bad in bars)])
    height = 90
    room = height - TOP - BOTTOM
    parts = _frame(label, since, until, height=height)
    parts += _mark(TOP, present.count(highest))
    wide = max(1.0, (WIDTH - LEFT - RIGHT) * (step / (until - since)) - 1)
    for at, good, bad in bars:
        x = _x(at, since, until)
        tall, taller = room * good / highest, room * bad / highest
        bottom = height - BOTTOM
        parts.append(
            f"<g><title>{_time(at, step)}: {good:,} {names[0]}, {bad:,} {names[1]}</title>"
        )
        parts.append(
            f'<rect class="c-good" x="{x:.1f}" y="{bottom - tall:.1f}" width="{wide:.1f}"'
            f' height="{tall:.1f}"/>'
        )
        if bad:
            parts.append(
                f'<rect class="c-bad" x="{x:.1f}" y="{bottom - tall - taller:.1f}"'
                f' width="{wide:.1f}" height="{max(2.0, taller):.1f}"/>'
            )
        parts.append("</g>")
    return "".join([*parts, "</svg>"])


def spark(points: Sequence[tuple[datetime, float | None]], *, label: str) -> str:
    """A small curve without axes, for a card; "" where there is nothing to draw."""
    values = [value for _, value in points if value is not None]
    if len(values) < 2:
        return ""
    high, low = max(values), min(values)
    begin, end = points[0][0], points[-1][0]
    span = (end - begin).total_seconds() or 1.0
    room = (log10(high) - log10(low)) or 1.0
    drawn = [
        (
            160 * (at - begin).total_seconds() / span,
            28 - 24 * ((log10(value) - log10(low)) / room),
        )
        for at, value in points
        if value is not None
    ]
    path = " ".join(f"{'L' if n else 'M'}{x:.1f} {y:.1f}" for n, (x, y) in enumerate(drawn))
    return (
        f'<svg class="spark" viewBox="0 0 160 32" role="img" aria-label="{escape(label)}"'
        f' preserveAspectRatio="none"><path class="c-p95" d="{path}"/></svg>'
    )


def share_bar(part: int, whole: int, level: str) -> str:
    """A bar that is full where nothing is missing, and never looks full where something is."""
    share = 0.0 if whole == 0 else 100 * part / whole
    shown = share if part in (0, whole) else min(max(share, 1.0), 99.0)
    return (
        '<svg class="share" viewBox="0 0 100 4" preserveAspectRatio="none" aria-hidden="true">'
        '<rect class="c-rail" width="100" height="4"/>'
        f'<rect class="c-{escape(level)}" width="{shown:.1f}" height="4"/></svg>'
    )


def told(bar: Bar) -> str:
    """The number beside a bar: what is left at a total, the change elsewhere."""
    if bar.total:
        return present.quantity(bar.after_milli)
    return present.signed(bar.after_milli - bar.before_milli)


def waterfall(bars: Sequence[Bar], *, label: str) -> str:
    """Horizontal bars, one step a line, each beginning where the one before it ended."""
    row, text, right = 26, 210, 92
    width = WIDTH
    numbers = [0, *(b.before_milli for b in bars), *(b.after_milli for b in bars)]
    low, high = min(numbers), max(numbers)
    room = width - text - right

    def x(milli: int) -> float:
        return text + room * (milli - low) / ((high - low) or 1)

    height = row * len(bars) + 8
    parts = [
        _opened("chart waterfall", width, height, label),
        f'<line class="c-axis" x1="{x(0):.1f}" x2="{x(0):.1f}" y1="0" y2="{height}"/>',
    ]
    for number, bar in enumerate(bars):
        y = 4 + number * row
        begin, end = sorted((x(0 if bar.total else bar.before_milli), x(bar.after_milli)))
        change = bar.after_milli - bar.before_milli
        kind = "c-total" if bar.total else "c-good" if change > 0 else "c-bad"
        said = told(bar)
        parts.append(
            f"<g><title>{escape(f'{bar.name}: {said}. {bar.note}')}</title>"
            f'<text x="{text - 10}" y="{y + 16}" text-anchor="end">{escape(bar.name)}</text>'
            f'<rect class="{kind}" x="{begin:.1f}" y="{y + 2}" rx="2"'
            f' width="{max(1.5, end - begin):.1f}" height="{row - 8}"/>'
        )
        if number + 1 < len(bars):
            joint = x(bar.after_milli)
            parts.append(
                f'<line class="c-joint" x1="{joint:.1f}" x2="{joint:.1f}" y1="{y + row - 6}"'
                f' y2="{y + row + 2}"/>'
            )
        weight = ' class="strong"' if bar.total else ""
        place = f'x="{width - 4}" y="{y + 16}" text-anchor="end"'
        parts.append(f"<text{weight} {place}>{escape(said)}</text></g>")
    return "".join([*parts, "</svg>"])


def _frame(label: str, since: datetime, until: datetime, *, height: int = HEIGHT) -> list[str]:
    hours = (until - since).total_seconds() / 3600
    every = timedelta(hours=1 if hours <= 8 else 4 if hours <= 30 else 24)
    bottom = height - BOTTOM
    parts = [
        _opened("chart", WIDTH, height, label),
        f'<line class="c-axis" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{bottom}" y2="{bottom}"/>',
    ]
    at = since.replace(minute=0, second=0, microsecond=0)
    if every >= timedelta(hours=4):
        at = at.replace(hour=0)
    for number in range(1, ceil((until - at) / every) + 1):
        tick = at + number * every
        if not since < tick < until:
            continue
        x = _x(tick, since, until)
        said = f"{tick:%d %b}" if tick.hour == 0 else f"{tick:%H:%M}"
        parts.append(f'<line class="c-grid" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{bottom}"/>')
        parts.append(f'<text x="{x:.1f}" y="{height - 6}" text-anchor="middle">{said}</text>')
    return parts


def _time(at: datetime, step: timedelta) -> str:
    return f"{at:%d %b}" if step >= timedelta(days=1) else f"{at:%d %b %H:%M}"


def _opened(kind: str, width: int, height: int, label: str) -> str:
    return (
        f'<svg class="{kind}" viewBox="0 0 {width} {height}" role="img"'
        f' aria-label="{escape(label)}">'
    )


def _mark(y: float, said: str) -> list[str]:
    return [
        f'<line class="c-grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y}" y2="{y}"/>',
        f'<text x="{LEFT - 6}" y="{y + 4}" text-anchor="end">{said}</text>',
    ]


def _curve(
    line: Line, y: Callable[[float], float], since: datetime, until: datetime, step: timedelta
) -> str:
    parts, pen, dots = [], "M", []
    last: datetime | None = None
    for at, value in line.points:
        if value is None or (last is not None and at - last > 2 * step):
            pen = "M"
        if value is None:
            continue
        x = _x(at + step / 2, since, until)
        parts.append(f"{pen}{x:.1f} {y(value)}")
        dots.append(
            f'<circle class="c-{line.kind}" cx="{x:.1f}" cy="{y(value)}" r="2.5">'
            f"<title>{at:%H:%M} {escape(line.name)}: {present.latency(value)}</title></circle>"
        )
        pen, last = "L", at
    return f'<path class="c-{line.kind}" d="{" ".join(parts)}"/>{"".join(dots)}' if parts else ""


def _closed(parts: list[str], lines: Sequence[Line]) -> str:
    legend = "".join(
        f'<span class="key"><svg viewBox="0 0 16 4" aria-hidden="true">'
        f'<path class="c-{line.kind}" d="M0 2H16"/></svg> {escape(line.name)}</span>'
        for line in lines
    )
    return "".join([*parts, "</svg>"]) + f'<p class="legend">{legend}</p>'


def _x(at: datetime, since: datetime, until: datetime) -> float:
    share = (at - since) / (until - since)
    return LEFT + min(max(share, 0.0), 1.0) * (WIDTH - LEFT - RIGHT)
