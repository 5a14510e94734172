"""First failure, escalation, recovery; nothing twice; quiet hours."""

from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inventory_pipeline.core.alerts import (
    CALM,
    PATIENCE,
    Alert,
    News,
    QuietHours,
    Trouble,
    decide,
    lines,
)
from inventory_pipeline.core.verdicts import Level

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
LOOK = timedelta(seconds=15)


def trouble(level=Level.WARNING, alert="web: breaker_closed", message="it fails"):
    return Trouble(
        alert=alert, subject=alert.partition(":")[0], level=level, message=message, href="/pushes"
    )


class Watched:
    """One look after the other, `LOOK` apart."""

    def __init__(self, quiet=None, at=NOON):
        self.known: dict[str, Alert] = {}
        self.now = at
        self.quiet = quiet

    def look(self, *troubles, after=LOOK):
        self.now += after
        found = decide(self.known, troubles, now=self.now, quiet=self.quiet)
        self.known = {alert.trouble.alert: alert for alert in found.kept}
        return [(news.value, alert.trouble.level.value) for news, alert in found.news]

    def until(self, span, *troubles):
        told = []
        for _ in range(span // LOOK):
            told += self.look(*troubles)
        return told


def test_a_failure_is_told_once_an_escalation_once_and_the_end_once():
    watched = Watched()
    assert watched.until(timedelta(hours=1), trouble()) == [("began", "warning")]
    assert watched.until(timedelta(hours=1), trouble(Level.ERROR)) == [("escalated", "error")]
    assert watched.until(timedelta(hours=1)) == [("ended", "error")]
    assert watched.known == {}


def test_what_is_over_at_once_is_told_to_nobody():
    watched = Watched()
    assert watched.until(PATIENCE, trouble()) == []
    assert watched.until(2 * CALM) == []
    assert watched.known == {}


def test_what_comes_and_goes_is_one_trouble():
    watched = Watched()
    told = []
    for _ in range(50):
        told += watched.until(timedelta(minutes=1), trouble(Level.ERROR))
        told += watched.until(timedelta(minutes=2))
    assert told == [("began", "error")]
    assert watched.until(2 * CALM) == [("ended", "error")]


def test_a_milder_and_again_worse_trouble_is_no_news():
    watched = Watched()
    watched.until(timedelta(minutes=2), trouble(Level.ERROR))
    assert watched.until(timedelta(minutes=2), trouble(Level.WARNING)) == []
    assert watched.until(timedelta(minutes=2), trouble(Level.ERROR)) == []


BERLIN = QuietHours(begin=time(22), until=time(7), zone=ZoneInfo("Europe/Berlin"))


def test_a_warning_waits_for_the_morning_and_an_error_does_not():
    watched = Watched(BERLIN, at=datetime(2026, 3, 2, 21, 30, tzinfo=UTC))  # 22:30 in Berlin
    assert watched.until(timedelta(hours=1), trouble()) == []
    errors = watched.until(timedelta(hours=1), trouble(), trouble(Level.ERROR, "web: guard"))
    assert errors == [("began", "error")]
    morning = watched.until(timedelta(hours=8), trouble(), trouble(Level.ERROR, "web: guard"))
    assert morning == [("began", "warning")]


def test_an_end_in_the_night_is_told_in_the_morning():
    watched = Watched(BERLIN, at=datetime(2026, 3, 2, 21, 30, tzinfo=UTC))
    assert watched.until(timedelta(minutes=5), trouble(Level.ERROR)) == [("began", "error")]
    assert watched.until(timedelta(hours=8)) == []
    assert watched.until(timedelta(hours=2)) == [("ended", "error")]


@pytest.mark.parametrize(
    ("begin", "until", "at", "held"),
    [(22, 7, 23, True), (22, 7, 6, True), (22, 7, 7, False), (22, 7, 12, False),
     (1, 5, 0, False), (1, 5, 1, True), (1, 5, 5, False)],
)  # fmt: skip
def test_quiet_hours_may_pass_midnight(begin, until, at, held):
    quiet = QuietHours(begin=time(begin), until=time(until), zone=UTC)
    assert quiet.hold(datetime(2026, 3, 2, at, tzinfo=UTC)) is held


def test_many_of_one_kind_are_one_line_and_others_stand_alone():
    names = [f"shop{n}: breaker_closed" for n in range(7)]
    news = [(News.BEGAN, alert(name)) for name in [*names, "wms: freshness"]]
    told = lines(news)
    assert [line.subject for line in told] == ["7 x breaker_closed", "wms"]
    assert "shop0, shop1" in told[0].message
    assert "it fails" in told[0].message


def test_the_worst_stands_first():
    news = [
        (News.ENDED, alert("a: x")), (News.BEGAN, alert("b: x")),
        (News.BEGAN, alert("c: y", Level.ERROR)), (News.ESCALATED, alert("d: z", Level.ERROR)),
    ]  # fmt: skip
    assert [line.subject for line in lines(news)] == ["d", "c", "b", "a"]


def alert(name, level=Level.WARNING):
    return Alert(trouble=trouble(level, name), since=NOON, last_seen=NOON)


LEVELS = st.sampled_from([None, Level.WARNING, Level.ERROR])


@given(st.lists(st.tuples(LEVELS, st.integers(1, 40)), max_size=30))
def test_news_of_one_trouble_never_repeats_itself(history):
    """Whatever happens: it begins before it ends, escalates once at most, and what is told last is
    true in the end."""
    watched, told = Watched(), []
    for level, looks in history:
        for _ in range(looks):
            told += watched.look(*([] if level is None else [trouble(level)]))
    told += watched.until(3 * CALM)
    assert watched.known == {}
    words = "".join({"began": "b", "escalated": "s", "ended": "e"}[word] for word, _ in told)
    pieces = words.split("e")
    assert pieces[-1] == ""
    assert set(pieces) <= {"b", "bs", ""}
    assert "" not in pieces[:-1]
