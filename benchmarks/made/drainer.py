"""A sync run without Dagster around it: `python -m benchmarks.made.drainer HUB STATE URL MAX_S`.

Drains until it is told to end (memory/sync.py) or MAX_S are over; says then how many cycles it made
and what they cost, as one line of JSON.
"""

import json
import sys
import time
from datetime import timedelta
from pathlib import Path

from inventory_pipeline.flow.context import open_context
from inventory_pipeline.flow.drain import drain


def main() -> None:
    folder, state, url, max_s = sys.argv[1:]
    ctx = open_context(Path(folder), Path(state), url)
    before = time.process_time()
    life = timedelta(seconds=float(max_s))
    computed: list[float] = []
    report = drain(
        ctx,
        idle=life,
        max_run=life,
        report=lambda cycles, _: computed.extend(one.compute_s + one.store_s for one in cycles),
        holder="benchmark",
    )
    spent = time.process_time() - before
    said = {
        "ended": report.ended,
        "cycles": len(computed),
        "events": report.events,
        "cpu_s": spent,
        "cycle_s": sorted(computed)[len(computed) // 2] if computed else 0,
    }
    print(json.dumps(said), flush=True)
    ctx.close()


if __name__ == "__main__":
    main()
