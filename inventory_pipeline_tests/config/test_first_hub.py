"""The example that a new user copies is clean, and its sample files fit it."""

import csv
import json
from datetime import datetime
from pathlib import Path

import pytest

from inventory_pipeline.config.load import check_hub
from inventory_pipeline.config.policy import Hub
from inventory_pipeline.core.quantities import parse_decimal
from inventory_pipeline.core.vocabulary import EventType, Mode, State

FOLDER = Path(__file__).parents[2] / "examples" / "first-hub"


@pytest.fixture(scope="module")
def hub():
    found, findings = check_hub(FOLDER, {})
    assert findings == []
    return found


def test_it_is_small_and_sends_nothing(hub: Hub):
    assert len(hub.catalog.items) == 5
    assert {system.connector for system in hub.systems.values()} == {"files"}
    assert {channel.mode for channel in hub.channels.values()} == {Mode.SHADOW}


def test_its_sample_rows_name_known_items_and_locations(hub: Hub):
    places = 0
    for system in hub.systems.values():
        items = {i.external_id for i in hub.catalog.identifiers if i.system == system.id}
        items |= set(hub.catalog.items)
        locations = set(system.locations) | set(hub.locations)
        for row in _rows(system.options["snapshots"], system.options["events"]):
            assert row["item"] in items, row
            assert row["location"] in locations, row
            places += 1
    assert places == 18


def _rows(snapshots: str, events: str):
    for path in sorted(FOLDER.glob(snapshots)):
        with path.open(newline="") as file:
            for row in csv.DictReader(file):
                assert datetime.fromisoformat(row["as_of"]).tzinfo is not None
                assert set(row) - {"as_of", "location", "item"} <= set(State)
                yield row
    for path in sorted(FOLDER.glob(events)):
        for line in path.read_text().splitlines():
            event = json.loads(line, parse_float=str)
            EventType(event["type"])
            assert datetime.fromisoformat(event["occurred_at"]).tzinfo is not None
            assert parse_decimal(event["quantity"]) > 0
            # An order line without a location is unassigned.
            yield {"location": "dc", **event}
