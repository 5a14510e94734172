"""demo.yaml: what an example starts, and what is said about a wrong one."""

from pathlib import Path

import pytest

from inventory_pipeline.core.errors import ConfigInvalid
from inventory_pipeline.simulate.demo import DemoFolders, load_demo

EXAMPLE = Path(__file__).parents[2] / "examples" / "grocer"
PORTS = {"shop": 9001, "market": 9002}
FOLDERS = DemoFolders(hub=Path("/h"), state=Path("/s"))


def value(argv: list[str], name: str) -> str:
    return argv[argv.index(name) + 1]


def test_a_folder_without_a_demo_has_none(tmp_path):
    assert load_demo(tmp_path) is None


def test_the_grocer_starts_two_shops_that_the_hub_can_reach():
    demo = load_demo(EXAMPLE)
    assert demo.port_names == ("shop", "market")
    env = demo.env(PORTS)
    shop, market = demo.processes(PORTS, FOLDERS, "http://127.0.0.1:8400")
    assert env["GROCER_SHOP_URL"] == "http://127.0.0.1:9001"
    assert env["GROCER_SHOP_TOKEN"] == value(shop.argv, "--token")
    assert env["GROCER_SHOP_SECRET"] == value(shop.argv, "--webhook-secret")
    assert value(shop.argv, "--webhook-url") == "http://127.0.0.1:8400/hooks/shop"
    assert env["GROCER_MARKET_KEY"] == value(market.argv, "--consumer-key")
    assert (market.port, market.ready_url) == (9002, "http://127.0.0.1:9002/control/ready")


def test_the_replay_takes_another_length():
    demo = load_demo(EXAMPLE)
    assert value(demo.replay(PORTS, FOLDERS), "--seconds") == "75.0"
    argv = demo.replay(PORTS, FOLDERS, seconds=3)
    assert value(argv, "--seconds") == "3"
    assert value(argv, "--market-url") == "http://127.0.0.1:9002"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("replay:", "repaly:"), "replay"),
        (("{hub}", "{hubb}"), "hubb"),
        (("{shop_url}", "{shoop_url}"), "shoop_url"),
        (("seconds: 75", "seconds: soon"), "above 0"),
        (("module: inventory_pipeline.simulate.shopify", "modul: x"), "module"),
        (("shops:", "shops: ["), "YAML"),
    ],
)
def test_a_wrong_demo_is_one_clear_message(tmp_path, change, said):
    text = (EXAMPLE / "demo.yaml").read_text()
    assert change[0] in text
    (tmp_path / "demo.yaml").write_text(text.replace(*change))
    with pytest.raises(ConfigInvalid, match=said):
        load_demo(tmp_path)
