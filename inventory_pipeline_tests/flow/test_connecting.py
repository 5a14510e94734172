"""Each connector is built with its system's limiter."""

from dataclasses import replace

import pytest

from inventory_pipeline.connectors.shopify_graphql import COST
from inventory_pipeline.core.errors import ChannelBusy
from inventory_pipeline.flow.connecting import build_connectors
from inventory_pipeline.memory.limits import SharedLimits
from inventory_pipeline_tests.fakes import small_hub


def hub():
    """Two shops; no server is asked."""
    small = small_hub()
    options = {"url": "http://127.0.0.1:9", "access_token": "token"}
    pattern = next(iter(small.systems.values()))
    systems = {
        name: replace(pattern, id=name, connector="shopify", options=options)
        for name in ("shop", "outlet")
    }
    return replace(small, systems=systems)


@pytest.fixture
def processes(pg_url):
    """The connectors of two processes of one hub."""
    limits = [SharedLimits(pg_url) for _ in range(2)]
    built = [build_connectors(hub(), one.of) for one in limits]
    yield built
    for connectors in built:
        for connector in connectors.values():
            connector.close()
    for one in limits:
        one.close()


def test_connectors_of_two_processes_share_a_systems_limits_and_systems_do_not(processes):
    here, there = processes
    limiter_of = {name: here[name]._caller.limiter for name in here}
    limiter_of["shop"].take(COST, 1000, patience_s=0)
    with pytest.raises(ChannelBusy):
        there["shop"]._caller.limiter.take(COST, 900, patience_s=1)
    there["outlet"]._caller.limiter.take(COST, 900, patience_s=0)


def test_without_a_database_every_process_counts_for_itself():
    one, other = build_connectors(hub()), build_connectors(hub())
    one["shop"]._caller.limiter.take(COST, 1000, patience_s=0)
    other["shop"]._caller.limiter.take(COST, 1000, patience_s=0)
    for connector in (*one.values(), *other.values()):
        connector.close()
