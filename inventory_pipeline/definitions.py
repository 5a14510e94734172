"""The composition root of Dagster's code location: a hub folder becomes `defs`."""

import os
from pathlib import Path

from inventory_pipeline.config.load import load_hub
from inventory_pipeline.core.errors import HubError
from inventory_pipeline.defs.build import build_definitions
from inventory_pipeline.defs.resources import HUB_FOLDER, HubResource

# A clone of the repository works without any setting.
FIRST_HUB = Path(__file__).resolve().parent.parent / "examples" / "first-hub"


def hub_folder() -> Path:
    """The folder that HUB_FOLDER names, else the example beside the package."""
    named = os.environ.get(HUB_FOLDER, "")
    if named:
        return Path(named).resolve()
    if FIRST_HUB.is_dir():
        return FIRST_HUB
    raise HubError(
        f"{HUB_FOLDER} is not set, so there is no hub to show.",
        hint=f"export {HUB_FOLDER}=/path/to/your/hub (the folder that holds hub.yaml).",
    )


_folder = hub_folder()
defs = build_definitions(load_hub(_folder), HubResource(hub_folder=str(_folder)))
