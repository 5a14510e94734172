"""How it is done simply: a Dagster sensor that starts a run for each event, and a run that sends.

EVENTS names a folder with a file for each event, SHOP_URL the shop's address. Everything else is
Dagster's default, but that the sensor is looked at as often as the daemon can, and that a run stays
in its own process: both make it faster.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import dagster as dg


@dg.op(config_schema={"item": int})
def send(context: dg.OpExecutionContext) -> None:
    import httpx

    from benchmarks.made.merchant import LOCATION, STOCK
    from inventory_pipeline.connectors.shopify_documents import API_VERSION, SET_QUANTITIES

    item = context.op_config["item"]
    quantity = {
        "inventoryItemId": f"gid://shopify/InventoryItem/{item}",
        "locationId": LOCATION,
        "quantity": STOCK - 1,
        "changeFromQuantity": None,
    }
    wanted = {"name": "available", "reason": "correction", "quantities": [quantity]}
    body = {"query": SET_QUANTITIES, "variables": {"input": wanted, "key": str(item)}}
    path = f"/admin/api/{API_VERSION}/graphql.json"
    httpx.post(os.environ["SHOP_URL"] + path, json=body, trust_env=False).raise_for_status()


@dg.job(executor_def=dg.in_process_executor)
def send_event() -> None:
    send()


@dg.sensor(
    job=send_event,
    minimum_interval_seconds=1,
    default_status=dg.DefaultSensorStatus.RUNNING,
)
def a_run_per_event(_context: dg.SensorEvaluationContext) -> Iterator[dg.RunRequest]:
    for file in sorted(Path(os.environ["EVENTS"]).iterdir()):
        config = dg.RunConfig(ops={"send": {"config": {"item": int(file.name)}}})
        yield dg.RunRequest(run_key=file.name, run_config=config)


defs = dg.Definitions(jobs=[send_event], sensors=[a_run_per_event])
