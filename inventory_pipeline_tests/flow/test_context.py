"""Opening a hub: versions of policy and catalogue, and channels that ask too much."""

import shutil
from pathlib import Path

import pytest

from inventory_pipeline.core.errors import ConfigInvalid
from inventory_pipeline.flow.connecting import external_ids
from inventory_pipeline.flow.context import open_context
from inventory_pipeline_tests.fakes import Clock, small_hub

FIRST_HUB = Path(__file__).parents[2] / "examples" / "first-hub"


@pytest.fixture
def folder(tmp_path):
    shutil.copytree(FIRST_HUB, tmp_path / "hub")
    return tmp_path / "hub"


def versions(folder, tmp_path, url):
    ctx = open_context(folder, tmp_path / "state", url, Clock())
    ctx.close()
    return ctx.policy_version, ctx.mapping_version


def test_a_changed_hub_folder_is_a_new_version_with_an_offset_and_an_unchanged_one_is_not(
    folder, tmp_path, pg_url, pg
):
    assert versions(folder, tmp_path, pg_url) == (1, 1)
    assert versions(folder, tmp_path, pg_url) == (1, 1)
    with (folder / "hub.yaml").open("a") as file:
        file.write("# a thought\n")
    assert versions(folder, tmp_path, pg_url) == (2, 1)
    with (folder / "catalog" / "items.csv").open("a") as file:
        file.write("NEW-1,A new one,simple,0,,1.00\n")
    assert versions(folder, tmp_path, pg_url) == (2, 2)
    with pg.connection() as connection:
        kinds = connection.execute("SELECT kind FROM hub.ledger ORDER BY ledger_offset").fetchall()
    assert [kind for (kind,) in kinds] == ["mapping", "policy", "policy", "mapping"]


def test_a_live_channel_on_a_system_that_cannot_be_written_to_is_refused(folder, tmp_path, pg_url):
    text = (folder / "hub.yaml").read_text()
    assert "mode: shadow" in text
    (folder / "hub.yaml").write_text(text.replace("mode: shadow", "mode: live"))
    with pytest.raises(ConfigInvalid, match="cannot be written to: set mode: shadow"):
        open_context(folder, tmp_path / "state", pg_url, Clock())


def test_a_sku_is_its_own_external_id_only_where_no_row_maps_it():
    from dataclasses import replace
    from decimal import Decimal

    from inventory_pipeline.config.policy import Identifier

    hub = small_hub()
    row = Identifier(system="shop", external_id="77", sku="A", units=Decimal(1))
    hub = replace(hub, catalog=replace(hub.catalog, identifiers=(row,)))
    assert external_ids(hub, "shop") == {"77", "B", "C"}
    assert external_ids(hub, "wms") == {"A", "B", "C"}
