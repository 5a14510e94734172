"""Duplicates change nothing: through the real checks and the real ledger."""

import itertools
from decimal import Decimal

import psycopg
import pytest
from hypothesis import strategies as st

from inventory_pipeline.contracts.events import check_events
from inventory_pipeline.core.ports import RawEvent
from inventory_pipeline.memory import ledger
from inventory_pipeline_tests.compute.hubs import DAY
from inventory_pipeline_tests.properties import generated, trials
from inventory_pipeline_tests.properties.test_laws_of_runs import changed
from inventory_pipeline_tests.properties.worlds import worlds

pytestmark = pytest.mark.timeout(900)
TEXTS = (
    *("event_id", "type", "item", "location", "to_location", "reference", "order_id", "line_id"),
    *("reservation_id", "channel", "disposition"),
)
TIMES = ("occurred_at", "expires_at", "expected_at")


@trials.portions(share=50)
def test_duplicates_change_nothing(bench, pg_url, portion, record_property):
    copies = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60)), min_size=1, max_size=8)
    cuts = st.lists(st.integers(0, 60), max_size=3).map(sorted)

    @trials.tried(portion, record_property, world=worlds(), copies=copies, cuts=cuts)
    def agrees(world, copies, cuts):
        events, snapshots = generated.split(world.history.numbered())
        said = [sent for row in events if checked(world.hub, sent := (row["system"], body(row)))[0]]
        again, added = with_copies(said, copies)
        once, first = landed(pg_url, world.hub, said, [])
        twice, second = landed(pg_url, world.hub, again, cuts)
        assert second.accepted == first.accepted == len(said)
        assert (second.duplicates, second.conflicting) == added
        numbers = [bench.full(world.hub, [*table, *snapshots], world.at) for table in (once, twice)]
        assert changed(*numbers) == []


def body(row):
    """The event as its system would have sent it."""
    sent = {name: row[name] for name in TEXTS if row[name] is not None}
    sent |= {name: row[name].isoformat() for name in TIMES if row[name] is not None}
    if row["quantity_milli"] is not None:
        sent["quantity"] = str(Decimal(row["quantity_milli"]) / 1000)
    return {"reason": "found", **sent}


def checked(hub, sent):
    """(event, None), or (None, why it is bad): a crowd also says what no system may."""
    raw = RawEvent(body=sent[1], source="test", position="")
    events, bad = check_events(hub, sent[0], [raw], DAY)
    return (events[0], None) if events else (None, bad[0])


def with_copies(said, copies):
    """Some said again later, every third with other content; (all, (duplicates, conflicts))."""
    everything, same, other = list(said), 0, 0
    for number, (which, later) in enumerate(copies if said else ()):
        system, sent = said[which % len(said)]
        again = dict(sent)
        if number % 3 == 2:
            again["occurred_at"] = DAY.replace(year=2025).isoformat()
            other += 1
        else:
            # The same number, written otherwise.
            if "quantity" in sent:
                again["quantity"] = str(Decimal(sent["quantity"]).quantize(Decimal("0.0001")))
            same += 1
        after = max(n for n, (_, e) in enumerate(everything) if e["event_id"] == sent["event_id"])
        everything.insert(min(after + 1 + later, len(everything)), (system, again))
    return everything, (same, other)


def landed(url, hub, said, cuts):
    """What the ledger holds after these batches, and what it counted."""
    bounds = [0, *(min(cut, len(said)) for cut in cuts), len(said)]
    total = ledger.IngestCount()
    # Not the pool: its threads draw random numbers, which hypothesis would take for its own.
    with psycopg.connect(url) as connection:
        connection.execute("SET timezone TO 'UTC'")
        connection.execute("TRUNCATE hub.ledger, hub.intake CASCADE")
        connection.execute("UPDATE hub.counter SET ledger_offset = 0")
        for start, end in itertools.pairwise(bounds):
            events = [checked(hub, sent)[0] for sent in said[start:end]]
            total += ledger.append_events(
                connection, events, [], received_at=DAY, mapping_version=1
            )
            connection.commit()
        rows = ledger.read_events(connection, 0, ledger.head(connection)).to_pylist()
    return rows, total
