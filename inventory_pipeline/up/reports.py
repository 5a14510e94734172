"""What the command line prints for people."""

from collections.abc import Sequence

from inventory_pipeline.core.errors import Finding
from inventory_pipeline.flow.reconcile import ReconcileReport
from inventory_pipeline.server.present import latency, percent, quantity
from inventory_pipeline.server.rows import ChannelState, SyncState

MAX_VARIANCES = 20


def print_findings(findings: Sequence[Finding]) -> None:
    from rich.console import Console

    console = Console(highlight=False, soft_wrap=True)
    for finding in findings:
        style = "red" if finding.severity == "error" else "yellow"
        console.print(f"{finding.severity}: {finding}", style=style, markup=False)


def comparison_text(report: ReconcileReport) -> str:
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


def print_status(sync: SyncState, channels: Sequence[ChannelState]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for name in ("channel", "listings", "in sync", "waiting", "failing", "variances", "p50", "p95"):
        table.add_column(name, justify="left" if name == "channel" else "right")
    for c in channels:
        table.add_row(
            c.channel, f"{c.listings:,}", percent(c.in_sync, c.listings), f"{c.waiting:,}",
            f"{c.failed + c.dead:,}", f"{c.open_variances:,}", latency(c.p50_s), latency(c.p95_s),
        )  # fmt: skip
    console = Console(highlight=False)
    console.print(table)
    behind = "up to date" if sync.behind == 0 else f"{sync.behind:,} entries behind"
    console.print(
        f"ledger at {sync.ledger_head:,}, numbers {behind}, {sync.inbox_waiting:,} webhooks waiting"
    )
