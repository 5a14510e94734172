"""Breaker, dead letter and revisions: what stops, what goes on, and what a person sees."""

from datetime import timedelta

from inventory_pipeline.core.errors import AccessRefused, ChannelRefused, OutcomeUnknown
from inventory_pipeline.memory import breakers, outbox


def breaker(shop):
    with shop.ctx.pg.connection() as connection:
        return breakers.breaker_of(connection, "web")


def dead(shop):
    with shop.ctx.pg.connection() as connection:
        return [row.external_id for row in outbox.dead_rows(connection, "web")]


def due(shop):
    with shop.ctx.pg.connection() as connection:
        return outbox.channels_due(connection, now=shop.clock())


class Broken:
    """write_levels of a channel that answers nothing, or refuses everything."""

    def __init__(self, shop, error):
        self.calls = 0
        self.error = error
        self.shop = shop
        self.alive = shop.channel.write_levels
        shop.channel.write_levels = self

    def __call__(self, writes, *, key):
        self.calls += 1
        raise self.error

    def mend(self):
        self.shop.channel.write_levels = self.alive


def unknown():
    return OutcomeUnknown("502", system="shop", call="write")


def test_timeouts_over_different_listings_open_the_breaker(merchant):
    shop = merchant(batch_size=1, compare_and_swap=True)
    broken = Broken(shop, unknown())
    shop.count_stock(A=5, B=4, C=3)
    for _ in range(8):
        shop.push()
        shop.clock.pass_(seconds=1.5)
    state = breaker(shop)
    assert state.is_open
    assert "502" in state.why
    assert broken.calls < 8
    assert dead(shop) == [], "the listings are not to blame"
    broken.mend()
    shop.clock.pass_(minutes=10)
    shop.push()
    assert shop.channel.on_hand == {"A": 5, "B": 4, "C": 3}


def test_while_it_is_open_nothing_is_due_and_nothing_is_asked(merchant):
    shop = merchant(batch_size=1, compare_and_swap=True)
    broken = Broken(shop, AccessRefused("401", system="shop", call="write"))
    shop.count_stock(A=5, B=4)
    assert "401" in shop.push().breaker
    assert due(shop) == frozenset()
    with shop.ctx.pg.connection() as connection:
        assert outbox.next_look(connection) == breaker(shop).next_probe_at
    calls = broken.calls
    shop.push()
    assert broken.calls == calls
    assert dead(shop) == []


def test_it_probes_after_a_growing_pause_and_closes_again(merchant):
    shop = merchant(batch_size=1, compare_and_swap=True)
    broken = Broken(shop, AccessRefused("401", system="shop", call="write"))
    shop.count_stock(A=5, B=4, C=3)
    shop.push()
    pauses = []
    for _ in range(4):
        pauses.append((breaker(shop).next_probe_at - shop.clock()).total_seconds())
        shop.clock.at = breaker(shop).next_probe_at
        shop.push()
    assert pauses == sorted(pauses)
    assert pauses[-1] > pauses[0]
    calls = broken.calls
    assert calls == 5, "one write for each probe that was answered"
    broken.mend()
    shop.clock.at = breaker(shop).next_probe_at
    report = shop.push()
    assert (report.acked, report.breaker) == (3, "")
    assert not breaker(shop).is_open
    assert shop.channel.on_hand == {"A": 5, "B": 4, "C": 3}


def test_a_channel_that_cannot_be_read_opens_it_as_well(merchant):
    shop = merchant(compare_and_swap=True)

    def refuse(_listings):
        raise AccessRefused("403", system="shop", call="read")

    shop.channel.read_levels, alive = refuse, shop.channel.read_levels
    shop.reconcile("A", "B", "C")
    shop.push()
    assert breaker(shop).is_open
    shop.channel.read_levels = alive
    shop.clock.pass_(seconds=30)
    shop.push()
    assert not breaker(shop).is_open


def test_a_refusal_of_everything_kills_no_listing(merchant):
    shop = merchant(batch_size=1, compare_and_swap=True)
    broken = Broken(shop, ChannelRefused("403", system="shop", call="write"))
    shop.count_stock(A=5, B=4, C=3)
    shop.push()
    assert breaker(shop).is_open
    assert dead(shop) == [], "revived: the channel refuses everything"
    broken.mend()
    shop.clock.pass_(minutes=10)
    shop.push()
    assert shop.channel.on_hand == {"A": 5, "B": 4, "C": 3}


def test_a_single_bad_item_does_not_open_it(merchant):
    shop = merchant(batch_size=3, compare_and_swap=True)
    write = shop.channel.write_levels

    def poisoned(writes, *, key):
        if any(w.listing.external_id == "B" for w in writes):
            raise unknown()
        return write(writes, key=key)

    shop.channel.write_levels = poisoned
    shop.count_stock(A=5, B=4, C=3)
    for turn in range(40):
        shop.push()
        shop.clock.pass_(minutes=2)
        shop.count_stock(A=turn % 5, C=turn % 4 + 1)  # others go on
    assert dead(shop) == ["B"], "it failed too often, while others were accepted"
    assert not breaker(shop).is_open
    assert shop.channel.on_hand["B"] == 9


def test_a_newer_number_revives_the_dead(merchant):
    shop = merchant(compare_and_swap=True, batch_size=1)
    shop.channel.faults = ["refused"]
    shop.count_stock(A=5)
    shop.push()
    assert dead(shop) == ["A"]
    shop.clock.pass_(days=1)
    shop.push()
    assert shop.channel.writes == []
    shop.count_stock(A=4)
    shop.push()
    assert shop.channel.on_hand["A"] == 4


def test_a_person_revives_or_drops_the_dead(merchant):
    shop = merchant(compare_and_swap=True, batch_size=1)
    shop.channel.faults = ["refused", "refused"]
    shop.count_stock(A=5, B=4)
    shop.push()
    assert sorted(dead(shop)) == ["A", "B"]
    with shop.ctx.pg.connection() as connection:
        assert outbox.revive(connection, [("web", "main", "A"), ("web", "main", "C")]) == 1
        assert outbox.drop_dead(connection, [("web", "main", "B")]) == 1
    shop.push()
    assert dead(shop) == []
    assert shop.channel.on_hand == {"A": 5, "B": 9, "C": 0}
    shop.count_stock(B=3)
    shop.push()
    assert shop.channel.on_hand["B"] == 3


def test_a_listing_that_fails_for_a_day_is_given_up(merchant):
    shop = merchant(compare_and_swap=True, batch_size=1)
    broken = Broken(shop, unknown())
    shop.count_stock(A=5)
    for _ in range(30):
        shop.push()
        shop.clock.pass_(hours=1)
    assert dead(shop) == ["A"]
    assert broken.calls <= 30


def test_when_the_days_revisions_are_nearly_spent_only_falls_to_zero_go(merchant):
    shop = merchant(compare_and_swap=True, revisions_per_day=4)
    for number in (8, 7, 6):
        shop.count_stock(A=number + 10)
        shop.push()
    shop.channel.writes.clear()
    shop.count_stock(A=20)
    report = shop.push()
    assert (report.spent, shop.channel.writes) == (1, [])
    [(failure, look_after)] = shop.rows(
        "SELECT failure, look_after FROM hub.outbox WHERE sku = 'A'"
    )
    assert "revisions of this listing are spent" in failure
    assert look_after == (shop.clock() + timedelta(days=1)).replace(
        hour=0, minute=0, second=0, microsecond=0
    )
    shop.count_stock(A=0)
    shop.push()
    assert shop.channel.on_hand["A"] == 0, "the last one was kept for this"
    shop.count_stock(A=0 + 3)
    shop.push()
    assert shop.channel.on_hand["A"] == 0
    shop.clock.pass_(days=1)
    shop.push()
    assert shop.channel.on_hand["A"] == 3


def test_one_busy_answer_keeps_the_whole_channel_quiet_for_so_long(merchant):
    shop = merchant(compare_and_swap=True)
    shop.channel.faults = ["busy"]
    shop.count_stock(A=5)
    shop.push()
    shop.count_stock(B=0)
    assert due(shop) == frozenset()
    shop.push()
    assert shop.channel.writes == []
    shop.clock.pass_(seconds=2)
    assert due(shop) == {"web"}
    assert shop.push().acked == 2
    assert shop.channel.writes[0][0] == "B", "the zero that came later goes first"
