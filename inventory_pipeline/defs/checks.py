"""The checks of flow/checks.py on Dagster's assets. None of them writes."""

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

import dagster as dg

from inventory_pipeline.config.policy import Hub
from inventory_pipeline.core.verdicts import Level, Table, Verdict
from inventory_pipeline.defs import keys
from inventory_pipeline.defs.common import page_link
from inventory_pipeline.defs.resources import HubResource
from inventory_pipeline.flow.checks import Check, Look
from inventory_pipeline.flow.times import utc_now


def asset_checks(hub: Hub, checks: Sequence[Check]) -> list[dg.AssetChecksDefinition]:
    """One definition an asset, so that one run asks once for all of its checks."""
    ordered = sorted(checks, key=lambda check: check.asset)
    by_asset = groupby(ordered, lambda check: check.asset)
    return [_of_asset(hub, dg.AssetKey(list(asset)), list(group)) for asset, group in by_asset]


def _of_asset(policy: Hub, asset: dg.AssetKey, checks: Sequence[Check]) -> dg.AssetChecksDefinition:
    specs = [
        dg.AssetCheckSpec(
            name=check.name, asset=asset, description=check.says, blocking=check.blocking
        )
        for check in checks
    ]

    @dg.multi_asset_check(name=f"{keys.op_name(asset)}__checks", specs=specs, can_subset=True)
    def look(
        context: dg.AssetCheckExecutionContext, hub: HubResource
    ) -> Iterator[dg.AssetCheckResult]:
        selected = {key.name for key in context.selected_asset_check_keys}
        with hub.memory() as memory, memory.connection() as connection:
            asking = Look(
                connection=connection,
                hub=policy,
                state=hub.state_folder(),
                now=utc_now(),
                thorough=True,
            )
            found = [(c, c.judge(asking)) for c in checks if c.name in selected]
        for check, verdict in found:
            yield dg.AssetCheckResult(**_said(check, verdict))

    return look


def evaluation(check: Check, verdict: Verdict) -> dg.AssetCheckEvaluation:
    """For a run that reports on assets which it does not materialize."""
    return dg.AssetCheckEvaluation(**_said(check, verdict))


def _said(check: Check, verdict: Verdict) -> dict[str, Any]:
    warns = verdict.level is Level.WARNING
    return {
        "asset_key": dg.AssetKey(list(check.asset)),
        "check_name": check.name,
        "passed": verdict.passed,
        "severity": dg.AssetCheckSeverity.WARN if warns else dg.AssetCheckSeverity.ERROR,
        "description": verdict.description,
        "metadata": {
            **verdict.numbers,
            **{name: markdown(table) for name, table in verdict.tables.items()},
            **page_link(check.page),
        },
    }


def markdown(table: Table) -> dg.MarkdownMetadataValue:
    """A table; other people's text cannot break out of its cell."""
    lines = [_line(table.header), "|" + " --- |" * len(table.header), *map(_line, table.rows)]
    return dg.MetadataValue.md("\n".join(lines))


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(_cell(cell) for cell in cells) + " |"


def _cell(text: str) -> str:
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("\n", " ").replace("<", "&lt;")
