"""The composition root of Dagster's code location: a hub folder becomes `defs`."""

import logging
import os
from pathlib import Path

from inventory_pipeline.config.load import load_hub
from inventory_pipeline.config.policy import Hub
from inventory_pipeline.core.errors import ConfigInvalid, HubError
from inventory_pipeline.defs.build import build_definitions
from inventory_pipeline.defs.resources import HUB_FOLDER, HUB_POSTGRES_URL, HubResource

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


def hub_to_show(folder: Path) -> Hub:
    """The hub of this folder; while that has mistakes, as somebody edits it, the hub as it was
    activated last, with a warning.

    Raises ConfigInvalid where the folder has mistakes and nothing was ever activated.
    """
    try:
        return load_hub(folder)
    except ConfigInvalid as error:
        hub = _activated(folder)
        if hub is None:
            raise
        log.warning("%s has mistakes; shown is the hub as it was activated last. %s", folder, error)
        return hub


def _activated(folder: Path) -> Hub | None:
    url = os.environ.get(HUB_POSTGRES_URL, "")
    if not url:
        return None
    from inventory_pipeline.flow.context import hub_of
    from inventory_pipeline.memory import versions
    from inventory_pipeline.memory.postgres import Postgres

    postgres = Postgres(url, max_connections=1)
    try:
        with postgres.connection() as connection:
            made = connection.execute("SELECT to_regclass('hub.policy_versions')").fetchone()
            active = None if made == (None,) else versions.active(connection)
    finally:
        postgres.close()
    return None if active is None else hub_of(active, folder)


log = logging.getLogger(__name__)
_folder = hub_folder()
defs = build_definitions(hub_to_show(_folder), HubResource(hub_folder=str(_folder)))
