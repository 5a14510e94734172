"""What every asset definition of the hub says about itself."""

import os
from collections.abc import Mapping, Sequence
from time import perf_counter
from typing import Any
from urllib.parse import quote

import dagster as dg

from inventory_pipeline.config.policy import Hub
from inventory_pipeline.defs import columns as known
from inventory_pipeline.defs import keys

COLUMN_SCHEMA = "dagster/column_schema"
ROW_COUNT = "dagster/row_count"
HUB_URL = "HUB_URL"  # where people reach the pages


def spec(
    key: dg.AssetKey,
    *,
    hub: Hub,
    description: str,
    kinds: set[str],
    columns: Sequence[tuple[str, str, str]] = (),
    deps: Sequence[dg.AssetKey] = (),
    tags: Mapping[str, str] | None = None,
) -> dg.AssetSpec:
    """A node of the graph: group by its key's first part, the hub's approvers as its owners."""
    metadata: dict[str, Any] = page_link(_page_of(key))
    if columns:
        metadata[COLUMN_SCHEMA] = known.schema(columns)
    return dg.AssetSpec(
        key=key,
        deps=list(deps),
        description=description,
        group_name=keys.group(key),
        kinds=kinds,
        owners=owners(hub),
        tags=tags,
        metadata=metadata,
    )


def page_link(page: str) -> dict[str, dg.MetadataValue[Any]]:
    """The hub's own page that tells more; where it is served knows whoever started Dagster."""
    base = os.environ.get(HUB_URL, "").rstrip("/")
    return {"page": dg.MetadataValue.url(base + page)} if base else {}


def _page_of(key: dg.AssetKey) -> str:
    match key.path:
        case ["push", channel]:
            return f"/pushes?channel={quote(channel)}"
        case ["reconcile", "ledger" | "systems"]:
            return "/variances"
        case ["reconcile", channel]:
            return f"/variances?channel={quote(channel)}"
        case ["landing", _] | ["ledger"]:
            return "/feeds"
        case _:
            return "/"


def owners(hub: Hub) -> list[str]:
    """People with an address stay as they are; other names are teams."""
    named = hub.rollout.approvers or (hub.name,)
    return [name if "@" in name else f"team:{keys.safe(name)}" for name in named]


def elapsed(began: float) -> float:
    """Seconds since `began`, a reading of perf_counter, to the millisecond."""
    return round(perf_counter() - began, 3)
