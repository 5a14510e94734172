"""The hub folder, read, checked and frozen: `load_hub` for use, `check_hub` to see everything
wrong.

Light to import: pydantic and PyYAML, nothing else.
"""

import hashlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from inventory_pipeline.config.build import (
    build_alerts,
    build_channels,
    build_locations,
    build_rollout,
    build_rules,
    build_sync,
    build_systems,
    build_tolerances,
)
from inventory_pipeline.config.catalog import (
    catalog_files,
    catalog_hash,
    read_catalog,
    read_catalog_files,
)
from inventory_pipeline.config.draft import Draft, read_draft
from inventory_pipeline.config.findings import POLICY_FILE, Report, did_you_mean
from inventory_pipeline.config.places import check_ownership
from inventory_pipeline.config.policy import Catalog, Hub
from inventory_pipeline.config.schema import json_schema
from inventory_pipeline.config.selectors import SkuRank, parse_sku_selector
from inventory_pipeline.config.yaml_tree import Path as KeyPath
from inventory_pipeline.config.yaml_tree import YamlTree, read_yaml
from inventory_pipeline.core.errors import ConfigInvalid, Finding

__all__ = ["catalog_files", "check_hub", "check_texts", "json_schema", "load_hub", "policy_text"]


def load_hub(folder: Path, environ: Mapping[str, str] = os.environ) -> Hub:
    """The checked policy and catalogue of a hub folder (SEMANTICS §1, §7).

    Raises ConfigInvalid with every error of every file; warnings are not raised (see `check_hub`).
    """
    hub, findings = check_hub(folder, environ)
    errors = [finding for finding in findings if finding.severity == "error"]
    if hub is None or errors:
        raise ConfigInvalid(errors)
    return hub


def check_hub(
    folder: Path, environ: Mapping[str, str] = os.environ
) -> tuple[Hub | None, list[Finding]]:
    """The hub, or None where there are errors, and all findings, warnings too, by file and line."""
    folder = Path(folder)
    report = Report()
    policy = _read_policy(folder, report)
    files = read_catalog_files(folder, report)
    hub = _check(policy, files, folder, environ, report)
    return hub, report.findings()


def check_texts(
    policy: str,
    files: Mapping[str, str],
    *,
    folder: Path,
    environ: Mapping[str, str] = os.environ,
) -> tuple[Hub | None, list[Finding]]:
    """As `check_hub`, of texts that were kept: the rules and the mapping of a past moment.

    `files` are by name, as `catalog_files` gives them; `folder` is what relative paths in options
    stand on.
    """
    report = Report()
    hub = _check(policy, files, Path(folder), environ, report)
    return hub, report.findings()


def policy_text(folder: Path) -> str:
    """hub.yaml as it stands, to keep beside its hash. Raises ConfigInvalid if it is unreadable."""
    report = Report()
    text = _read_policy(Path(folder), report)
    if text is None:
        raise ConfigInvalid(report.findings())
    return text


def _read_policy(folder: Path, report: Report) -> str | None:
    try:
        return (folder / POLICY_FILE).read_bytes().decode("utf-8")
    except FileNotFoundError:
        problem = "has no hub.yaml" if folder.is_dir() else "is not a folder"
        report.error(POLICY_FILE, 0, f"{folder} {problem}: name a hub folder (see examples/)")
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        report.error(POLICY_FILE, line, "is not UTF-8 text here: save the file as UTF-8")
    except OSError as error:
        report.error(POLICY_FILE, 0, f"cannot be read: {error.strerror}")
    return None


def _check(
    policy: str | None,
    files: Mapping[str, str],
    folder: Path,
    environ: Mapping[str, str],
    report: Report,
) -> Hub | None:
    tree = None if policy is None else read_yaml(policy, POLICY_FILE, report)
    draft = None if tree is None else read_draft(tree, environ, report)
    systems = None if draft is None else draft.names["systems"]
    catalog = read_catalog(files, systems, report)
    if policy is None or draft is None:
        return None
    hub = _hub(draft, catalog, folder=folder, policy=policy, files=files)
    if catalog.items:
        _warn_of_unknown_skus(draft.tree, hub, report)
        _warn_of_stock_kept_of_bundles(draft.tree, hub, report)
    return None if any(f.severity == "error" for f in report.findings()) else hub


def _hub(
    draft: Draft, catalog: Catalog, *, folder: Path, policy: str, files: Mapping[str, str]
) -> Hub:
    systems = build_systems(draft)
    channels = build_channels(draft)
    check_ownership(draft, systems, channels)
    return Hub(
        name=draft.name,
        folder=folder,
        locations=build_locations(draft),
        systems=systems,
        channels=channels,
        rules=build_rules(draft),
        catalog=catalog,
        tolerances=build_tolerances(draft),
        sync=build_sync(draft),
        rollout=build_rollout(draft),
        alerts=build_alerts(draft),
        policy_hash=hashlib.sha256(policy.encode()).hexdigest(),
        catalog_hash=catalog_hash(files),
    )


def _warn_of_unknown_skus(tree: YamlTree, hub: Hub, report: Report) -> None:
    """A sku or tag that nothing has matches nothing: allowed, and usually a typing error."""
    tags = {tag for item in hub.catalog.items.values() for tag in item.tags}
    for path, text in _sku_selectors(hub):
        selector = parse_sku_selector(text)
        if text in hub.catalog.items:
            continue
        if selector.rank is SkuRank.EXACT:
            message = f"items.csv has no sku '{text}': this matches nothing"
            report.warn(tree.file, tree.line(path), message, text)
        elif selector.rank is SkuRank.TAG and selector.text not in tags:
            hint = did_you_mean(selector.text, tags)
            message = f"no item has the tag '{selector.text}'{hint}: this matches nothing"
            report.warn(tree.file, tree.line(path), message, text)


def _warn_of_stock_kept_of_bundles(tree: YamlTree, hub: Hub, report: Report) -> None:
    """A bundle has no stock of its own, so there is nothing of it to keep back (SEMANTICS §6)."""
    for rule in hub.rules:
        if rule.kind not in {"safety_stock", "location_reserve"}:
            continue
        for number, sku in enumerate(rule.skus or ()):
            item = hub.catalog.items.get(sku)
            if item is not None and item.kind == "bundle":
                message = (
                    f"rule {rule.id}: {sku} is a bundle, which has no stock of its own: "
                    f"{rule.kind} has no effect on it. Name its components, or use a buffer"
                )
                report.warn(tree.file, tree.line(("rules", rule.order, "skus", number)), message)


def _sku_selectors(hub: Hub) -> Iterator[tuple[KeyPath, str]]:
    """Every entry of a `skus` list, with its place in hub.yaml."""
    for rule in hub.rules:
        for number, text in enumerate(rule.skus or ()):
            yield ("rules", rule.order, "skus", number), text
    for channel in hub.channels.values():
        for number, text in enumerate(channel.canary_skus):
            yield ("channels", channel.id, "canary", "skus", number), text
