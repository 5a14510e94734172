"""The documents against Shopify's own schema, where a copy of it is at hand."""

import gzip
import json
from pathlib import Path

import pytest

from inventory_pipeline.connectors import shopify_documents as documents

FOLDER = Path(__file__).parents[2].parent / "shared" / "specs" / "shopify"


@pytest.mark.parametrize("version", [documents.API_VERSION, "2026-07", "2026-04"])
def test_every_document_is_valid_in_the_admin_api(version):
    graphql = pytest.importorskip("graphql")
    path = FOLDER / f"admin_{version}.introspection.json.gz"
    if not path.exists():
        pytest.skip(f"no introspection of Shopify's Admin API at {path}")
    found = json.loads(gzip.decompress(path.read_bytes()))
    schema = graphql.build_client_schema(found.get("data", found))
    for document in documents.ALL:
        problems = graphql.validate(schema, graphql.parse(document))
        assert problems == [], document


def test_every_document_is_listed():
    written = [
        value
        for name, value in vars(documents).items()
        if isinstance(value, str) and "{" in value and name.isupper()
    ]
    assert sorted(written) == sorted(documents.ALL)
