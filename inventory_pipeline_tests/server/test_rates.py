"""What is decided without asking anybody: roles, loopback, and how much one sender may ask."""

from inventory_pipeline.core.access import Role
from inventory_pipeline.server.rates import Rate
from inventory_pipeline.server.sessions import is_loopback


def test_each_role_includes_the_ones_before_it():
    assert [[a.includes(b) for b in Role] for a in Role] == [
        [True, False, False],
        [True, True, False],
        [True, True, True],
    ]


def test_loopback_is_loopback_and_nothing_else():
    assert all(map(is_loopback, ("localhost", "127.0.0.1", "127.1.2.3", "::1")))
    assert not any(map(is_loopback, ("0.0.0.0", "::", "10.0.0.1", "example.com", "")))


def test_a_rate_counts_each_key_by_itself_and_comes_back():
    now = [0.0]
    rate = Rate(per_second=2, burst=3, clock=lambda: now[0])
    assert [rate.take("a") for _ in range(4)] == [0, 0, 0, 0.5]
    assert rate.take("b") == 0
    now[0] = 0.5
    assert [rate.take("a"), rate.take("a")] == [0, 0.5]
    assert rate.wait_s("a") == 0.5
