"""Full readings of a Shopify shop: in pages that can be resumed, and by bulk operations."""

from dataclasses import replace
from datetime import UTC, datetime
from itertools import islice

import httpx
import pytest
import stamina
from structlog.testing import capture_logs

from inventory_pipeline.config.secrets import Secret
from inventory_pipeline.connectors import shopify_bulk, shopify_documents
from inventory_pipeline.connectors.shopify import ShopifyConnector
from inventory_pipeline.core.errors import ChannelBusy
from inventory_pipeline.core.ports import LevelPaging
from inventory_pipeline.flow.reconcile_reading import MAX_RESUMES, all_levels
from inventory_pipeline_tests.connectors.shops import opening, shopify_shop

ITEMS = 7
GIDS = {f"gid://shopify/InventoryItem/{n}" for n in range(1, ITEMS + 1)}


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    monkeypatch.setattr(shopify_bulk, "FIRST_PAUSE_S", 0.05)
    with stamina.set_testing(True, attempts=1):
        yield


@pytest.fixture
def shop(tmp_path):
    with shopify_shop(tmp_path) as running:
        yield running


class Recorded(httpx.BaseTransport):
    """The network, which breaks off before the calls whose numbers it is told."""

    def __init__(self, *breaks: int, named: str = "") -> None:
        self.network = httpx.HTTPTransport()
        self.breaks = set(breaks)
        self.named = named
        self.calls: list[str] = []
        self.bodies: list[str] = []

    def handle_request(self, request):
        body = request.read().decode()
        if self.named in body:
            self.calls.append(str(request.url))
            if len(self.calls) in self.breaks:
                raise httpx.ReadError("the line is dead")
        self.bodies.append(body)
        return self.network.handle_request(request)

    def close(self) -> None:
        self.network.close()

    def count(self, name: str) -> int:
        return sum(name in body for body in self.bodies)


@pytest.fixture
def connected(shop):
    opened = []

    def connect(transport=None, **options) -> ShopifyConnector:
        given = {"access_token": Secret("token"), "timeout_s": 5, "bulk_from": 1} | options
        opened.append(ShopifyConnector(opening(shop.url, given, GIDS), transport=transport))
        return opened[-1]

    yield connect
    for connector in opened:
        connector.close()


def levels_of(connector, resume=None):
    return [level for page in connector.level_pages(resume) for level in page.levels]


def undated(levels):
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    plain = [replace(level, asked_at=moment, answered_at=moment) for level in levels]
    return sorted(plain, key=lambda level: level.listing.external_id)


def read_all(connector):
    pauses = []
    return list(all_levels(connector, pause=pauses.append)), pauses


def test_bulk_and_pages_read_the_same(shop, connected):
    shop.order("1", SKU_1=2)
    transport = Recorded()
    bulk = connected(transport)
    assert isinstance(bulk, LevelPaging)
    before = datetime.now(UTC)
    found = levels_of(bulk)
    after = datetime.now(UTC)
    assert transport.count("HubStartBulk") == 1
    assert transport.count("HubInventoryItems") == 0
    paged = levels_of(connected(bulk_from=ITEMS + 1))
    assert undated(found) == undated(paged)
    assert len(found) == ITEMS
    assert {level.quantity_milli for level in found} >= {8_000, 20_000}
    for level in found:
        assert before <= level.asked_at < level.answered_at <= after
        assert (level.answered_at - level.asked_at).total_seconds() >= 0.2, "as long as it ran"


def test_a_small_shop_is_read_in_pages_and_so_are_parts_of_a_large_one(shop, connected):
    transport = Recorded()
    small = connected(transport, bulk_from=ITEMS + 1)
    levels_of(small)
    large = connected(transport)
    list(large.read_levels(None))
    assert transport.count("HubStartBulk") == 0
    assert shop.post("/control/bulk") == {"operations": 0}


@pytest.mark.parametrize(
    ("levers", "because"),
    [
        ({"limit": 0}, "LIMIT_REACHED"),
        ({"fails": "TIMEOUT"}, "the operation is FAILED (TIMEOUT)"),
        ({"cuts": 3}, "the file is truncated"),
    ],
)
def test_what_a_bulk_operation_cannot_give_is_read_in_pages(shop, connected, levers, because):
    shop.post("/control/bulk", **levers)
    with capture_logs() as lines:
        found = levels_of(connected())
    assert len(found) == ITEMS
    (line,) = [line for line in lines if line["event"] == "levels are read page by page"]
    assert because in line["because"]
    assert (line["system"], line["call"]) == ("shop", "read levels in bulk")
    assert line["hint"]


def test_while_another_operation_runs_the_levels_are_read_in_pages(shop, connected):
    shop.post("/control/bulk", limit=1, seconds=60)
    waiting = connected().level_pages()
    assert next(waiting).levels == (), "it runs"
    transport = Recorded()
    with capture_logs() as lines:
        assert len(levels_of(connected(transport))) == ITEMS
    assert "OPERATION_IN_PROGRESS" in lines[0]["because"]
    assert transport.count("HubInventoryItems") == 1
    waiting.close()
    shop.post("/control/bulk", seconds=0)
    again = Recorded()
    assert len(levels_of(connected(again))) == ITEMS
    assert again.count("HubInventoryItems") == 0, "the one that was given up is cancelled there"


def test_an_operation_that_takes_too_long_is_given_up(shop, connected):
    shop.post("/control/bulk", limit=1, seconds=60)
    with capture_logs() as lines:
        assert len(levels_of(connected(bulk_wait_s=1))) == ITEMS
    assert "not complete after 1 s" in lines[0]["because"]
    assert "bulk_wait_s" in lines[0]["hint"]
    shop.post("/control/bulk", seconds=0)
    transport = Recorded()
    levels_of(connected(transport))
    assert transport.count("HubInventoryItems") == 0


def test_a_file_that_was_cut_once_is_fetched_again(shop, connected):
    shop.post("/control/bulk", cuts=2)
    transport = Recorded()
    assert len(levels_of(connected(transport))) == ITEMS
    assert transport.count("HubInventoryItems") == 0


def test_no_credentials_go_to_the_host_of_the_file(shop, connected):
    transport = Recorded()
    connected(transport)
    assert len(levels_of(connected(transport))) == ITEMS, "the file's host refuses a token"
    assert any("/bulk/" in url for url in transport.calls)


def test_a_question_that_breaks_off_goes_on_with_the_same_operation(shop, connected):
    # 1 starts, 2 and 3 look, 3 breaks off.
    transport = Recorded(3)
    found, pauses = read_all(connected(transport))
    assert len(found) == ITEMS
    assert len(pauses) == 1
    assert transport.count("HubStartBulk") == 1
    assert shop.post("/control/bulk") == {"operations": 1}


def test_bulk_pages_go_on_behind_the_page_that_was_read(shop, connected, monkeypatch):
    monkeypatch.setattr(shopify_bulk, "LEVELS_PER_PAGE", 3)
    pages = [page for page in connected().level_pages() if page.levels]
    assert [len(page.levels) for page in pages] == [3, 3, 1]
    assert pages[-1].resume is None
    rest = levels_of(connected(), pages[0].resume)
    assert undated(rest) == undated([*pages[1].levels, *pages[2].levels])
    assert {level.asked_at for level in rest} == {pages[0].levels[0].asked_at}


def test_a_reading_that_breaks_off_reads_each_page_once(shop, connected, monkeypatch):
    monkeypatch.setattr(shopify_documents, "ITEMS_PER_PAGE", 2)
    transport = Recorded(3, 4, named="HubInventoryItems")
    found, pauses = read_all(connected(transport, bulk_from=ITEMS + 1))
    assert sorted(level.listing.external_id for level in found) == sorted(GIDS)
    asked = [body for body in transport.bodies if "HubInventoryItems" in body]
    assert len(asked) == len(set(asked)) == 4, "each page answered once"
    assert len(pauses) == 2
    assert len({level.asked_at for level in found}) == 4, "each page has its own moment"


def test_a_reading_that_gets_nowhere_ends(shop, connected, monkeypatch):
    monkeypatch.setattr(shopify_documents, "ITEMS_PER_PAGE", 2)
    transport = Recorded(*range(3, 100), named="HubInventoryItems")
    pauses = []
    levels = all_levels(connected(transport, bulk_from=99), pause=pauses.append)
    assert len(list(islice(levels, 4))) == 4
    with pytest.raises(ChannelBusy, match="shop: read levels"):
        next(levels)
    assert len(pauses) == MAX_RESUMES
    assert pauses == sorted(pauses)
