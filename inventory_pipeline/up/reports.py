"""What the command line prints."""

import csv
import json
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from inventory_pipeline.core.errors import Finding
from inventory_pipeline.core.quantities import from_milli

if TYPE_CHECKING:
    from inventory_pipeline.flow.evaluate import Evaluation
    from inventory_pipeline.flow.reconcile import ReconcileReport

MAX_VARIANCES = 20


def print_findings(findings: Sequence[Finding]) -> None:
    from rich.console import Console

    console = Console(highlight=False, soft_wrap=True)
    for finding in findings:
        style = "red" if finding.severity == "error" else "yellow"
        console.print(f"{finding.severity}: {finding}", style=style, markup=False)


def comparison_text(report: "ReconcileReport") -> str:
    from inventory_pipeline.server.present import quantity

    if report.skipped:
        return f"{report.channel}: not compared: {report.skipped}"
    lines = [
        f"{report.channel}: {report.compared:,} listings compared, {len(report.variances):,} differ"
    ]
    lines += [
        f"  {v.sku or v.external_id}: must show {quantity(v.expected_milli)},"
        f" shows {quantity(v.found_milli)} ({v.cause})"
        for v in report.variances[:MAX_VARIANCES]
    ]
    if len(report.variances) > MAX_VARIANCES:
        lines.append(
            f"  … and {len(report.variances) - MAX_VARIANCES:,} more: see the page Variances"
        )
    return "\n".join(lines)


# Of the waterfall's columns, those that say how a run went rather than what a number is.
_STAMPS = ("policy_version", "mapping_version", "ledger_offset", "computed_at")


def print_evaluation(result: "Evaluation", *, output: str, explain: bool) -> None:
    """CSV or JSON on standard output."""
    rows = [_explained(row) if explain else _short(row) for row in result.rows]
    if output == "json":
        sys.stdout.write(json.dumps(rows, indent=2) + "\n")
    else:
        names = list(rows[0]) if rows else list(_SHORT)
        writer = csv.DictWriter(sys.stdout, names, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def print_left_out(result: "Evaluation") -> None:
    """What did not count and what is missing, on the error output."""
    for line in _left_out(result):
        sys.stderr.write(f"{line}\n")


def _left_out(result: "Evaluation") -> list[str]:
    """What is missing, and what did not count, each kind once with an example."""
    lines = [f"missing: {doubt}" for doubt in result.missing]
    lines += [f"rejected: {r.source} ({r.reason}): {r.message}" for r in result.rejected]
    examples = {(bad.reason, bad.system): bad for bad in reversed(result.bad)}
    counts = Counter((bad.reason, bad.system) for bad in result.bad)
    for (reason, system), bad in sorted(examples.items()):
        place = f"{bad.source}:{bad.position}"
        count = counts[reason, system]
        lines.append(f"quarantined: {count} of {system}: {reason}, as {place}: {bad.message}")
    if result.skipped:
        lines.append(f"not in files, so not counted: {', '.join(result.skipped)}")
    return lines


_SHORT = ("channel", "bucket", "sku", "available")


def _short(row: Mapping[str, Any]) -> dict[str, str]:
    values = (row["channel"], row["bucket"], row["sku"], str(from_milli(row["desired_milli"])))
    return dict(zip(_SHORT, values, strict=True))


def _explained(row: Mapping[str, Any]) -> dict[str, Any]:
    """Every term in base units and the rules that won, the channel's own number last."""
    terms: dict[str, Any] = {}
    for name, value in row.items():
        if name in _STAMPS or name == "desired_milli":
            continue
        if name.endswith("_milli"):
            terms[name.removesuffix("_milli")] = None if value is None else str(from_milli(value))
        else:
            terms[name] = value.isoformat() if isinstance(value, datetime) else value
    terms["available_in_base_units"] = terms.pop("available")
    return {**terms, "available": str(from_milli(row["desired_milli"]))}
