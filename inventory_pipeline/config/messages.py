"""From pydantic's errors to one sentence with the key's place, and a suggestion."""

from collections.abc import Mapping
from typing import Annotated, Any, get_args, get_origin

from pydantic import BaseModel, ValidationError

from inventory_pipeline.config.findings import Report, did_you_mean, listed
from inventory_pipeline.config.yaml_tree import Path, YamlTree


def report_errors(
    error: ValidationError, *, model: type[BaseModel], tree: YamlTree, path: Path, report: Report
) -> None:
    """One finding per error, at the line of the key (SEMANTICS §7)."""
    for one in error.errors(include_url=False):
        where: Path = tuple(p for p in one["loc"] if p != "[key]")
        full = (*path, *where)
        message, value = _sentence(dict(one), model, where, full, tree)
        report.error(tree.file, tree.line(full), message, value)


def _sentence(
    error: Mapping[str, Any], model: type[BaseModel], where: Path, full: Path, tree: YamlTree
) -> tuple[str, str]:
    kind = error["type"]
    parent = place(full[:-1], tree) if full else tree.file
    key = str(full[-1]) if full else ""
    if kind == "missing":
        return f"{parent}: the key '{key}' is missing", ""
    if kind == "extra_forbidden":
        known = keys_of(model_at(model, where[:-1]))
        hint = did_you_mean(key, known) or f" - known keys: {listed(known, most=20)}"
        # The key, never its value: a misplaced secret must not be shown.
        return f"{parent}: unknown key '{key}'{hint}", key
    about = place(full, tree)
    # What stands under options may be a secret.
    value = "" if "options" in where else tree.at(full)
    if value is None:
        return f"{about}: there is no value", ""
    if kind == "literal_error":
        return _not_a_word(error, about, key, where)
    return f"{about}: {_phrase(error)}", shown(value)


def _not_a_word(error: Mapping[str, Any], about: str, key: str, where: Path) -> tuple[str, str]:
    expected = str(error["ctx"]["expected"]).replace("'", "").replace(" or ", ", ").split(", ")
    in_key = bool(where) and str(error["input"]) == key
    word = key if in_key else error["input"]
    if not isinstance(word, str):
        return f"{about}: should be one of {listed(expected, most=20)}", shown(word)
    hint = did_you_mean(word, expected)
    return f"{about}: should be one of {listed(expected, most=20)}{hint}", word


def _phrase(error: Mapping[str, Any]) -> str:
    match error["type"]:
        case "value_error":
            return str(error["ctx"]["error"])
        case "model_type" | "dict_type" | "model_attributes_type":
            return "should be a mapping of keys and values"
        case "list_type":
            return "should be a list, as in [a, b]"
        case "too_short":
            return "should not be empty"
        case "string_type":
            return "should be a text"
    return str(error["msg"]).lower()


def place(path: Path, tree: YamlTree) -> str:
    """`systems.wms.lag`, `rule s1: units`: how a message names a place."""
    if not path:
        return tree.file
    if path[0] == "rules" and len(path) > 1:
        rule_id = tree.at((*path[:2], "id"))
        name = f"rule {rule_id}" if isinstance(rule_id, str) else f"rule no. {int(path[1]) + 1}"
        return f"{name}: {_dotted(path[2:])}" if len(path) > 2 else name
    return _dotted(path)


def _dotted(path: Path) -> str:
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}"
    return text.removeprefix(".")


def shown(value: object) -> str:
    """The offending value; of a mapping or a list with content only that it is one."""
    if isinstance(value, Mapping):
        return "a mapping"
    if isinstance(value, list):
        return "a list" if value else "[]"
    return "" if value is None else str(value)


def keys_of(model: type[BaseModel] | None) -> list[str]:
    """The keys as they are written in hub.yaml."""
    if model is None:
        return []
    return [field.alias or name for name, field in model.model_fields.items()]


def model_at(model: type[BaseModel], where: Path) -> type[BaseModel] | None:
    """The model of a nested part: follows keys, list items and mapping entries."""
    current: Any = model
    for part in where:
        if isinstance(current, type) and issubclass(current, BaseModel):
            by_key = {f.alias or n: f for n, f in current.model_fields.items()}
            found = by_key.get(str(part))
            current = _inner(found.annotation) if found else None
        else:
            current = None if current is None else _inner(get_args(current)[-1])
    return current if isinstance(current, type) and issubclass(current, BaseModel) else None


def _inner(annotation: Any) -> Any:
    """Without Annotated and without `| None`."""
    if get_origin(annotation) is Annotated:
        return _inner(get_args(annotation)[0])
    if type(None) in get_args(annotation):
        return _inner(next(a for a in get_args(annotation) if a is not type(None)))
    return annotation
