"""Every page as a person sees it: light and dark, on a desk and on a phone, with the keyboard."""

import re
from pathlib import Path

import pytest

from inventory_pipeline.core.access import Role
from inventory_pipeline.memory import access, guard
from inventory_pipeline.server.app import create_app
from inventory_pipeline_tests.server.conftest import HUB, NOW
from inventory_pipeline_tests.server.filled import fill, fill_trouble

CHROMIUM = Path("/usr/bin/chromium")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.timeout(300),
    pytest.mark.skipif(
        not CHROMIUM.exists(), reason=f"no Chromium at {CHROMIUM}: apt-get install chromium"
    ),
    pytest.mark.parametrize("postgres_server", ["embedded"], indirect=True),
]
ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
PAGES = (
    "/", "/variances", "/variances?closed=1", "/pushes", "/pushes?channel=web", "/feeds",
    "/latency?span=1h", "/latency", "/latency?span=7d", "/audit", "/docs", "/sku/SHIRT-S",
    "/sku/SHIRT-S?offset=20", "/sku/SHIRT-S?offset=nothing", "/sku/NOPE", "/sku?sku=", "/login",
)  # fmt: skip
DESK, PHONE = {"width": 1280, "height": 900}, {"width": 360, "height": 740}
RULES = """\
rules:
  - {id: s1, kind: safety_stock, skus: ["*"], locations: [dc], units: 2}
  - {id: b1, kind: buffer, channels: [web], percent: 10}
channels:"""


@pytest.fixture
def hub_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "hub"
    (folder / "catalog").mkdir(parents=True)
    (folder / "hub.yaml").write_text(HUB.replace("channels:", RULES))
    (folder / "catalog" / "items.csv").write_text(
        "sku,title,kind,decimals,tags\nSHIRT-S,Shirt <b>small</b>,simple,0,apparel\n"
        "ROPE/2,Rope by the metre,simple,2,\n"
    )
    return folder


@pytest.fixture
def chromium():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def url(ctx, serve, pg, hub_folder) -> str:
    fill(pg, hub_folder)
    fill_trouble(pg)
    return serve(create_app(ctx)).url


def opened(chromium, *, scheme: str = "light", viewport=DESK, **more):
    """A page, and what its console says."""
    page = chromium.new_context(color_scheme=scheme, viewport=viewport, **more).new_page()
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("requestfailed", lambda request: said.append(f"{request.url} failed"))
    return page, said


@pytest.mark.parametrize("viewport", [DESK, PHONE], ids=["desk", "phone"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_page_fits_its_screen_and_its_console_stays_silent(
    chromium, url, tmp_path, scheme, viewport
):
    page, said = opened(chromium, scheme=scheme, viewport=viewport)
    grounds = set()
    for path in PAGES:
        page.goto(url + path)
        assert page.locator("h1").count() == 1, path
        wide = page.evaluate("document.documentElement.scrollWidth")
        assert wide <= viewport["width"], f"{path} is {wide} px wide"
        # The browser itself notes an answer of 404.
        found = [line for line in said if "404" not in line]
        assert found == [], path
        said.clear()
        grounds.add(page.evaluate("getComputedStyle(document.body).backgroundColor"))
        page.screenshot(path=tmp_path / f"{re.sub('[^a-z0-9]+', '-', path.lower())}.png")
    [ground] = grounds
    light = sum(map(int, re.findall(r"\d+", ground)[:3])) > 3 * 128
    assert light == (scheme == "light")


def test_nothing_needs_javascript(chromium, url):
    from playwright.sync_api import expect

    page, _ = opened(chromium, java_script_enabled=False)
    page.goto(url)
    page.get_by_label("SKU, title or another system's id").fill("small")
    page.get_by_role("button", name="Find").click()
    assert page.url == f"{url}/sku/SHIRT-S"
    expect(page.locator("svg.waterfall")).to_have_count(2, timeout=30_000)
    page.get_by_label("or ledger offset").fill("20")
    page.get_by_role("button", name="Show").click()
    expect(page.get_by_role("heading", name="at a past moment")).to_be_visible()
    page.get_by_role("link", name="one entry earlier").click(timeout=30_000)
    page.wait_for_url("**offset=19**")


def test_the_waterfall_starts_at_the_shelf_and_ends_at_what_may_be_sold(chromium, url):
    page, _ = opened(chromium)
    page.goto(f"{url}/sku/SHIRT-S")
    web = page.get_by_label("web main", exact=True)
    texts = [text.text_content() for text in web.locator("svg.waterfall text").all()]
    assert texts[:4] == ["on hand", "+312", "safety stock", "\u22122"]
    assert texts[-2] == "may be sold"
    assert web.get_by_role("heading").inner_text().endswith(f"may sell {texts[-1]}")


def test_held_listings_are_chosen_and_released_with_the_keyboard_alone(chromium, url, pg):
    page, _ = opened(chromium, java_script_enabled=False)
    page.goto(f"{url}/pushes?channel=web")
    page.keyboard.press("Tab")
    assert page.locator(":focus").inner_text() == "Skip to content"
    page.locator('input[name="place"]').first.focus()
    page.keyboard.press("Space")
    page.get_by_label("Why").focus()
    page.keyboard.type("recounted")
    page.get_by_role("button", name="Release").focus()
    page.keyboard.press("Enter")
    page.wait_for_url("**said=released-1")
    assert "Released 1 listing" in page.get_by_role("status").inner_text()
    with pg.connection() as connection:
        assert len(guard.held_rows(connection)) == 11


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_whoever_goes_by_keyboard_sees_where_they_are(chromium, url, scheme):
    page, _ = opened(chromium, scheme=scheme)
    for path in ("/", "/variances", "/pushes", "/feeds", "/latency", "/audit", "/sku/SHIRT-S"):
        page.goto(url + path)
        for _ in range(14):
            page.keyboard.press("Tab")
            style = page.evaluate(
                "() => { const s = getComputedStyle(document.activeElement);"
                " return [document.activeElement.tagName, s.outlineStyle, s.outlineWidth] }"
            )
            assert "none" not in style, (path, style)
            assert "0px" not in style, (path, style)


def test_a_person_logs_in_with_a_token_and_out_again(chromium, ctx, serve, pg):
    receiver = serve(create_app(ctx, host="0.0.0.0"))
    with pg.connection() as connection:
        text = access.create(connection, name="maria", role=Role.READ, by="test", at=NOW)
    page, _ = opened(chromium, java_script_enabled=False)
    # The browser's clock is today's, the hub's stands still: only its own counts.
    page.goto(f"{receiver.url}/variances?channel=web")
    assert page.url.startswith(f"{receiver.url}/login")
    page.get_by_label("Token").fill("hub_wrong")
    page.get_by_role("button", name="Log in").click()
    assert "does not count" in page.get_by_role("alert").inner_text()
    page.get_by_label("Token").fill(text)
    page.get_by_role("button", name="Log in").click()
    assert page.url == f"{receiver.url}/variances?channel=web"
    assert "maria may read" in page.locator("footer").inner_text()
    page.get_by_role("button", name="Log out").click()
    page.goto(f"{receiver.url}/pushes")
    assert "/login" in page.url


def test_every_page_leads_to_its_asset_in_dagster(chromium, url):
    page, _ = opened(chromium)
    for path, asset in (
        ("/", "assets/push/web"), ("/", "assets/landing/wms"), ("/feeds", "assets/landing/wms"),
        ("/pushes?channel=web", "assets/push/web"), ("/latency?channel=web", "assets/push/web"),
        ("/variances?channel=web", "assets/reconcile/web"), ("/sku/SHIRT-S", "assets/positions"),
    ):  # fmt: skip
        page.goto(url + path)
        assert page.locator(f'a[href="http://127.0.0.1:3000/{asset}"]').count() >= 1, path
