import pytest

from inventory_pipeline.config.policy import Item, Rule
from inventory_pipeline.config.selectors import (
    ChannelRank,
    SkuRank,
    best_sku_rank,
    channel_rank,
    parse_sku_selector,
    sku_rank,
    strength,
)

SHIRT = Item(sku="SHIRT-S", title="", kind="simple", decimals=0, tags=("summer", "apparel"))


def rule(order=0, **fields):
    return Rule(id=f"r{order}", kind="buffer", order=order, line=1, **fields)


@pytest.mark.parametrize(
    ("skus", "rank"),
    [
        (None, SkuRank.ALL),
        (("*",), SkuRank.ALL),
        (("**",), SkuRank.ALL),
        (("tag:summer",), SkuRank.TAG),
        (("tag:winter",), None),
        (("tag:sum*",), None),
        (("SHIRT-*",), SkuRank.PATTERN),
        (("*-S",), SkuRank.PATTERN),
        (("SHIRT-?",), SkuRank.PATTERN),
        (("SHIRT",), None),
        (("shirt-s",), None),
        (("HIRT-*",), None),
        (("SHIRT-S",), SkuRank.EXACT),
        (("MUG",), None),
        (("MUG", "*", "tag:summer"), SkuRank.TAG),
        (("*", "SHIRT-S", "SHIRT-*"), SkuRank.EXACT),
    ],
)
def test_the_most_specific_sku_selector_that_matches_decides(skus, rank):
    assert sku_rank(rule(skus=skus), SHIRT) == rank


def test_a_sku_with_signs_in_it_is_exact_when_written_out():
    odd = Item(sku="A*[1]", title="", kind="simple", decimals=0)
    other = Item(sku="AB[1]", title="", kind="simple", decimals=0)
    assert sku_rank(rule(skus=("A*[1]",)), odd) == SkuRank.EXACT
    assert sku_rank(rule(skus=("A*[1]",)), other) == SkuRank.PATTERN
    assert sku_rank(rule(skus=("A*[2]",)), odd) is None


def test_an_empty_list_matches_nothing():
    assert best_sku_rank([], SHIRT) is None
    assert best_sku_rank(["tag:summer"], SHIRT) == SkuRank.TAG


def test_selectors_are_understood_for_tables():
    found = [
        (parse_sku_selector(s).rank.name, parse_sku_selector(s).text)
        for s in ["*", "tag:x", "A*", "A"]
    ]
    assert found == [("ALL", ""), ("TAG", "x"), ("PATTERN", "A*"), ("EXACT", "A")]


@pytest.mark.parametrize(
    ("channels", "excepted", "rank"),
    [
        (None, (), ChannelRank.ALL),
        (("web",), (), ChannelRank.CHANNEL),
        (("web/main",), (), ChannelRank.BUCKET),
        (("web", "web/main"), (), ChannelRank.BUCKET),
        (("web/other",), (), None),
        (("shop",), (), None),
        (None, ("web",), None),
        (("web/main",), ("web",), None),
        (("web",), ("web/main",), None),
        (("web",), ("web/other", "shop"), ChannelRank.CHANNEL),
    ],
)
def test_the_most_specific_channel_selector_that_matches_decides(channels, excepted, rank):
    one = rule(channels=channels, except_channels=excepted)
    assert channel_rank(one, "web", "main") == rank


def test_priority_then_sku_then_channel_then_place_in_the_file():
    weakest_first = [
        strength(rule(5), sku_rank=SkuRank.ALL, channel_rank=ChannelRank.ALL),
        strength(rule(4), sku_rank=SkuRank.ALL, channel_rank=ChannelRank.ALL),
        strength(rule(6), sku_rank=SkuRank.ALL, channel_rank=ChannelRank.BUCKET),
        strength(rule(7), sku_rank=SkuRank.TAG, channel_rank=ChannelRank.ALL),
        strength(rule(8), sku_rank=SkuRank.EXACT, channel_rank=ChannelRank.ALL),
        strength(rule(9, priority=1), sku_rank=SkuRank.ALL, channel_rank=ChannelRank.ALL),
    ]
    assert sorted(weakest_first) == weakest_first
