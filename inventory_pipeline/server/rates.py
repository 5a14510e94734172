"""How much one sender may ask: token buckets in this process, one for each key."""

import threading
from collections import OrderedDict
from collections.abc import Callable
from time import monotonic

MAX_KEYS = 10_000


class Rate:
    """`burst` at once, `per_second` of them come back, counted for each key by itself.

    The keys that were used longest ago are forgotten above MAX_KEYS: they would be full again, or
    somebody tries very many.
    """

    def __init__(
        self, *, per_second: float, burst: float, clock: Callable[[], float] = monotonic
    ) -> None:
        self._per_second = per_second
        self._burst = burst
        self._clock = clock
        self._lock = threading.Lock()
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()  # left, at

    def take(self, key: str) -> float:
        """0 if there was one to take; else the seconds until there is."""
        with self._lock:
            left = self._left(key)
            if left >= 1:
                self._put(key, left - 1)
                return 0.0
            self._put(key, left)
            return (1 - left) / self._per_second

    def wait_s(self, key: str) -> float:
        """As `take`, and takes nothing."""
        with self._lock:
            return max(0.0, (1 - self._left(key)) / self._per_second)

    def _left(self, key: str) -> float:
        left, at = self._buckets.get(key, (self._burst, self._clock()))
        return min(self._burst, left + (self._clock() - at) * self._per_second)

    def _put(self, key: str, left: float) -> None:
        self._buckets[key] = (left, self._clock())
        self._buckets.move_to_end(key)
        if len(self._buckets) > MAX_KEYS:
            self._buckets.popitem(last=False)
