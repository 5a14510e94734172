"""A full reading that broke off goes on behind the last page, in another process even."""

from datetime import UTC, datetime

import pytest

from inventory_pipeline.connectors import square_counts, woocommerce_levels
from inventory_pipeline.connectors.woocommerce import WooCommerceConnector
from inventory_pipeline.core.ports import LevelPaging
from inventory_pipeline_tests.connectors import square_merchants
from inventory_pipeline_tests.connectors.shops import opening, woocommerce_shop

A_PAGE = 3  # of seven


@pytest.fixture
def woocommerce(tmp_path, monkeypatch):
    monkeypatch.setattr(woocommerce_levels, "PER_PAGE", A_PAGE)
    with woocommerce_shop(tmp_path) as shop:
        options = {"consumer_key": "ck", "consumer_secret": "cs"}
        yield lambda: WooCommerceConnector(opening(shop.url, options, set()))


@pytest.fixture
def square(tmp_path, monkeypatch):
    monkeypatch.setattr(square_counts, "PER_PAGE", A_PAGE)
    with square_merchants.merchant(tmp_path) as shop:
        yield lambda: square_merchants.opened(shop.url)


@pytest.mark.parametrize("system", ["woocommerce", "square"])
def test_what_was_read_before_is_not_read_again(system, request):
    connect = request.getfixturevalue(system)
    whole = {level.listing: level.quantity_milli for level in connect().read_levels(None)}
    assert len(whole) > 2 * A_PAGE
    read, resume, asked = {}, None, []
    for _ in range(10):
        connector = connect()
        assert isinstance(connector, LevelPaging)
        page = next(iter(connector.level_pages(resume)))  # and then it breaks off
        connector.close()
        assert not read.keys() & {level.listing for level in page.levels}
        assert len(page.levels) <= A_PAGE
        read |= {level.listing: level.quantity_milli for level in page.levels}
        asked += [level.asked_at for level in page.levels]
        resume = page.resume
        if resume is None:
            break
    assert read == whole
    assert asked == sorted(asked)
    assert max(asked) <= datetime.now(UTC)
