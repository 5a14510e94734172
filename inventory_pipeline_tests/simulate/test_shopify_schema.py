"""The simulated Shopify offers a part of the real schema, checked against its introspection."""

import gzip
import json
import os
from pathlib import Path

import pytest
from graphql import (
    GraphQLEnumType,
    GraphQLInputObjectType,
    GraphQLObjectType,
    GraphQLSchema,
    build_client_schema,
    parse,
    validate,
)

from inventory_pipeline.simulate.shopify import VERSIONS, schema
from inventory_pipeline_tests.simulate.test_shopify_api import ITEMS, ORDERS, SET

# Where a checkout keeps other people's API descriptions: beside the repository, unless told.
SPECS = Path(os.environ.get("HUB_API_SPECS", Path(__file__).parents[3] / "shared" / "specs"))


@pytest.fixture(scope="module", params=VERSIONS)
def real(request) -> GraphQLSchema:
    path = SPECS / "shopify" / f"admin_{request.param}.introspection.json.gz"
    if not path.exists():
        pytest.skip(f"no introspection of Shopify's schema at {path} (set HUB_API_SPECS)")
    with gzip.open(path) as file:
        found = json.load(file)
    return build_client_schema(found.get("data", found))


def own_types():
    return [
        type_
        for type_ in schema().type_map.values()
        if isinstance(type_, GraphQLObjectType | GraphQLInputObjectType | GraphQLEnumType)
        and not type_.name.startswith("__")
    ]


def test_every_type_field_and_argument_is_shopifys(real):
    for own in own_types():
        theirs = real.type_map[own.name]
        if isinstance(own, GraphQLEnumType):
            assert set(own.values) <= set(theirs.values), own.name
            continue
        for name, field in own.fields.items():
            assert str(field.type) == str(theirs.fields[name].type), f"{own.name}.{name}"
            for argument, taken in getattr(field, "args", {}).items():
                wanted = theirs.fields[name].args[argument]
                place = f"{own.name}.{name}({argument})"
                assert str(taken.type) == str(wanted.type), place
                assert taken.default_value == wanted.default_value, place


def test_the_documents_of_these_tests_are_valid_at_shopify(real):
    for document in (ITEMS, ORDERS, SET):
        assert validate(real, parse(document)) == []


def test_the_documents_of_the_connector_are_valid_here_and_there(real):
    documents = pytest.importorskip("inventory_pipeline.connectors.shopify_documents")
    for document in documents.ALL:
        assert validate(real, parse(document)) == []
        assert validate(schema(), parse(document)) == []
