"""Events out of what a system lists: one odd entry is kept aside and stops no other."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from inventory_pipeline.connectors.http import UNEXPECTED
from inventory_pipeline.core.ports import RawEvent


def events_of_each(
    found: Sequence[Any],
    read: Callable[[Any], Iterable[dict[str, Any]]],
    *,
    source: str,
    named: str,
    sure: Callable[[Any], bool] = lambda _: False,
) -> list[RawEvent]:
    """The events that `read` makes of each entry; one that it cannot read goes to quarantine under
    its field `named`.

    Where none can be read the shape is another one: the error of the last is raised. A single one
    that is `sure` to be what was asked for is only odd, so that it does not hold up a quiet system.
    """
    events: list[RawEvent] = []
    odd = 0
    for entry in found:
        try:
            bodies = list(read(entry))
        except UNEXPECTED as error:
            odd += 1
            if odd == len(found) and not (odd == 1 and sure(entry)):
                raise
            events.append(unreadable_event(entry, error, source=source, named=named))
        else:
            events += [
                RawEvent(body=body, source=source, position=body["event_id"]) for body in bodies
            ]
    return events


def unreadable_event(entry: Any, error: Exception, *, source: str, named: str) -> RawEvent:
    """An entry that is no event, for quarantine: as it came, and why."""
    return RawEvent(
        body=None,
        source=source,
        position=str(entry.get(named) or "") if isinstance(entry, Mapping) else "",
        text=json.dumps(entry, default=str),
        error=f"it is not as expected: {type(error).__name__} {error}",
    )
