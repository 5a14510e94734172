"""Other people's API descriptions, and a wire that remembers what passed over it.

Descriptions are read closed: a field that they do not name is an error, in requests and in answers.
"""

import gzip
import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote

import httpx
import jsonschema_rs
import pytest

# Where a checkout keeps other people's API descriptions: beside the repository, unless told.
SPECS = Path(os.environ.get("HUB_API_SPECS", Path(__file__).parents[3] / "shared" / "specs"))
METHODS = {"get", "post", "put", "patch", "delete"}


def description(*parts: str) -> dict[str, Any]:
    """One description as JSON; the test is skipped where it is not there."""
    path = SPECS.joinpath(*parts)
    if not path.exists():
        pytest.skip(f"no API description at {path} (set HUB_API_SPECS)")
    raw = path.read_bytes()
    found: dict[str, Any] = json.loads(gzip.decompress(raw) if path.suffix == ".gz" else raw)
    return found


@dataclass(frozen=True)
class Exchange:
    """One request and its answer as they went over the wire."""

    method: str
    path: str
    query: dict[str, list[str]]
    body: Any
    status: int
    answer: Any
    headers: Mapping[str, str]


class Wire(httpx.BaseTransport):
    """Carries requests to a real server and remembers all of them."""

    def __init__(self) -> None:
        self.seen: list[Exchange] = []
        self.inner = httpx.HTTPTransport()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        answer = self.inner.handle_request(request)
        content = answer.read()
        self.seen.append(
            Exchange(
                method=request.method,
                path=request.url.raw_path.decode().partition("?")[0],
                query=parse_qs(request.url.query.decode(), keep_blank_values=True),
                body=_json(request.read()),
                status=answer.status_code,
                answer=_json(content),
                headers={name.lower(): value for name, value in answer.headers.items()},
            )
        )
        headers = [(n, v) for n, v in answer.headers.items() if n.lower() != "content-encoding"]
        return httpx.Response(answer.status_code, headers=headers, content=content)

    def close(self) -> None:
        self.inner.close()


class Description:
    """Swagger 2 or OpenAPI 3: judges exchanges by it."""

    def __init__(self, found: dict[str, Any]) -> None:
        self.found = found
        self.swagger = "swagger" in found
        self.definitions = _closed(
            found["definitions"] if self.swagger else found["components"]["schemas"]
        )
        # Some descriptions refer to what they do not hold: anything may stand there.
        for name in set(_referred(found)) - self.definitions.keys():
            self.definitions[name] = {}
        self.operations = [
            (method, template, operation, item.get("parameters", []))
            for template, item in found["paths"].items()
            for method, operation in item.items()
            if method in METHODS
        ]

    def operation(self, exchange: Exchange) -> tuple[dict[str, Any], list[Any]] | None:
        for method, template, operation, shared in self.operations:
            pattern = re.sub(r"\{[^}]+\}", "[^/]+", template)
            if method == exchange.method.lower() and re.fullmatch(pattern, exchange.path):
                return operation, [*shared, *operation.get("parameters", [])]
        return None

    def errors(self, exchange: Exchange) -> Iterator[str]:
        """What is wrong with an exchange; nothing for one that is right."""
        found = self.operation(exchange)
        if found is None:
            yield f"no operation {exchange.method} {exchange.path}"
            return
        operation, parameters = found
        where = f"{exchange.method} {exchange.path} ({exchange.status})"
        if exchange.status < 400:
            for problem in self._request(exchange, operation, parameters):
                yield f"{where}: request: {problem}"
        answers = operation["responses"]
        answer = answers.get(str(exchange.status)) or (None if self.swagger else answers["200"])
        if answer is None:
            yield f"{where}: no such status"
            return
        schema = self._schema(answer)
        if schema is not None:
            for problem in self._judge(schema, exchange.answer):
                yield f"{where}: answer: {problem}"

    def _request(self, exchange: Exchange, operation: Any, parameters: list[Any]) -> Iterator[str]:
        queried = {one["name"]: one for one in parameters if one.get("in") == "query"}
        for name in exchange.query.keys() - queried.keys():
            yield f"unknown parameter {name}"
        for name, one in queried.items():
            texts = exchange.query.get(name)
            if texts is None:
                if one.get("required"):
                    yield f"{name} is missing"
                continue
            yield from _parameter(name, one.get("schema", one), texts)
        bodies = [one["schema"] for one in parameters if one.get("in") == "body"]
        if "requestBody" in operation:
            bodies = [operation["requestBody"]["content"]["application/json"]["schema"]]
        for schema in bodies:
            yield from self._judge(schema, exchange.body)

    def _schema(self, answer: Any) -> Any:
        if self.swagger:
            return answer.get("schema")
        return answer["content"]["application/json"]["schema"]

    def _judge(self, schema: Any, value: Any) -> Iterator[str]:
        holder = "definitions" if self.swagger else "components"
        inner = self.definitions if self.swagger else {"schemas": self.definitions}
        validator = jsonschema_rs.Draft4Validator(
            {"allOf": [_closed(schema)], holder: inner}, validate_formats=True
        )
        for error in validator.iter_errors(value):
            yield f"{'/'.join(map(str, error.instance_path))}: {error.message}"


def schema_errors(schema: dict[str, Any], value: Any) -> list[str]:
    """What is wrong with a value by a plain JSON Schema."""
    return [error.message for error in jsonschema_rs.validator_for(schema).iter_errors(value)]


def _parameter(name: str, one: Any, texts: list[str]) -> Iterator[str]:
    values = [part for text in texts for part in unquote(text).split(",")]
    if one.get("type") == "array":
        if len(values) > one.get("maxItems", len(values)):
            yield f"{name}: more than {one['maxItems']}"
        allowed = one.get("items", {}).get("enum")
    else:
        allowed = one.get("enum")
        if one.get("type") == "integer" and not (
            texts[0].isdigit() and int(texts[0]) <= one.get("maximum", 10**9)
        ):
            yield f"{name}: {texts[0]!r}"
    for value in values if allowed else ():
        if value not in allowed:
            yield f"{name}: {value!r} is none of {allowed}"


def _closed(schema: Any) -> Any:
    """The schema with nothing allowed that it does not name, and OpenAPI's null spelt out."""
    if isinstance(schema, list):
        return [_closed(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    dropped = ("example", "examples", "description", "discriminator", "nullable", "readOnly")
    closed = {
        name: _closed(one)
        for name, one in schema.items()
        if name not in dropped or isinstance(one, dict)
    }
    if isinstance(closed.get("properties"), dict) and "additionalProperties" not in closed:
        closed["additionalProperties"] = False
    if schema.get("nullable") is True:
        return {"anyOf": [closed, {"type": "null"}]}
    return closed


def _referred(found: Any) -> Iterator[str]:
    """Names of the schemas that a description refers to."""
    if isinstance(found, dict):
        target = found.get("$ref")
        if isinstance(target, str):
            yield target.rpartition("/")[2]
        for one in found.values():
            yield from _referred(one)
    elif isinstance(found, list):
        for one in found:
            yield from _referred(one)


def _json(content: bytes) -> Any:
    try:
        return json.loads(content)
    except ValueError:
        return None
