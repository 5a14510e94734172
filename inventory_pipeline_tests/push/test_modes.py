"""A channel's mode changes between runs, and in the middle of one."""

import time
from dataclasses import replace

import pytest

from inventory_pipeline.core.vocabulary import Mode


def switch(shop, mode, **more):
    channel = replace(shop.ctx.hub.channels["web"], mode=mode, **more)
    shop.ctx = replace(shop.ctx, hub=replace(shop.ctx.hub, channels={"web": channel}))


def test_what_a_shadow_noted_is_read_before_anything_is_sent(merchant):
    shop = merchant(mode=Mode.SHADOW, compare_and_swap=True)
    shop.channel.on_hand["A"] = 2  # nobody told the shadow
    switch(shop, Mode.LIVE)
    shop.push()
    assert sorted(shop.channel.reads) == ["A", "B", "C"]
    assert shop.channel.writes == [("A", 2, 9)]


def test_a_channel_that_went_back_to_shadow_sends_nothing_and_is_read_when_it_is_live_again(
    merchant,
):
    shop = merchant(compare_and_swap=True)
    switch(shop, Mode.SHADOW)
    shop.count_stock(A=5)
    assert shop.push().shadow == 1
    assert shop.channel.writes == []
    switch(shop, Mode.LIVE)
    shop.push()
    assert shop.channel.reads == ["A"], "the others are known"
    assert shop.channel.writes == [("A", 9, 5)]


def test_a_canary_sends_its_skus_and_notes_the_rest(merchant):
    shop = merchant(mode=Mode.SHADOW, compare_and_swap=True)
    switch(shop, Mode.CANARY, canary_skus=("A",))
    shop.count_stock(A=5, B=4)
    report = shop.push()
    assert (report.acked, report.shadow) == (1, 1)
    assert shop.channel.on_hand == {"A": 5, "B": 9, "C": 0}
    switch(shop, Mode.LIVE)
    shop.push()
    assert shop.channel.on_hand == {"A": 5, "B": 4, "C": 0}
    assert "B" in shop.channel.reads


def test_a_switch_stops_before_the_next_batch(merchant):
    shop = merchant(batch_size=1, compare_and_swap=True)
    write = shop.channel.write_levels
    shop.ctx = replace(shop.ctx, policy_version=1)

    def switched_off_meanwhile(writes, *, key):
        outcomes = write(writes, key=key)
        if len(shop.channel.writes) == 1:
            shop.rows(
                "INSERT INTO hub.mode_overrides (channel, mode, set_at, set_by, reason)"
                " VALUES ('web', 'off', now(), 'anna', 'test') RETURNING channel"
            )
        return outcomes

    shop.channel.write_levels = switched_off_meanwhile
    names = [f"S{n}" for n in range(40)]
    for name in names:
        shop.channel.on_hand[name] = 9
        shop.channel.held[name] = 0
        shop.stock[name] = shop.counted[name] = shop.bought[name] = 0
    with shop.ctx.pg.connection() as connection:
        shop.stock.update(dict.fromkeys(names, 5))
        shop._store(connection, names)
    shop.push()
    # Noticed within milliseconds: of the 40 at most those that were stored already.
    assert 1 <= len(shop.channel.writes) < 12
    [(open_intents,)] = shop.rows("SELECT count(*) FROM hub.intents")
    assert open_intents == 0


def test_a_slow_channel_sends_nothing_at_all_after_a_switch(merchant):
    shop = merchant(batch_size=1, compare_and_swap=True)
    write = shop.channel.write_levels

    def switched_off_meanwhile(writes, *, key):
        shop.rows(
            "INSERT INTO hub.mode_overrides (channel, mode, set_at, set_by, reason)"
            " VALUES ('web', 'off', now(), 'anna', 'test') RETURNING channel"
        )
        time.sleep(0.05)
        return write(writes, key=key)

    shop.channel.write_levels = switched_off_meanwhile
    shop.count_stock(A=5, B=4, C=3)
    shop.push()
    assert len(shop.channel.writes) == 1
    assert shop.rows("SELECT count(*) FROM hub.intents") == [(0,)]


def test_a_receipt_is_not_waited_for_by_a_channel_that_sends_no_more(merchant):
    from inventory_pipeline.core.ports import Completion

    shop = merchant(completion=Completion.JOB, compare_and_swap=True)
    shop.count_stock(A=5)
    shop.push()
    switch(shop, Mode.SHADOW)
    shop.push()
    assert shop.rows("SELECT count(*) FROM hub.intents") == [(0,)]
    assert shop.rows("SELECT count(*) FROM hub.outbox WHERE open_key IS NOT NULL") == [(0,)]


@pytest.mark.parametrize("mode", [Mode.SHADOW, Mode.OFF])
def test_nothing_is_written_by_a_channel_that_does_not_send(merchant, mode):
    shop = merchant(mode=mode)
    shop.count_stock(A=5)
    shop.push()
    assert (shop.channel.reads, shop.channel.writes) == ([], [])
