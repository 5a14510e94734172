"""`GET /metrics` for Prometheus: asked of Postgres at every scrape, as cheap as a page."""

from collections.abc import Iterator
from typing import Any

from fastapi import APIRouter
from fastapi.responses import Response
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from inventory_pipeline.config.policy import Hub
from inventory_pipeline.server import variance_queries
from inventory_pipeline.server.render import PageContext
from inventory_pipeline.server.rows import Group
from inventory_pipeline.server.wellbeing import Wellbeing

OUTCOMES = ("accepted", "duplicates", "conflicting", "quarantined")  # of hub.intake
CONTENT_TYPE = "text/plain; version=1.0.0; charset=utf-8; escaping=underscores"


def metrics_router(page: PageContext) -> APIRouter:
    """One route, in Prometheus' text format."""
    router = APIRouter(tags=["health"])

    @router.get(
        "/metrics",
        summary="Metrics for Prometheus",
        response_class=Response,
        responses={
            200: {"content": {"text/plain": {"schema": {"type": "string"}}}},
            401: {"description": "a token is needed"},
            403: {"description": "this came from another site's page"},
            503: {"description": "Postgres does not answer"},
        },
    )
    def metrics() -> Response:
        hub = page.hub
        with page.pg.connection() as connection:
            well = page.wellbeing(connection)
            groups = variance_queries.groups(connection)
            intake = connection.execute(
                f"SELECT system, {', '.join(OUTCOMES)} FROM hub.intake ORDER BY system"
            ).fetchall()
        registry = CollectorRegistry()
        registry.register(_Told(hub, well, groups, intake))
        return Response(generate_latest(registry), media_type=CONTENT_TYPE)

    return router


class _Told(Collector):
    def __init__(
        self, hub: Hub, well: Wellbeing, groups: list[Group], intake: list[tuple[Any, ...]]
    ) -> None:
        self._intake = intake
        self._hub = hub
        self._well = well
        self._groups = groups

    def collect(self) -> Iterator[Metric]:
        yield from self._of_hub()
        yield from self._of_channels()
        yield from self._of_systems()
        yield self._events()
        yield _gauge(
            "hub_open_variances",
            "Open variances.",
            ["cause"],
            [([g.value], g.count) for g in self._groups if g.name == "cause"],
        )

    def _events(self) -> Metric:
        family = CounterMetricFamily(
            "hub_events", "Events that were read in.", labels=["system", "outcome"]
        )
        for system, *counts in self._intake:
            for outcome, count in zip(OUTCOMES, counts, strict=True):
                family.add_metric([system, outcome], count)
        return family

    def _of_hub(self) -> Iterator[Metric]:
        sync = self._well.sync
        levels = {"good": 0, "warning": 1, "bad": 2}
        for name, says, value in (
            ("hub_status", "0 well, 1 warnings, 2 errors.", levels[self._well.level]),
            ("hub_ledger_offset", "The newest entry of the ledger.", sync.ledger_head),
            ("hub_computed_offset", "The newest entry that is computed.", sync.sync_offset),
            ("hub_behind_entries", "Entries that are not computed yet.", sync.behind),
            ("hub_inbox_waiting", "Webhooks that are not read yet.", sync.inbox_waiting),
        ):
            yield _gauge(name, says, [], [([], value)])

    def _of_channels(self) -> Iterator[Metric]:
        states = [card.state for card in self._well.channels]
        for name, says, values in (
            ("listings", "Listings.", [s.listings for s in states]),
            ("in_sync_listings", "Listings with nothing to do.", [s.in_sync for s in states]),
            ("due_listings", "Listings to look at or to send.", [s.waiting for s in states]),
            ("failing_listings", "Listings whose last attempt failed.", [s.failed for s in states]),
            ("dead_listings", "Listings in the dead letter.", [s.dead for s in states]),
            ("held_listings", "Listings that the guard holds.", [s.held for s in states]),
            ("open_variances", "Open variances.", [s.open_variances for s in states]),
            (
                "breaker_open",
                "1 while nothing is sent.",
                [int(s.breaker is not None and s.breaker.is_open) for s in states],
            ),
            ("pushes_acked_last_hour", "Acked pushes.", [s.acked_last_hour for s in states]),
            ("pushes_failed_last_hour", "Failed pushes.", [s.failed_last_hour for s in states]),
        ):
            yield _gauge(
                f"hub_channel_{name}",
                says,
                ["channel"],
                [([s.channel], v) for s, v in zip(states, values, strict=True)],
            )
        at = self._well.at
        for name, says, since in (
            ("oldest_variance", "Since the oldest open variance opened.", "oldest_variance"),
            ("last_push_age", "Since the newest answer of the channel.", "last_push"),
        ):
            moments = [(s.channel, getattr(s, since)) for s in states]
            yield _gauge(
                f"hub_channel_{name}_seconds",
                says,
                ["channel"],
                [([c], max(0.0, (at - t).total_seconds())) for c, t in moments if t is not None],
            )
        yield _gauge(
            "hub_channel_in_sync_ratio",
            "Share of the listings with nothing to do.",
            ["channel"],
            [([s.channel], s.in_sync / s.listings) for s in states if s.listings],
        )
        yield _gauge(
            "hub_channel_event_to_ack_seconds",
            "From an event to the channel's answer, over the last hour.",
            ["channel", "quantile"],
            [
                ([s.channel, quantile], value)
                for s in states
                for quantile, value in (("0.5", s.p50_s), ("0.95", s.p95_s))
                if value is not None
            ],
        )

    def _of_systems(self) -> Iterator[Metric]:
        at, lines = self._well.at, self._well.systems
        feeds = [feed for line in lines for feed in line.feeds]
        yield _gauge(
            "hub_system_snapshot_age_seconds",
            "Age of the newest accepted snapshot.",
            ["system"],
            [([x.policy.id], x.age.total_seconds()) for x in lines if x.age is not None],
        )
        yield _gauge(
            "hub_system_last_event_age_seconds",
            "Since the newest event.",
            ["system"],
            [
                ([x.policy.id], max(0.0, (at - x.state.last_event_at).total_seconds()))
                for x in lines
                if x.state.last_event_at is not None
            ],
        )
        yield _gauge(
            "hub_system_rejected_snapshots_last_day",
            "Snapshots that were refused whole.",
            ["system"],
            [([x.policy.id], x.state.rejected_last_day) for x in lines],
        )
        yield _gauge(
            "hub_feed_read_age_seconds",
            "Since a feed was read.",
            ["system", "feed"],
            [
                ([feed.system, feed.feed], max(0.0, (at - feed.read_at).total_seconds()))
                for feed in feeds
                if feed.read_at is not None
            ],
        )
        yield _gauge(
            "hub_feed_failing",
            "1 while a feed cannot be read.",
            ["system", "feed"],
            [([feed.system, feed.feed], int(feed.failing)) for feed in feeds],
        )
        yield _gauge(
            "hub_system_quarantined_rows",
            "Rows in quarantine, at most 10,000 of a system.",
            ["system"],
            [([line.policy.id], line.state.quarantined) for line in lines],
        )
        yield _gauge(
            "hub_system_budget_remaining",
            "What may still be asked of a system now.",
            ["system", "limit"],
            [
                ([budget.system, budget.limit], budget.remaining)
                for line in lines
                for budget in line.budgets
                if budget.remaining is not None
            ],
        )


def _gauge(
    name: str, says: str, labels: list[str], values: list[tuple[list[str], float]]
) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, says, labels=labels)
    for names, value in values:
        family.add_metric(names, value)
    return family
