"""What leaves first when not everything can leave at once."""

from datetime import timedelta

from inventory_pipeline.core.outbox import risk
from inventory_pipeline.memory import outbox


def many(shop, count, *, shown=9):
    names = [f"S{n:04}" for n in range(count)]
    for name in names:
        shop.channel.on_hand[name] = shown
        shop.channel.held[name] = 0
        shop.stock[name] = shown
        shop.counted[name] = shop.bought[name] = 0
    return names


def want(shop, names, units):
    with shop.ctx.pg.connection() as connection:
        shop.stock.update(dict.fromkeys(names, units))
        shop._store(connection, names)


def look(shop, limit):
    with shop.ctx.pg.connection() as connection:
        return outbox.rows_to_look_at(
            connection, shop.ctx.hub.channels["web"], shop.channel.capabilities,
            now=shop.clock(), limit=limit,
        )  # fmt: skip


def known(shop, names):
    want(shop, names, 9)
    shop.push()
    shop.clock.pass_(minutes=1)
    shop.push()
    shop.channel.writes.clear()


def test_the_most_dangerous_rows_are_looked_at_first_though_others_wait_longer(merchant):
    shop = merchant(compare_and_swap=True, batch_size=10)
    names = many(shop, 60)
    known(shop, names)
    want(shop, names[:50], 20)
    shop.clock.pass_(minutes=5)
    want(shop, names[50:], 0)
    looked = [row.sku for row in look(shop, 20)]
    assert set(names[50:]) <= set(looked)
    shop.push()
    assert {sku for sku, _, _ in shop.channel.writes[:11]} >= set(names[50:])


def test_one_in_ten_of_those_looked_at_has_waited_longest(merchant):
    shop = merchant(compare_and_swap=True, batch_size=10)
    names = many(shop, 60)
    known(shop, names)
    want(shop, names[:1], 20)
    shop.clock.pass_(minutes=5)
    want(shop, names[1:], 0)
    rows = look(shop, 20)
    assert len(rows) == 20
    assert names[0] in [row.sku for row in rows]


def test_an_increase_leaves_in_the_middle_of_an_endless_stream_of_zeros(merchant):
    shop = merchant(compare_and_swap=True, batch_size=10)
    names = many(shop, 60)
    known(shop, names)
    want(shop, names[:1], 20)
    for turn in range(3):
        shop.clock.pass_(seconds=1)
        want(shop, names[1:], 0 if turn % 2 == 0 else 1)
        shop.push()
        places = [sku for sku, _, _ in shop.channel.writes]
        if names[0] in places:
            assert places.index(names[0]) < 10
            return
    raise AssertionError("it starves")


def test_the_column_and_the_decision_say_the_same(merchant):
    shop = merchant(compare_and_swap=True)
    cases = [(0, 9, 0), (3, 9, 0), (3, 9, 50), (8, 9, 2), (5, 0, 0), (20, 9, 0), (4, None, 7)]
    for number, (desired, base, falling) in enumerate(cases):
        shop.rows(
            "INSERT INTO hub.outbox (channel, bucket, external_id, bucket_external, sku,"
            " units_milli, desired_milli, desired_offset, policy_version, mapping_version,"
            " computed_at, base_milli, falling_milli) VALUES ('other', 'main', %s, '', 'X', 1000,"
            " %s, 1, 1, 1, %s, %s, %s) RETURNING 1",
            str(number), desired * 1000, shop.clock(), None if base is None else base * 1000,
            falling * 1000,
        )  # fmt: skip
    found = shop.rows(
        "SELECT risk FROM hub.outbox WHERE channel = 'other' ORDER BY external_id::integer"
    )
    assert [row[0] for row in found] == [
        risk(d * 1000, None if b is None else b * 1000, f * 1000) for d, b, f in cases
    ]


def test_what_fell_fastest_of_late_is_remembered_and_fades(merchant):
    shop = merchant(compare_and_swap=True)
    for number in (8, 6, 3):
        shop.count_stock(A=number)
    assert shop.rows("SELECT falling_milli FROM hub.outbox WHERE sku = 'A'") == [(6000,)]
    shop.clock.pass_(hours=1)
    shop.count_stock(A=2)
    assert shop.rows("SELECT falling_milli FROM hub.outbox WHERE sku = 'A'") == [(4000,)]


def test_increases_that_wait_do_not_block_what_may_leave(merchant):
    shop = merchant(compare_and_swap=True)
    shop.sold("A", 1)
    shop.deliver()
    shop.count_stock(A=30, B=4)
    report = shop.push()
    assert [sku for sku, _, _ in shop.channel.writes] == ["B"]
    assert report.postponed >= 1


def test_a_newer_number_replaces_one_that_was_planned_and_not_sent(merchant):
    shop = merchant(compare_and_swap=True, batch_size=10)
    names = many(shop, 30)
    known(shop, names)
    want(shop, names, 5)
    write = shop.channel.write_levels

    def changed_meanwhile(writes, *, key):
        outcomes = write(writes, key=key)
        if len(shop.channel.writes) == 10:
            want(shop, [names[-1]], 0)
        return outcomes

    shop.channel.write_levels = changed_meanwhile
    shop.push()
    written = [after for sku, _, after in shop.channel.writes if sku == names[-1]]
    assert written[-1] == 0
    assert shop.channel.on_hand[names[-1]] == 0
    assert shop.clock() - shop.clock.at == timedelta(0)
