"""Which items and channels a rule means, and how specifically: pure functions (SEMANTICS §6).
 A rank of None means: the rule does not match. Among matching rules of one kind the winner is the
highest `priority`, then the highest sku rank, then the highest channel rank, then the first in
the file; `strength` is that comparison as a tuple to take the max of.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache

from inventory_pipeline.config.policy import Item, Rule

TAG_PREFIX = "tag:"
WILDCARDS = "*?"


class SkuRank(IntEnum):
    """How specific a sku selector is."""

    ALL = 0
    TAG = 1
    PATTERN = 2
    EXACT = 3


class ChannelRank(IntEnum):
    """How specific a channel selector is."""

    ALL = 0
    CHANNEL = 1
    BUCKET = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class SkuSelector:
    """One entry of `skus`. `text` is the sku, the pattern or the tag's name; "" for all."""

    rank: SkuRank
    text: str


@lru_cache(maxsize=65_536)
def parse_sku_selector(selector: str) -> SkuSelector:
    """`*` is all, `tag:NAME` a tag, a text with `*` or `?` a pattern, else one exact sku."""
    if selector.strip("*") == "" and selector:
        return SkuSelector(rank=SkuRank.ALL, text="")
    if selector.startswith(TAG_PREFIX):
        return SkuSelector(rank=SkuRank.TAG, text=selector.removeprefix(TAG_PREFIX))
    if any(sign in selector for sign in WILDCARDS):
        return SkuSelector(rank=SkuRank.PATTERN, text=selector)
    return SkuSelector(rank=SkuRank.EXACT, text=selector)


@lru_cache(maxsize=4096)
def pattern_regex(pattern: str) -> re.Pattern[str]:
    """Matches whole skus: `*` is any run of characters, `?` one; case counts, [] are text."""
    parts = (".*" if c == "*" else "." if c == "?" else re.escape(c) for c in pattern)
    return re.compile("".join(parts), re.DOTALL)


def matches_sku(selector: SkuSelector, item: Item) -> bool:
    match selector.rank:
        case SkuRank.ALL:
            return True
        case SkuRank.TAG:
            return selector.text in item.tags
        case SkuRank.PATTERN:
            return pattern_regex(selector.text).fullmatch(item.sku) is not None
    return selector.text == item.sku


def sku_rank(rule: Rule, item: Item) -> int | None:
    """The rank of the most specific entry of `skus` that matches; without `skus`: all."""
    return best_sku_rank(rule.skus, item)


def best_sku_rank(selectors: Iterable[str] | None, item: Item) -> int | None:
    """As `sku_rank`, for a bare list of selectors (canary.skus): None means all, [] nothing."""
    if selectors is None:
        return int(SkuRank.ALL)
    ranks = (
        # A sku that is written out in full is exact, whatever signs it contains.
        SkuRank.EXACT if text == item.sku else selector.rank
        for text in selectors
        for selector in (parse_sku_selector(text),)
        if text == item.sku or matches_sku(selector, item)
    )
    best = max(ranks, default=None)
    return None if best is None else int(best)


def channel_rank(rule: Rule, channel: str, bucket: str) -> int | None:
    """The rank of the most specific entry of `channels` that matches; None where excepted.

    `protect` and `contract` name no channels: for them this is always the rank of all.
    """
    if _best_channel(rule.except_channels, channel, bucket) is not None:
        return None
    if rule.channels is None:
        return int(ChannelRank.ALL)
    return _best_channel(rule.channels, channel, bucket)


def _best_channel(selectors: Iterable[str], channel: str, bucket: str) -> int | None:
    best: int | None = None
    for selector in selectors:
        if selector == f"{channel}/{bucket}":
            return int(ChannelRank.BUCKET)
        if selector == channel:
            best = int(ChannelRank.CHANNEL)
    return best


def strength(rule: Rule, *, sku_rank: int, channel_rank: int) -> tuple[int, int, int, int]:
    """The greater one wins among rules of one kind that match (SEMANTICS §6, which rule wins)."""
    return (rule.priority, sku_rank, channel_rank, -rule.order)
