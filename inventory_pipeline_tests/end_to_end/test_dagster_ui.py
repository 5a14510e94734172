"""What a person sees: the whole graph on Dagster's lineage page, and an asset check's result."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import quote

import httpx
import psycopg
import pytest

from inventory_pipeline.memory.embedded import start_embedded, stop_embedded

REPOSITORY = Path(__file__).resolve().parents[2]
CHROMIUM = Path("/usr/bin/chromium")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.timeout(600),
    pytest.mark.skipif(
        not CHROMIUM.exists(), reason=f"no Chromium at {CHROMIUM}: apt-get install chromium"
    ),
]
CHROMIUM_ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PATIENCE_S = 150
NODES = [
    "landing/wms",
    "landing/pos",
    "ledger",
    "positions",
    "ats/web",
    "push/web",
    "reconcile/web",
    "reconcile/ledger",
    "reconcile/systems",
    "health",
]
GROUPS = ["ats", "health", "landing", "ledger", "positions", "push", "reconcile"]
EXPANDED = ",".join(f"global@global:{group}" for group in GROUPS)
VARIANCES = "no_open_variances"
PAGES = "http://hub.example.com"
MATERIALIZED = """
query Materialized($keys: [AssetKeyInput!]) {
  assetNodes(assetKeys: $keys) {
    assetKey { path }
    assetMaterializations(limit: 1) { runId }
  }
}
"""


@pytest.fixture
def hub_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "hub"
    shutil.copytree(REPOSITORY / "examples" / "first-hub", folder)
    with (folder / "hub.yaml").open("a", encoding="utf-8") as file:
        file.write("\nsync: {idle: 2s, max_run: 1m}\n")
    return folder


@pytest.fixture
def postgres_url() -> Iterator[str]:
    """A server of this test's own; its socket needs a short path."""
    folder = Path(tempfile.mkdtemp(prefix="hubui"))
    yield start_embedded(folder / "pg")
    stop_embedded(folder / "pg")
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def dagster_url(hub_folder: Path, postgres_url: str, tmp_path: Path) -> Iterator[str]:
    """Dagster's webserver and daemon over a hub of its own; the sensors start the runs."""
    home = tmp_path / "dagster"
    home.mkdir()
    shutil.copy(REPOSITORY / "dagster.yaml", home)
    port = _free_port()
    environment = {
        **os.environ,
        "DAGSTER_HOME": str(home),
        "HUB_FOLDER": str(hub_folder),
        "HUB_STATE": str(tmp_path / "state"),
        "HUB_POSTGRES_URL": postgres_url,
        "HUB_URL": PAGES,
        "PYTHONPATH": str(REPOSITORY),
    }
    module = ["-m", "inventory_pipeline.definitions"]
    web = ["dagster_webserver", "-h", "127.0.0.1", "-p", str(port), *module]
    with ExitStack() as stack:
        stack.enter_context(_process(web, environment, tmp_path / "webserver.log"))
        _until(lambda: _answers(port), "the webserver answers", tmp_path / "webserver.log")
        daemon = ["dagster._daemon", "run", *module]
        stack.enter_context(_process(daemon, environment, tmp_path / "daemon.log"))
        yield f"http://127.0.0.1:{port}"


def test_the_lineage_page_shows_every_asset_and_checks_show_their_results_and_tables(
    dagster_url: str, postgres_url: str, tmp_path: Path
) -> None:
    from playwright.sync_api import expect, sync_playwright

    expect.set_options(timeout=PATIENCE_S * 1000)
    _until(
        lambda: _materialized(dagster_url) >= {"landing/wms", "landing/pos", "ats/web", "push/web"},
        "the sensors' runs have landed, computed and pushed",
        tmp_path / "daemon.log",
    )
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=CHROMIUM_ARGUMENTS)
        page = browser.new_page(viewport={"width": 1800, "height": 1100})

        page.goto(f"{dagster_url}/asset-groups?expanded={quote(EXPANDED)}")
        for name, nodes in Counter(node.rpartition("/")[2] for node in NODES).items():
            # Groups have names too: those of one asset have the same name as it.
            labels = page.get_by_text(name, exact=True)
            groups = 2 * (name in GROUPS)  # in the graph and beside it
            expect(labels.nth(nodes + groups - 1)).to_be_attached()
        page.screenshot(path=tmp_path / "lineage.png")

        page.goto(f"{dagster_url}/assets/landing/wms?view=checks&checkDetail=freshness")
        expect(page.get_by_text("Checks (5)")).to_be_visible()
        expect(page.get_by_text("older than 1d").first).to_be_visible()
        expect(page.get_by_text("Failed").first).to_be_visible()
        page.screenshot(path=tmp_path / "check.png")

        # A person asks a check again, and sees what differs and where to read on.
        _two_systems_disagree(postgres_url)
        page.goto(f"{dagster_url}/assets/reconcile/systems?view=checks&checkDetail={VARIANCES}")
        page.get_by_role("button").get_by_text("Execute", exact=True).click()
        expect(page.get_by_text("1 variance, the oldest since").first).to_be_visible()
        expect(page.get_by_text("Failed").first).to_be_visible()
        expect(page.locator(f'a[href="{PAGES}/variances"]').first).to_be_visible()
        page.get_by_text("Show Markdown").first.click()
        expect(page.get_by_role("columnheader", name="location", exact=True)).to_be_visible()
        expect(page.get_by_role("cell", name="SHIRT-S", exact=True)).to_be_visible()
        page.screenshot(path=tmp_path / "variance.png")
        browser.close()


def _two_systems_disagree(postgres_url: str) -> None:
    with psycopg.connect(postgres_url) as connection:
        connection.execute(
            "INSERT INTO hub.variances (comparison, system, location, state, sku, expected_milli,"
            " found_milli, cause, evidence, first_seen, last_seen) VALUES ('systems', 'pos', 'dc',"
            " 'on_hand', 'SHIRT-S', 98000, 91000, 'systems_disagree', '{}', now(), now())"
        )
        connection.execute(
            "INSERT INTO hub.reconciliations (comparison, started_at, finished_at, ledger_offset)"
            " VALUES ('systems', now(), now(), 1)"
        )


def _materialized(url: str) -> set[str]:
    """The assets that have been materialized at least once."""
    answer = httpx.post(
        f"{url}/graphql",
        json={
            "query": MATERIALIZED,
            "variables": {"keys": [{"path": node.split("/")} for node in NODES]},
        },
        timeout=30,
    ).json()
    nodes = answer["data"]["assetNodes"]
    return {"/".join(n["assetKey"]["path"]) for n in nodes if n["assetMaterializations"]}


@contextmanager
def _process(module: list[str], environment: dict[str, str], log: Path) -> Iterator[None]:
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", *module],
            env=environment,
            cwd=log.parent,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            yield
        finally:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait(10)


def _until(condition: Callable[[], bool], what: str, log: Path) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"not within {PATIENCE_S} s: {what}\n{log.read_text()[-4000:]}")
        time.sleep(0.5)


def _answers(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/server_info", timeout=2).status_code == 200
    except httpx.HTTPError:
        return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
