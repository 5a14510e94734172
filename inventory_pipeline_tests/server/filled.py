"""Rows of every kind that a page shows, as they stand in Postgres after some hours of work."""

from datetime import timedelta
from pathlib import Path

from psycopg.types.json import Jsonb

from inventory_pipeline.config.catalog import catalog_files
from inventory_pipeline.config.load import load_hub
from inventory_pipeline.core.breaker import Breaker
from inventory_pipeline.memory import audit, breakers, periods
from inventory_pipeline.memory.postgres import Postgres
from inventory_pipeline_tests.server.conftest import NOW

LISTINGS = 60


def fill(pg: Postgres, folder: Path | None = None) -> None:
    """Two channels, one with trouble; feeds, one failing; quarantine and all the rest.

    With the hub's folder its rules and catalogue count from the beginning, so that skus can be
    explained.
    """
    with pg.connection() as c:
        if folder is not None:
            _versions(c, folder)
        _ledger(c)
        _outbox(c)
        _attempts(c)
        _feeds(c)
        _variances(c)
        c.execute("UPDATE hub.counter SET ledger_offset = 12345")
        c.execute(
            "UPDATE hub.sync_cursor SET ledger_offset = 12340, computed_at = %s",
            (NOW - timedelta(seconds=4),),
        )
        c.execute("ANALYZE")
    with pg.connection() as c:
        for _ in range(5):  # a day in steps
            periods.roll(c, at=NOW)


def fill_trouble(pg: Postgres) -> None:
    """An open breaker, held rows, a day of pushes, closed variances, and what people did."""
    with pg.connection() as c:
        breakers.store(
            c,
            Breaker(
                channel="market", state="open", since=NOW - timedelta(minutes=7), failures=5,
                why="market: write_levels: 503 Service Unavailable from the shop's own server",
                probes=2, next_probe_at=NOW + timedelta(seconds=40),
            ),
        )  # fmt: skip
        c.execute(
            "INSERT INTO hub.holds (channel, bucket, external_id, sku, state, from_milli,"
            " from_offset, from_at, desired_milli, why, held_at)"
            " SELECT channel, bucket, external_id, sku, 'held', base_milli, desired_offset, %(at)s,"
            " desired_milli, '41 of 60 listings would move by more than 50 %%: more than 20 %%',"
            " %(at)s FROM hub.outbox WHERE channel = 'web' AND desired_milli > 40000"
            " ORDER BY external_id LIMIT 12",
            {"at": NOW - timedelta(minutes=18)},
        )
        c.execute(
            "INSERT INTO hub.limits (system, name, declared, capacity, per_second, window_s, level,"
            " as_of, quiet_until) VALUES ('shop', 'cost', '{2000,100,0}', 2000, 100, 0,"
            " 1700, clock_timestamp(), '-infinity'), ('shop', 'orders', '{40,2,0}', 40, 2, 0,"
            " 3, clock_timestamp(), clock_timestamp() + interval '1 hour')"
        )
        _a_day_of_pushes(c)
        c.execute(
            "INSERT INTO hub.variances (comparison, channel, bucket, external_id, sku,"
            " expected_milli, found_milli, cause, evidence, first_seen, last_seen, closed_at, heal,"
            " healed_at) SELECT 'channel', 'web', 'main', 'gid://' || n, 'SKU-0' || n, 8000, 9000,"
            ' \'lost_update\', \'{"attempt": "k7", "before": 9}\','
            " %(at)s - n * interval '9 hours', %(at)s - n * interval '8 hours',"
            " %(at)s - n * interval '8 hours', 'repush', %(at)s - n * interval '8 hours'"
            " FROM generate_series(10, 40) n",
            {"at": NOW},
        )
        c.execute(
            "INSERT INTO hub.variances (comparison, channel, bucket, external_id, sku,"
            " expected_milli, found_milli, cause, evidence, first_seen, last_seen)"
            " SELECT 'channel', 'market', 'main', 'gid://lost/' || n, 'SKU-0' || n, 8000, 9000,"
            " 'lost_update', '{}',"
            " %(at)s - n * interval '2 minutes', %(at)s FROM generate_series(10, 45) n",
            {"at": NOW},
        )
        for number, (action, subject) in enumerate(
            [("token.create", "maria"), ("login", "maria"), ("guard.release", "web")]
        ):
            audit.record(
                c, by="maria", action=action, subject=subject,
                detail={"reason": "checked with the warehouse: the recount is right",
                        "columns": ["bucket"], "rows": [["main", "gid://1", "SKU-001", 1000, 0]]}
                if action.startswith("guard") else {"role": "approve"},
                at=NOW - timedelta(minutes=30 - number),
            )  # fmt: skip
    with pg.connection() as c:
        c.execute("UPDATE hub.periods_cursor SET rolled_to = NULL")
        for _ in range(6):
            periods.roll(c, at=NOW)


def _a_day_of_pushes(c) -> None:
    c.execute(
        """
        INSERT INTO hub.attempts (key, channel, bucket, external_id, sku, epoch, quantity_milli,
            desired_offset, policy_version, mode, occurred_at, received_at, computed_at, sent_at,
            answered_at, outcome)
        SELECT 'day' || n, channel, 'main', 'day' || n, 'DAY-' || n, 1, 5000, 1, 1, 'live',
               sent - slow, sent - slow, sent, sent, sent + slow / 3,
               CASE WHEN n % 37 = 0 THEN 'busy' ELSE 'acked' END
        FROM (
            SELECT n, channel, %(at)s - n * interval '50 seconds' AS sent,
                   make_interval(secs => (0.35 + 0.2 * sin(n / 200.0) + (n * 7919 %% 100) / 300.0)
                       * CASE WHEN n BETWEEN 900 AND 1000 THEN 20 ELSE 1 END) AS slow
            FROM generate_series(60, 1690) n, (VALUES ('web'), ('market')) AS v(channel)
            WHERE channel = 'web' OR n % 3 = 0
        ) AS made
        """.replace("n % ", "n %% "),
        {"at": NOW},
    )


def _versions(c, folder: Path) -> None:
    hub = load_hub(folder)
    c.execute(
        "INSERT INTO hub.policy_versions VALUES (1, %s, 0, %s, 'test', %s)",
        (hub.policy_hash, NOW - timedelta(days=1), (folder / "hub.yaml").read_text()),
    )
    c.execute(
        "INSERT INTO hub.mapping_versions VALUES (1, %s, 0, %s, %s)",
        (hub.catalog_hash, NOW - timedelta(days=1), Jsonb(catalog_files(folder))),
    )


def _ledger(c) -> None:
    for number in range(1, 41):
        at = NOW - timedelta(minutes=41 - number)
        c.execute(
            "INSERT INTO hub.ledger (ledger_offset, kind, system, event_id, type, occurred_at,"
            " received_at, item, sku, quantity_milli, location, order_id, line_id, channel,"
            " mapping_version, source, position) VALUES"
            " (%s, 'event', %s, %s, %s, %s, %s, 'SHIRT-S', 'SHIRT-S', %s, %s, %s, %s, %s, 1,"
            " %s, %s)",
            (
                number, "shop" if number % 3 else "wms", f"e{number}",
                "order_placed" if number % 3 else "goods_received", at, at + timedelta(seconds=1),
                2000 if number % 3 else 24_000, None if number % 3 else "dc",
                f"100{number}" if number % 3 else None, "1" if number % 3 else None,
                "web" if number % 3 else None, "webhook orders/create", str(number),
            ),
        )  # fmt: skip


def _outbox(c) -> None:
    for number in range(LISTINGS):
        for channel in ("web", "market"):
            trouble = channel == "market" and number < 3
            c.execute(
                "INSERT INTO hub.outbox (channel, bucket, external_id, bucket_external, sku,"
                " units_milli, desired_milli, desired_offset, policy_version, mapping_version,"
                " computed_at, base_milli, base_kind, base_sent_at, base_answered_at, look,"
                " failure, dead_at) VALUES (%s, 'main', %s, '', %s, 1000, %s, %s, 1, 1, %s, %s,"
                " 'write', %s, %s, %s, %s, %s)",
                (
                    channel, f"gid://shopify/InventoryItem/{4400 + number}",
                    "SHIRT-S" if number == 0 else f"SKU-{number:03}", 28_000 + number * 1000,
                    12_300 + number % 40, NOW - timedelta(minutes=5), 28_000, NOW, NOW,
                    channel == "market" and number % 10 == 0,
                    "market: write_levels [4400]: the listing is archived" if trouble else None,
                    NOW if trouble and number == 0 else None,
                ),
            )  # fmt: skip


def _attempts(c) -> None:
    outcomes = ["acked"] * 8 + ["stale", "refused", "unknown", None]
    for number in range(36):
        sent = NOW - timedelta(seconds=40 * number + 5)
        outcome = outcomes[number % len(outcomes)]
        c.execute(
            "INSERT INTO hub.attempts (key, channel, bucket, external_id, sku, epoch,"
            " quantity_milli, desired_offset, policy_version, mode, occurred_at, received_at,"
            " computed_at, sent_at, answered_at, outcome, error)"
            " VALUES (%s, 'web', 'main', %s, %s, 1, %s, 1, 1, 'live', %s, %s, %s, %s, %s, %s, %s)",
            (
                f"k{number}", f"gid://shopify/InventoryItem/{4400 + number}",
                "SHIRT-S" if number % 2 else f"SKU-{number:03}", 1_250_500 if number == 1 else 8000,
                sent - timedelta(milliseconds=400 + 20 * number), sent, sent, sent,
                sent + timedelta(milliseconds=120) if outcome else None, outcome,
                "shop: inventorySetQuantities: the item is not stocked there"
                if outcome == "refused" else None,
            ),
        )  # fmt: skip


def _feeds(c) -> None:
    c.execute(
        "INSERT INTO hub.feeds (system, feed, read_at, as_of, failed_at, failure) VALUES"
        " ('wms', 'changes', %(read)s, %(read)s, NULL, NULL),"
        " ('shop', 'changes', %(old)s, NULL, %(read)s,"
        "  'shop: poll orders: no answer within 10 s\n  What to do: nothing, it is asked again')",
        {"read": NOW - timedelta(seconds=9), "old": NOW - timedelta(minutes=12)},
    )
    for status, reason, message, minutes in (
        ("accepted", None, None, 55),
        ("rejected", "max_drop", "41 % fewer rows than the last one; max_drop is 20 %", 10),
    ):
        c.execute(
            "INSERT INTO hub.snapshots (system, feed, source, key, as_of, status, reason, message,"
            " data_rows, quarantined_rows, landed_at) VALUES"
            " ('wms', 'wms', %(key)s, %(key)s, %(at)s, %(status)s, %(reason)s, %(message)s, 1840,"
            " 2,"
            " %(at)s)",
            {
                "key": f"landing/2026-03-02-{minutes}.csv", "at": NOW - timedelta(minutes=minutes),
                "status": status, "reason": reason, "message": message,
            },
        )  # fmt: skip
    for number in range(3):
        c.execute(
            "INSERT INTO hub.quarantine (system, kind, source, position, reason, message, raw,"
            " received_at) VALUES ('wms', 'snapshot_row', 'landing/2026-03-02-55.csv', %s,"
            " 'unknown_item', %s, %s, %s)",
            (
                f"line {number + 2}", "no item of the catalogue has this identifier",
                f'2026-03-02T11:05:00Z,1,<script>alert({number})</script>,40,1,0', NOW,
            ),
        )  # fmt: skip


def _variances(c) -> None:
    for number in range(4):
        c.execute(
            "INSERT INTO hub.variances (comparison, channel, bucket, external_id, sku,"
            " expected_milli, found_milli, cause, evidence, first_seen, last_seen, heal)"
            " VALUES ('channel', 'market', 'main', %s, %s, %s, %s, %s, %s, %s, %s, %s)",
            (
                f"gid://shopify/InventoryItem/{4400 + number}",
                "SHIRT-S" if number == 0 else f"SKU-{number:03}", 28_000, 31_000 - number * 1000,
                "external_edit" if number < 3 else "not_listed", Jsonb({}),
                NOW - timedelta(hours=5 - number), NOW, "repush" if number < 2 else None,
            ),
        )  # fmt: skip
