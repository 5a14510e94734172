"""The first cause that holds is the cause."""

from datetime import UTC, datetime, timedelta

import pytest

from inventory_pipeline.core.causes import ChannelFacts, channel_cause
from inventory_pipeline.core.vocabulary import Cause

NOW = datetime(2026, 3, 2, 8, tzinfo=UTC)


@pytest.mark.parametrize(
    ("facts", "cause"),
    [
        ({"under_way": True, "failure": "x"}, Cause.IN_FLIGHT),
        ({"own_events_near": True}, Cause.IN_FLIGHT),
        ({"failure": "HTTP 500"}, Cause.PUSH_FAILED),
        ({"expected_milli": None}, Cause.UNMAPPED),
        ({"shown_milli": None}, Cause.NOT_LISTED),
        ({"before_write_milli": 5000}, Cause.LOST_UPDATE),
        ({"changed_at": NOW, "write_answered_at": NOW - timedelta(1)}, Cause.EXTERNAL_EDIT),
        ({"changed_at": NOW - timedelta(1), "write_answered_at": NOW}, Cause.UNEXPLAINED),
        ({}, Cause.UNEXPLAINED),
    ],
)
def test_a_cause(facts, cause):
    known = {"shown_milli": 5000, "expected_milli": 8000}
    assert channel_cause(ChannelFacts(**{**known, **facts})) is cause


def test_equal_numbers_have_no_cause():
    with pytest.raises(ValueError, match="no variance"):
        channel_cause(ChannelFacts(shown_milli=1, expected_milli=1))
