"""Our own reading again is no duplicate; what a system really sent twice is one."""

from inventory_pipeline.core.ports import RawEvent
from inventory_pipeline.flow import repeats as repeats_module
from inventory_pipeline.flow.repeats import Repeats


def event(position: str = "e1", source: str = "poll orders", **body: object) -> RawEvent:
    return RawEvent(body={"event_id": "e1", **body}, source=source, position=position)


def test_the_same_reading_again_is_left_out():
    repeats = Repeats()
    assert repeats.new_among("shop", [event()]) == [event()]
    repeats.remember("shop", [event()])
    assert repeats.new_among("shop", [event()]) == []


def test_other_content_another_line_another_way_or_another_system_is_new():
    repeats = Repeats()
    repeats.remember("shop", [event(quantity=1)])
    others = [event(quantity=2), event(position="e2", quantity=1), event(source="x", quantity=1)]
    assert repeats.new_among("shop", others) == others
    assert repeats.new_among("market", [event(quantity=1)]) == [event(quantity=1)]


def test_what_was_not_committed_is_not_remembered():
    repeats = Repeats()
    repeats.new_among("shop", [event()])
    assert repeats.new_among("shop", [event()]) == [event()]


def test_the_memory_is_bounded_and_forgets_the_oldest(monkeypatch):
    monkeypatch.setattr(repeats_module, "MOST_REMEMBERED", 2)
    repeats = Repeats()
    for number in range(3):
        repeats.remember("shop", [event(position=str(number))])
    assert [e.position for e in repeats.new_among("shop", [event(str(n)) for n in range(3)])] == [
        "0"
    ]
