"""The pages of an empty and of a filled hub, as a browser gets them."""

from html.parser import HTMLParser

import pytest

from inventory_pipeline.server.app import create_app
from inventory_pipeline_tests.server.filled import LISTINGS, fill

PAGES = (
    "/", "/variances", "/variances?closed=1", "/pushes", "/feeds", "/latency", "/audit",
    "/sku/SHIRT-S", "/sku?sku=xyzzy", "/docs", "/login",
)  # fmt: skip
VOID = {"meta", "link", "img", "input", "br", "hr"}


class Page(HTMLParser):
    """Checks that tags close in order; keeps the words, the links and the headings."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.words: list[str] = []
        self.links: list[str] = []
        self.tags: list[str] = []
        self.feed(text)
        assert not self.open, f"never closed: {self.open}"

    def handle_starttag(self, tag, attributes) -> None:
        self.tags.append(tag)
        if tag == "a":
            self.links.append(dict(attributes)["href"])
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag) -> None:
        assert self.open[-1:] == [tag], f"</{tag}> inside {self.open}"
        self.open.pop()

    def handle_startendtag(self, tag, attributes) -> None:
        self.tags.append(tag)

    def handle_data(self, data) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).replace("\u202f", " ").split())


@pytest.fixture
def browse(ctx, serve):
    receiver = serve(create_app(ctx, dagster_url="http://127.0.0.1:3000/"))

    def get(path: str, status: int = 200) -> Page:
        answer = receiver.http.get(path)
        assert answer.status_code == status, answer.text
        return Page(answer.text)

    get.http = receiver.http
    return get


@pytest.mark.parametrize("path", PAGES)
def test_an_empty_hub_has_every_page(browse, path):
    page = browse(path)
    assert page.tags.count("h1") == 1


def test_an_empty_hub_says_that_there_is_nothing_yet(browse):
    text = browse("/").text
    assert "no listings yet" in text
    assert "up to date" in text
    assert "Nothing was pushed yet." in text


@pytest.mark.parametrize("path", PAGES)
def test_a_filled_hub_has_every_page(browse, pg, path):
    fill(pg)
    page = browse(path)
    assert page.tags.count("h1") == 1
    assert "script" not in page.tags


def test_health_tells_which_channel_is_wrong_for_how_long_and_how_fast_pushes_are(browse, pg):
    fill(pg)
    text = browse("/").text
    assert "5 behind" in text
    assert f"of {LISTINGS} listings in sync" in text
    assert "86.6 %" in text  # 8 of market's 60 listings wait, fail or are given up
    assert "oldest 5 h" in text
    assert "p50 " in text
    assert "24 acked, 6 not" in text


def test_health_tells_which_feed_fails_and_which_is_stale(browse, pg):
    fill(pg)
    text = browse("/").text
    assert "failing for 12 min" in text
    assert "no answer within 10 s" in text
    assert "stale" in text
    assert "55 min old" in text


def test_health_says_what_the_checks_say_and_leads_to_them(browse, pg):
    with pg.connection() as c:
        c.execute(
            "INSERT INTO hub.negative_positions (sku, location, on_hand_milli, ledger_offset,"
            " since) VALUES ('SHIRT-S', 'dc', -2000, 1, now())"
        )
    page = browse("/")
    assert "1 positions are below zero" in page.text
    check = "http://127.0.0.1:3000/assets/positions?view=checks&checkDetail=no_negative_positions"
    assert check in page.links


def test_the_timeline_begins_with_the_newest_and_a_link_tells_the_others(browse, pg):
    fill(pg)
    page = browse("/sku/SHIRT-S?offset=30")
    assert page.text.count("wms/e") + page.text.count("shop/e") < 20
    [more] = [link for link in page.links if "story=all" in link]
    assert more == "?offset=30&story=all#happened"
    whole = browse("/sku/SHIRT-S" + more.partition("#")[0])
    assert "wms/e3 " in whole.text
    assert not [link for link in whole.links if "story=all" in link]


def test_a_long_failure_is_folded(browse, pg):
    fill(pg)
    before = browse("/sku/SHIRT-S")
    with pg.connection() as c:
        c.execute("UPDATE hub.attempts SET error = %s WHERE key = 'k9'", ("it said\n" + "x" * 200,))
    page = browse("/sku/SHIRT-S")
    assert page.tags.count("details") == before.tags.count("details") + 1
    assert "it said" in page.text


def test_channels_link_to_their_assets_in_dagster(browse):
    assert "http://127.0.0.1:3000/assets/push/web" in browse("/").links


def test_variances_can_be_narrowed_to_a_cause(browse, pg):
    fill(pg)
    assert "not_listed" in browse("/variances").text
    narrowed = browse("/variances?cause=external_edit&channel=market").text
    assert "SKU-003" not in narrowed
    assert "SKU-002" in narrowed
    assert browse("/variances?channel=web").text.count("SKU-") == 0


def test_feeds_tell_why_a_snapshot_was_rejected_and_what_is_in_quarantine(browse, pg):
    fill(pg)
    text = browse("/feeds").text
    assert "max_drop is 20 %" in text
    assert "unknown_item" in text
    assert "line 2" in text


def test_what_systems_send_is_shown_as_text_and_never_as_html(browse, pg):
    fill(pg)
    assert "<script>alert(0)</script>" in browse("/feeds").text
    assert "Shirt <b>small</b>" in browse("/sku/SHIRT-S").text


def test_a_sku_page_tells_desired_base_events_and_attempts(browse, pg):
    fill(pg)
    text = browse("/sku/SHIRT-S").text
    assert "28" in text
    assert "given up" in text
    assert "goods_received" in text
    assert "1 250.5" in text
    assert "offset 12 300" in text


def test_a_sku_with_a_slash_has_a_page(browse):
    assert "Rope by the metre" in browse("/sku/ROPE%2F2").text


def test_the_search_leads_to_the_sku(browse):
    answer = browse.http.get("/sku", params={"sku": " ROPE/2 "})
    assert answer.status_code == 303
    assert answer.headers["location"] == "/sku/ROPE%2F2"


def test_an_unknown_sku_is_not_found_and_says_so(browse):
    assert "Unknown SKU" in browse("/sku/NOPE", status=404).text


def test_the_style_is_our_own_and_follows_light_and_dark(browse):
    style = browse.http.get("/static/style.css")
    assert style.headers["content-type"].startswith("text/css")
    assert "prefers-color-scheme: dark" in style.text
    assert "http" not in style.text


@pytest.mark.parametrize("path", PAGES)
def test_pages_load_nothing_from_other_servers(browse, path):
    page = browse(path)
    assert not {"script", "iframe"} & set(page.tags)
    outside = [link for link in page.links if link.startswith("http")]
    assert all(link.startswith("http://127.0.0.1:3000/") for link in outside)


def test_availability_is_an_exact_number_of_the_channels_unit(browse, pg):
    fill(pg)
    listing = browse.http.get("/v1/ats", params={"sku": "SHIRT-S", "channel": "web"}).json()
    assert [(x["channel"], x["available"], x["units"]) for x in listing["listings"]] == [
        ("web", "28", "1")
    ]


@pytest.mark.parametrize(
    ("query", "status"),
    [({}, 422), ({"sku": "NOPE"}, 404), ({"channel": "nope"}, 404), ({"channel": "web"}, 200)],
)
def test_availability_of_nothing_is_a_clear_error(browse, query, status):
    answer = browse.http.get("/v1/ats", params=query)
    assert answer.status_code == status


def test_health_for_probes_tells_how_far_the_numbers_are(browse, pg):
    fill(pg)
    health = browse.http.get("/v1/health").json()
    assert (health["status"], health["behind"], health["hub"]) == ("ok", 5, "acme")
