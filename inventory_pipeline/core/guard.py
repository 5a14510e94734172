"""When too much of a channel would change at once (SEMANTICS §8): pure decisions.

Quantities in thousandths of the channel's unit.
"""

from collections import deque
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

Place = tuple[str, str]  # bucket, external id


def is_alarming(from_milli: int, to_milli: int, *, percent: Decimal) -> bool:
    """Whether a listing would go to zero, or move by more than `percent` of what it shows.

    Nothing can be lost where nothing is shown: a listing that comes up from zero is not alarming,
    so that a shop's first fill and the return of sold out goods pass.
    """
    if from_milli <= 0:
        return False
    return to_milli <= 0 or abs(to_milli - from_milli) * 100 > percent * from_milli


def fewest_that_trip(listings: int, *, share: Decimal, min_listings: int) -> int:
    """How many alarming listings out of `listings` are too many: more than `share` percent of
    them, and at least `min_listings`.
    """
    return max(min_listings, int(share * listings // 100) + 1)


class Window:
    """What was sent within the guard's window, as one move a listing: from what it showed before
    the first of its writes to what the last one set.

    A listing that went down in small steps is as alarming as one that went down at once, and one
    that went down and came back is not.
    """

    def __init__(self, *, percent: Decimal) -> None:
        self._percent = percent
        self._moves: dict[Place, deque[tuple[datetime, int, int]]] = {}
        self._order: deque[tuple[datetime, Place]] = deque()
        self.alarming: set[Place] = set()

    def note(self, place: Place, at: datetime, from_milli: int, to_milli: int) -> None:
        """A write left; moments come in their order."""
        self._moves.setdefault(place, deque()).append((at, from_milli, to_milli))
        self._order.append((at, place))
        self._judge(place)

    def begin_at(self, place: Place, at: datetime, milli: int) -> None:
        """A person let this number pass: what came before it does not count any more."""
        self._moves.pop(place, None)
        self.note(place, at, milli, milli)

    def forget(self, before: datetime) -> None:
        """Writes before this moment have left the window."""
        while self._order and self._order[0][0] < before:
            _, place = self._order.popleft()
            moves = self._moves.get(place)
            while moves and moves[0][0] < before:
                moves.popleft()
            if moves is not None and not moves:
                del self._moves[place]
            self._judge(place)

    def start(self, place: Place, showing_milli: int) -> int:
        """What the listing showed when the window began; `showing_milli` if nothing was sent."""
        moves = self._moves.get(place)
        return moves[0][1] if moves else showing_milli

    def _judge(self, place: Place) -> None:
        moves = self._moves.get(place)
        if moves and is_alarming(moves[0][1], moves[-1][2], percent=self._percent):
            self.alarming.add(place)
        else:
            self.alarming.discard(place)


@dataclass(slots=True, kw_only=True)
class Tally:
    """What a sending process remembers of a channel, so that it need not count it each time.

    `waiting`: alarming listings that waited when all were counted last, `newest` the newest
    computation among them; `fewest`: how many trip the guard. None: not counted yet.
    """

    window: Window
    waiting: int = 0
    newest: datetime | None = None
    fewest: int | None = None

    def room(self, alarming: int) -> int:
        """How many more alarming listings there may be before all have to be counted."""
        return 0 if self.fewest is None else max(0, self.fewest - self.waiting - alarming)
