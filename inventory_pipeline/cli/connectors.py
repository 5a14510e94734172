"""Commands about the systems: which connectors there are, and what one system answers."""

import os
from collections.abc import Iterable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from inventory_pipeline.cli.common import AsJson, NoDemo, State, fields, print_json
from inventory_pipeline.core.errors import HubError
from inventory_pipeline.core.quantities import from_milli
from inventory_pipeline.core.wording import counted

if TYPE_CHECKING:
    from inventory_pipeline.config.secrets import Secret
    from inventory_pipeline.connectors import Offer
    from inventory_pipeline.connectors.tracing import Exchange
    from inventory_pipeline.core.ports import Capabilities
    from inventory_pipeline.flow.probe import ProbeReport, Reading

commands = typer.Typer()


@commands.command(name="connectors", epilog="Example: inventory-pipeline connectors --json")
def list_connectors(as_json: AsJson = False) -> None:
    """List the connectors that hub.yaml can name, built in and installed, with what each can do."""
    from inventory_pipeline.connectors import offers

    found = list(offers())
    if as_json:
        print_json({"connectors": [_as_json(offer) for offer in found]})
        return
    width = max(len(offer.name) for offer in found)
    for offer in found:
        typer.echo(f"{offer.name:<{width}}  {_told(offer)}")


@commands.command(epilog="Example: inventory-pipeline probe shop myhub --trace")
def probe(
    system: Annotated[
        str, typer.Argument(metavar="SYSTEM", show_default=False, help="Its name in hub.yaml.")
    ],
    hub: Annotated[
        Path | None,
        typer.Argument(
            metavar="[HUB]", envvar="HUB_FOLDER", show_default=False,
            help="The hub folder; by default the current one, or examples/first-hub.",
        ),
    ] = None,
    *,
    state: State = None,
    trace: Annotated[
        bool,
        typer.Option("--trace", help="Show each request and its answer, with secrets masked."),
    ] = False,
    as_json: AsJson = False,
    no_demo: NoDemo = False,
) -> None:  # fmt: skip
    """Try a system out: are the credentials right, is the mapping complete, does a read work?

    Reads the hub folder and the system, writes nothing anywhere, and needs no
    database. Ends with 0 if every read worked, with 2 if one did not.
    """
    from inventory_pipeline.cli.postgres import nearest_hub
    from inventory_pipeline.config.load import load_hub
    from inventory_pipeline.connectors import build
    from inventory_pipeline.connectors.tracing import tracing
    from inventory_pipeline.core.ports import Opening
    from inventory_pipeline.flow.connecting import external_ids
    from inventory_pipeline.flow.probe import probe as run
    from inventory_pipeline.flow.times import utc_now
    from inventory_pipeline.up.demo import saved_environment
    from inventory_pipeline.up.folders import folders_of

    folders = folders_of(hub or nearest_hub(), state, demo=not no_demo)
    os.environ.update(saved_environment(folders))
    loaded = load_hub(folders.hub)
    if system not in loaded.systems:
        raise HubError(
            f"hub.yaml has no system {system!r}",
            hint=f"name one of {', '.join(loaded.systems)}.",
        )
    policy = loaded.systems[system]
    opening = Opening(
        system=system,
        options=policy.options,
        hub_folder=str(loaded.folder),
        external_ids=external_ids(loaded, system),
    )
    if trace:
        with tracing(_show, _secrets(policy.options)):
            connector = build(opening, policy.connector)
    else:
        connector = build(opening, policy.connector)
    try:
        report = run(loaded, connector, now=utc_now())
    finally:
        connector.close()
    if as_json:
        print_json(fields(report) | {"usable": report.usable})
    else:
        _print_report(report)
    if not report.usable:
        raise typer.Exit(2)


def _as_json(offer: "Offer") -> dict[str, Any]:
    from dataclasses import asdict

    able = offer.capabilities
    row = {"name": offer.name, "origin": offer.origin, "problem": offer.problem}
    if able is None:
        return row | {"capabilities": None}
    listed = asdict(able) | {"restores_on": sorted(able.restores_on)}
    if able.idempotency is not None:
        listed["idempotency"] = int(able.idempotency.total_seconds())
    return row | {"capabilities": listed}


def _told(offer: "Offer") -> str:
    """What a connector can do, in one line."""
    origin = "" if offer.origin == "built in" else f" [{offer.origin}]"
    if offer.problem:
        return f"cannot be loaded: {offer.problem}{origin}"
    if offer.capabilities is None:
        return f"what it can do depends on its options{origin}"
    return "; ".join(_abilities(offer.capabilities)) + origin


def _abilities(able: "Capabilities") -> Iterator[str]:
    reads = [name for name in ("snapshots", "changes", "webhooks", "levels") if getattr(able, name)]
    yield f"reads {', '.join(reads)}" if reads else "reads nothing"
    if able.write == "none":
        yield "writes nothing"
        return
    yield f"writes {able.basis} ({able.write})"
    if able.compare_and_swap:
        yield "compares and swaps"
    if able.idempotency is not None:
        yield f"remembers keys for {_duration(able.idempotency)}"
    if able.batch_size > 1:
        alone = "all or nothing" if able.atomic_batch else "each alone"
        yield f"batches of {able.batch_size}, {alone}"
    if able.completion != "sync":
        yield "answers before it has applied"
    yield from _limits(able)
    if able.moves_at != "none":
        gives_back = f", gives back on {', '.join(sorted(able.restores_on))}"
        yield f"lowers its number at the {able.moves_at}{gives_back if able.restores_on else ''}"


def _limits(able: "Capabilities") -> Iterator[str]:
    if able.revisions_per_day is not None:
        yield f"{able.revisions_per_day} changes of a listing a day"
    if able.least_milli > 0 or able.most_milli is not None:
        most = "" if able.most_milli is None else f" to {from_milli(able.most_milli):f}"
        yield f"takes numbers from {from_milli(able.least_milli):f}{most}"
    if not able.takes_zero:
        yield "takes no zero"
    if able.one_write_at_a_time:
        yield "one write at a time"


def _duration(time: timedelta) -> str:
    hours = time.total_seconds() / 3600
    return f"{hours:g} h"


def _print_report(report: "ProbeReport") -> None:
    typer.echo(
        f"{report.system} ({report.connector}): {'; '.join(_abilities(report.capabilities))}"
    )
    for reading in report.readings:
        for line in _lines(reading):
            typer.echo(line)
    if not report.readings:
        typer.echo("  it offers nothing to read, so there is nothing to try")
    typer.echo("Nothing was written." if report.usable else "Nothing was written; not all is well.")


def _lines(reading: "Reading") -> Iterable[str]:
    took = f"{reading.seconds:.2f} s"
    if reading.problem:
        yield f"  {reading.what}: FAILED after {took}"
        yield from (f"    {line.strip()}" for line in reading.problem.splitlines())
    else:
        cut = "" if reading.whole else ", and there are more"
        read = f"{counted(reading.rows, 'row')}{cut} in {took}"
        rows = "" if reading.what == "webhooks" else read
        yield f"  {reading.what}: {'; '.join(part for part in (rows, reading.said) if part)}"
    for one in reading.coverage:
        left = one.unknown - len(one.samples)
        more = f" and {left:,} more" if left else ""
        unknown = f"; unknown: {', '.join(one.samples)}{more}" if one.unknown else ""
        yield f"    {one.what}: {one.known:,} of {one.known + one.unknown:,} known{unknown}"
    for reason, count, example in reading.quarantined:
        yield f"    would go to quarantine: {count:,} {reason} (as: {example})"


def _secrets(options: object) -> Iterator["Secret"]:
    """Every secret in a system's options, however deep."""
    from inventory_pipeline.config.secrets import Secret

    if isinstance(options, Secret):
        yield options
    elif isinstance(options, dict):
        for value in options.values():
            yield from _secrets(value)
    elif isinstance(options, list | tuple):
        for value in options:
            yield from _secrets(value)


def _show(exchange: "Exchange | str") -> None:
    """One call on the error output, so that --json stays one value."""
    if isinstance(exchange, str):
        typer.echo(f"    {exchange}", err=True)
        return
    typer.echo(f"> {exchange.request}", err=True)
    for line in exchange.request_headers:
        typer.echo(f">   {line}", err=True)
    if exchange.request_body:
        typer.echo(f">   {exchange.request_body}", err=True)
    typer.echo(f"< {exchange.status} in {exchange.seconds:.2f} s", err=True)
    for line in exchange.answer_headers:
        typer.echo(f"<   {line}", err=True)
    if exchange.answer_body:
        typer.echo(f"<   {exchange.answer_body}", err=True)
