"""Reports of the flow as Dagster metadata: numbers stay numbers, so that the UI plots them."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import dagster as dg

from inventory_pipeline.core.ledger import IngestCount
from inventory_pipeline.defs.common import ROW_COUNT

if TYPE_CHECKING:
    from inventory_pipeline.flow.land import LandReport
    from inventory_pipeline.flow.push import PushReport
    from inventory_pipeline.flow.reconcile import ReconcileReport


def metadata(report: Any) -> dict[str, Any]:
    """The fields of a report that are numbers, texts, times or counts by name."""
    assert is_dataclass(report)
    found: dict[str, Any] = {}
    for field in fields(report):
        value = _plain(getattr(report, field.name))
        if value is not None:
            found[field.name] = value
    return found


def _plain(value: Any) -> Any:
    match value:
        case bool() | int() | float():
            return value
        case str():
            return str(value) or None
        case datetime():
            return dg.MetadataValue.timestamp(value)
        case timedelta():
            return value.total_seconds()
        case Mapping() if value and all(isinstance(part, int) for part in value.values()):
            return dg.MetadataValue.json(dict(value))
        case _:
            return None


def push_metadata(report: "PushReport") -> dict[str, Any]:
    """Counts are listings; latency is from receiving the event to the channel's acknowledgement."""
    found = metadata(report)
    if report.latency_s:
        found["latency_p50_seconds"] = percentile(report.latency_s, 50)
        found["latency_p95_seconds"] = percentile(report.latency_s, 95)
        found["latency_p99_seconds"] = percentile(report.latency_s, 99)
    return found


def land_metadata(report: "LandReport") -> dict[str, Any]:
    """Counts of files, snapshots and rows."""
    return {
        ROW_COUNT: report.rows,
        **metadata(report),
        "snapshots_accepted": len(report.accepted),
        "snapshots_rejected": len(report.rejected),
        **({"quarantined_by_reason": report.reasons} if report.reasons else {}),
        **({"rejections": report.rejections} if report.rejections else {}),
    }


def events_metadata(count: IngestCount) -> dict[str, Any]:
    """Counts of events by what became of them."""
    return {
        "events_accepted": count.accepted,
        "events_duplicate": count.duplicates,
        "events_conflicting": count.conflicting,
        "events_quarantined": count.quarantined,
    }


def reconcile_metadata(report: "ReconcileReport") -> dict[str, Any]:
    """Counts of listings (or cells), and of variances by cause."""
    causes = Counter(str(variance.cause) for variance in report.variances)
    return {
        **metadata(report),
        "variances": len(report.variances),
        **({"causes": dict(sorted(causes.items()))} if causes else {}),
    }


def percentile(values: Iterable[float], percent: int) -> float:
    """The least of `values` that `percent` of them do not exceed, to the millisecond."""
    ordered = sorted(values)
    place = -(-len(ordered) * percent // 100) - 1
    return round(ordered[max(0, place)], 3)
