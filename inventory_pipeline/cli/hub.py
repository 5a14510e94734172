"""Commands about a hub folder alone: nothing runs, and nothing is sent."""

from enum import StrEnum
from typing import Annotated

import typer

from inventory_pipeline.cli.common import AsJson, HubFolder, print_json
from inventory_pipeline.core.wording import counted


class Output(StrEnum):
    """How `evaluate` prints."""

    CSV = "csv"
    JSON = "json"
    TEXT = "text"


commands = typer.Typer()


@commands.command(epilog="Example: inventory-pipeline check examples/first-hub")
def check(hub: HubFolder, as_json: AsJson = False) -> None:
    """Look at a hub folder and say everything that is wrong with it, with file and line.

    Ends with 0 if it can be used, with 2 if not; warnings alone end with 0.
    """
    from inventory_pipeline.config.load import check_hub
    from inventory_pipeline.flow.connecting import connector_findings
    from inventory_pipeline.up.demo import checked_folder
    from inventory_pipeline.up.reports import print_findings

    with checked_folder(hub) as (folder, environ):
        loaded, findings = check_hub(folder, environ)
        if loaded is not None:
            found = connector_findings(loaded)
            if any(finding.severity == "error" for finding in found):
                loaded = None
            if loaded is None or folder == hub:  # an example's files come when it is started
                findings = [*findings, *found]
    if as_json:
        listed = [
            {
                "file": f.file, "line": f.line, "message": f.message, "value": f.value,
                "severity": f.severity,
            }
            for f in findings
        ]  # fmt: skip
        print_json({"usable": loaded is not None, "findings": listed})
    else:
        print_findings(findings)
        if loaded is not None:
            typer.echo(
                f"{loaded.name}: {counted(len(loaded.systems), 'system')}, "
                f"{counted(len(loaded.channels), 'channel')}, "
                f"{counted(len(loaded.rules), 'rule')}, "
                f"{counted(len(loaded.catalog.items), 'item')}. It can be used."
            )
    if loaded is None:
        raise typer.Exit(2)


@commands.command(
    epilog="Example: inventory-pipeline evaluate myhub --as-of 2026-03-02T10:00:00Z --explain"
)
def evaluate(
    hub: HubFolder,
    *,
    as_of: Annotated[
        str, typer.Option("--as-of", help="ISO 8601 with an offset; what is later does not count.")
    ] = "",
    output: Annotated[
        Output,
        typer.Option("--format", help="text explains each number on lines of its own, for people."),
    ] = Output.CSV,
    explain: Annotated[
        bool, typer.Option("--explain", help="Every term of the waterfall, and the rules.")
    ] = False,
    sku: Annotated[str, typer.Option(help="Only this one.")] = "",
    channel: Annotated[str, typer.Option(help="Only this one.")] = "",
    strict: Annotated[
        bool,
        typer.Option("--strict", help="End with 3 if something was left out or is missing."),
    ] = False,
) -> None:
    """Say what every channel may sell, from the hub folder's files alone: nothing runs or is sent.

    Reads systems whose connector is `files`. The error output says what was left
    out (rejected snapshots, rows in quarantine) and what is missing (a glob
    without files, a system of which nothing was known yet).

    Ends with 0 all the same; with --strict it ends with 3 then, for scripts that
    need every row to count. Ends with 2 if nothing could be computed.
    """
    from inventory_pipeline.flow.evaluate import evaluate as run
    from inventory_pipeline.up.reports import print_evaluation, print_left_out

    result = run(hub, as_of=as_of, sku=sku, channel=channel, told=output is Output.TEXT)
    if output is Output.TEXT:
        from inventory_pipeline.cli.why_text import print_told

        print_told(result)
    else:
        print_evaluation(result, output=output.value, explain=explain)
    print_left_out(result)
    if strict and result.incomplete:
        raise typer.Exit(3)


@commands.command(epilog="Example: inventory-pipeline schema > hub.schema.json")
def schema() -> None:
    """Print the JSON Schema of hub.yaml, for editors that complete and check while one writes."""
    from inventory_pipeline.config.schema import json_schema

    print_json(json_schema())
