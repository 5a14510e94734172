"""Channels without compare-and-swap, and those whose number is what lies on the shelf."""

from inventory_pipeline.core.ports import Basis
from inventory_pipeline.core.vocabulary import MovesAt


def test_a_number_that_was_sold_from_is_seen_before_it_is_raised(merchant):
    shop = merchant()
    shop.sold("A", 2)
    shop.count_stock(A=12)
    shop.push()
    assert shop.channel.on_hand["A"] == 7, "the raise waits for the order"
    shop.clock.pass_(seconds=3)
    shop.deliver()
    shop.clock.pass_(seconds=20)
    shop.push()
    shop.clock.pass_(seconds=20)
    shop.push()
    assert shop.channel.on_hand["A"] == 10


def test_a_write_is_verified_by_reading_it_again(merchant):
    shop = merchant()
    shop.count_stock(A=7)
    shop.push()
    assert shop.channel.reads == ["A", "A"], "before and after"
    assert shop.rows("SELECT look, base_kind FROM hub.outbox WHERE sku = 'A'") == [
        (False, "reading")
    ]


def test_a_verification_that_shows_something_else_is_sent_again(merchant):
    shop = merchant()
    write = shop.channel._set

    def lose(level_write):
        shop.channel._set = write

    shop.channel._set = lose
    shop.count_stock(A=7)
    shop.push()
    assert shop.channel.on_hand["A"] == 7
    assert len(shop.channel.writes) == 1


def test_zeros_leave_without_a_reading(merchant):
    shop = merchant()
    shop.count_stock(A=0)
    shop.push()
    assert shop.channel.reads == []
    assert shop.channel.on_hand["A"] == 0


def test_nobody_else_moves_the_number_so_nothing_is_read_beside_it(merchant):
    shop = merchant(moves_at=MovesAt.NONE)
    shop.count_stock(A=7, B=12)
    shop.push()
    assert shop.channel.reads == []
    assert len(shop.channel.writes) == 2


def test_what_the_platform_holds_reserved_is_added_to_its_on_hand(merchant):
    shop = merchant(basis=Basis.ON_HAND, compare_and_swap=True)
    shop.sold("A", 2)
    shop.deliver()
    shop.clock.pass_(seconds=10)
    shop.push()
    assert shop.channel.writes == [], "its own order lowered what it offers"
    shop.count_stock(A=8)
    shop.clock.pass_(seconds=10)
    shop.push()
    assert (shop.channel.on_hand["A"], shop.channel.held["A"]) == (8, 2)
    assert shop.channel.available("A") == 6


def test_an_order_shipped_there_needs_no_write(merchant):
    shop = merchant(basis=Basis.ON_HAND)
    shop.sold("A", 2)
    shop.deliver()
    shop.clock.pass_(seconds=10)
    shop.push()
    shop.channel.ship("A")
    shop.stock["A"] -= 2
    shop.counted["A"] -= 2  # shipped: neither on the shelf nor promised
    shop.count_stock(A=shop.stock["A"])
    shop.push()
    assert shop.channel.writes == []
    assert shop.channel.available("A") == 7
