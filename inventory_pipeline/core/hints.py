"""Whether what a channel tells of a listing is news (SEMANTICS §8). Pure; thousandths of its unit.

A told number is never believed: at most it is a reason to read.
"""

from datetime import datetime, timedelta

from inventory_pipeline.core.outbox import OutboxRow

# Channels date their changes in whole seconds, and by their own clocks.
ROUNDED = timedelta(seconds=5)


def is_news(
    row: OutboxRow, *, told_milli: int | None, told_at: datetime | None, skew: timedelta
) -> bool:
    """Whether the listing is to be read because of a hint.

    Not where it tells what the channel must be showing (the echo of a write, or of an order that is
    counted), nor where it is of a time before the newest write or reading.
    """
    base_at = row.base_sent_at
    if told_at is not None and base_at is not None and told_at + skew + ROUNDED < base_at:
        return False
    return told_milli is None or told_milli != row.showing_milli
