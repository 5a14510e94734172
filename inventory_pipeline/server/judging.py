"""What the checks say now; dear ones are judged in the background, and their word is kept."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from time import perf_counter

from inventory_pipeline.core.ports import Capabilities, Connector
from inventory_pipeline.core.verdicts import Level, Verdict
from inventory_pipeline.flow.checks import Check, Look, checks_of

# A check that takes less is judged at every look.
CHEAP_S = 0.01
# The word of one that takes longer counts for so many times what it took, and no longer than that.
KEPT_TIMES = 400.0
KEPT_S = 60.0
# Renewed in the background as soon as it would not hold until the next round.
ROUND_S = 16.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    check: Check
    verdict: Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kept:
    verdict: Verdict
    judged_at: float
    took_s: float

    def left_s(self, now: float) -> float:
        """How long its word still counts; a cheap one's does not."""
        if self.took_s < CHEAP_S:
            return 0.0
        return self.judged_at + min(KEPT_S, self.took_s * KEPT_TIMES) - now


class Judging:
    """All checks of a hub, for pages that many people ask for at once."""

    def __init__(self) -> None:
        self._kept: dict[tuple[object, ...], _Kept] = {}

    def verdicts(self, look: Look, connectors: Mapping[str, Connector]) -> list[Judged]:
        """What every check says, at most KEPT_S ago."""
        return [
            Judged(check=check, verdict=self._verdict(check, look, enough_s=0.0))
            for check in _checks(look, connectors)
        ]

    def renew(self, look: Look, connectors: Mapping[str, Connector]) -> None:
        """Judges the dear ones before a page has to."""
        for check in _checks(look, connectors):
            if self._key(check, look) not in self._kept or self._is_dear(check, look):
                self._verdict(check, look, enough_s=ROUND_S)

    def _is_dear(self, check: Check, look: Look) -> bool:
        return self._kept[self._key(check, look)].took_s >= CHEAP_S

    def _verdict(self, check: Check, look: Look, *, enough_s: float) -> Verdict:
        key = self._key(check, look)
        kept, begin = self._kept.get(key), perf_counter()
        if kept is not None and kept.left_s(begin) > enough_s:
            return kept.verdict
        verdict = _judged(check, look)
        now = perf_counter()
        self._kept[key] = _Kept(verdict=verdict, judged_at=now, took_s=now - begin)
        return verdict

    def _key(self, check: Check, look: Look) -> tuple[object, ...]:
        return (look.hub.policy_hash, check.asset, check.name)


def _checks(look: Look, connectors: Mapping[str, Connector]) -> Iterator[Check]:
    able = {
        name: connectors[name].capabilities if name in connectors else Capabilities()
        for name in look.hub.systems
    }
    yield from checks_of(look.hub, able)


def _judged(check: Check, look: Look) -> Verdict:
    try:
        return check.judge(look)
    except OSError as error:  # a landed file that is not there: the other checks still count
        return Verdict(level=Level.WARNING, description=f"cannot be judged: {error}")
