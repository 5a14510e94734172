"""Every kind of mistake in catalog/, with file, line, text and value; and what is allowed."""

from decimal import Decimal

import pytest

from inventory_pipeline.config.catalog import catalog_files, catalog_hash, read_catalog
from inventory_pipeline.config.findings import MAX_FINDINGS_PER_FILE, Report
from inventory_pipeline.core.errors import ConfigInvalid
from inventory_pipeline_tests.config.hub_folders import BUNDLES, IDENTIFIERS, ITEMS, Folder

FILES = {"items.csv": ITEMS, "identifiers.csv": IDENTIFIERS, "bundles.csv": BUNDLES}
SYSTEMS = ["wms", "pos", "shop"]

# file, the row that is added (or the header that replaces), what is said, which value
ROWS = {
    "an unknown kind": ("items.csv", "X,X,simpel,0,", "did you mean 'simple'?", "simpel"),
    "decimals beyond three": (
        "items.csv",
        "X,X,simple,4,",
        "decimals of 'X' should be 0, 1, 2 or 3",
        "4",
    ),
    "a sku twice": ("items.csv", "MUG,Again,simple,0,", "this sku stands twice", "MUG"),
    "an empty sku": ("items.csv", ",X,simple,0,", "sku should be a text", "''"),
    "a sku with a blank": ("items.csv", " X,X,simple,0,", "without blanks around it", "' X'"),
    "a price that is none": ("items.csv", "X,X,simple,0,,ten", "price should be a number", "ten"),
    "a price below zero": ("items.csv", "X,X,simple,0,,-1", "price should be a number", "-1"),
    "a row too short": ("items.csv", "X,X", "has 2 cells, and the header 6", "X,X"),
    "a bundle of nothing": (
        "items.csv",
        "BOX,Box,bundle,0,",
        "the bundle 'BOX' has no components in bundles.csv",
        "BOX",
    ),
    "an unknown system": (
        "identifiers.csv",
        "shp,1,MUG,1",
        "hub.yaml has no system 'shp' - did you mean 'shop'?",
        "shp",
    ),
    "an identifier of an unknown sku": (
        "identifiers.csv",
        "shop,1,MGU,1",
        "items.csv has no sku 'MGU'",
        "MGU",
    ),
    "an identifier twice": (
        "identifiers.csv",
        "shop,MUG-12,ROPE,1",
        "shop lists this id twice; the first is in line 2",
        "MUG-12",
    ),
    "an empty identifier": ("identifiers.csv", "shop,,MUG,1", "external_id of 'MUG' is empty", ""),
    "units of nothing": (
        "identifiers.csv",
        "shop,1,MUG,0",
        "units of '1' should be a number greater than 0",
        "0",
    ),
    "units that are a word": ("identifiers.csv", "shop,1,MUG,six", "greater than 0", "six"),
    "units too fine": ("identifiers.csv", "shop,1,MUG,0.0001", "at most 3 decimals", "0.0001"),
    "an unknown bundle": ("bundles.csv", "BOX,MUG,1", "items.csv has no sku 'BOX'", "BOX"),
    "components of a simple item": (
        "bundles.csv",
        "MUG,ROPE,1",
        "'MUG' has components here, but items.csv says it is simple",
        "MUG",
    ),
    "an unknown component": ("bundles.csv", "KIT,LID,1", "items.csv has no sku 'LID'", "LID"),
    "a component twice": (
        "bundles.csv",
        "KIT,MUG,1",
        "'KIT' lists this component twice; the first is in line 3",
        "MUG",
    ),
    "a component's quantity of nothing": (
        "bundles.csv",
        "KIT,ROPE,0",
        "quantity of 'ROPE' in 'KIT' should be a number greater than 0",
        "0",
    ),
    "a fraction of a component": (
        "bundles.csv",
        "KIT,ROPE,0.125",
        "'ROPE' is counted with 2 decimals",
        "0.125",
    ),
    "a bundle in itself": (
        "bundles.csv",
        "KIT,KIT,1",
        "a bundle contains itself: KIT > KIT",
        "KIT",
    ),
}


def check(files):
    report = Report()
    return read_catalog(files, SYSTEMS, report), report.findings()


@pytest.mark.parametrize("name", ROWS)
def test_a_wrong_row_is_one_finding_with_its_line(name):
    file, row, message, value = ROWS[name]
    width = FILES[file].split("\n", 1)[0].count(",")
    if "short" not in name:
        row += "," * (width - row.count(","))
    text = FILES[file] + row + "\n"
    found = check({**FILES, file: text})[1]
    assert len(found) == 1, "\n".join(map(str, found))
    assert message in found[0].message
    assert (found[0].file, found[0].line) == (f"catalog/{file}", len(text.splitlines()))
    assert (found[0].value, found[0].severity) == (value, "error")


@pytest.mark.parametrize(
    ("header", "messages"),
    [
        (
            "sku,titel,kind,decimals,tags",
            ["unknown column 'titel' - did you mean 'title'?", "the column 'title' is missing"],
        ),
        ("sku,title,kind,tags", ["the column 'decimals' is missing"]),
        ("sku,title,kind,decimals,tags,sku", ["the column 'sku' stands twice"]),
    ],
)
def test_a_wrong_header_is_named_and_nothing_else_of_the_file(header, messages):
    row = ",".join("x" for _ in header.split(","))
    found = [
        f for f in check({"items.csv": f"{header}\n{row}\n"})[1] if f.file.endswith("items.csv")
    ]
    assert [f.message for f in found] == messages
    assert {f.line for f in found} == {1}


def test_columns_may_stand_in_any_order_and_cells_may_be_empty():
    catalog, found = check(
        {"items.csv": "tags,decimals,kind,sku,title\n\na | b|,,,X,\n,2,simple,Y,Why\n"}
    )
    assert found == []
    assert catalog.items["X"].tags == ("a", "b")
    assert (catalog.items["X"].kind, catalog.items["X"].decimals) == ("simple", 0)
    assert catalog.items["Y"].decimals == 2


def test_units_of_an_empty_cell_are_one():
    catalog, found = check(
        {**FILES, "identifiers.csv": "system,external_id,sku,units\npos,1,MUG,\n"}
    )
    assert found == []
    assert catalog.identifiers[0].units == Decimal(1)


def test_a_row_over_several_lines_counts_from_its_first():
    text = 'sku,title,kind,decimals,tags\nA,"two\nlines",simple,0,\nB,"x\ny",simpel,0,\n'
    assert [f.line for f in check({"items.csv": text})[1]] == [4]


def test_a_quote_that_is_never_closed_is_named():
    found = check(
        {"items.csv": 'sku,title,kind,decimals,tags\nA,"open,simple,0,\nB,b,simple,0,\n'}
    )[1]
    assert "is not readable as CSV from here on" in found[0].message
    assert found[0].line == 2


def test_cycles_of_bundles_are_named_whole_and_nesting_is_not_a_cycle():
    items = "sku,title,kind,decimals,tags\n" + "".join(
        f"{sku},,{'simple' if sku == 'X' else 'bundle'},,\n" for sku in "ABCDX"
    )
    nested = "bundle_sku,component_sku,quantity\nA,B,1\nA,C,1\nB,D,1\nC,D,1\nD,X,1\n"
    assert check({"items.csv": items, "bundles.csv": nested})[1] == []
    found = check({"items.csv": items, "bundles.csv": nested + "D,A,1\n"})[1]
    assert [(f.line, f.message) for f in found] == [
        (7, "a bundle contains itself: A > B > D > A"),
    ]


def test_a_deep_chain_of_bundles_is_no_problem():
    chain = 5000
    items = "sku,title,kind,decimals,tags\n" + "".join(f"B{n},,bundle,,\n" for n in range(chain))
    rows = "".join(f"B{n},B{n + 1},1\n" for n in range(chain))
    files = {
        "items.csv": items + f"B{chain},,simple,,\n",
        "bundles.csv": "bundle_sku,component_sku,quantity\n" + rows,
    }
    assert check(files)[1] == []


def test_items_are_required_and_the_other_files_are_not(tmp_path):
    only_items = Folder(identifiers=None, bundles=None, items=ITEMS.replace("bundle", "simple"))
    assert only_items.check(tmp_path / "a")[1] == []
    missing = Folder(items=None).check(tmp_path / "b")[1]
    assert [(f.file, f.line) for f in missing] == [("catalog/items.csv", 0)]


def test_a_file_of_another_name_is_a_warning(tmp_path):
    folder = Folder().write(tmp_path)
    (folder / "catalog" / "bundle.csv").write_text("x\n")
    hub, found = Folder().check(tmp_path)
    assert hub is not None
    assert [(f.severity, f.message) for f in found] == [
        ("warning", "is not read - did you mean 'bundles.csv'?")
    ]


def test_catalog_files_are_given_byte_for_byte(tmp_path):
    folder = Folder(items="\ufeff" + ITEMS.replace("\n", "\r\n")).write(tmp_path)
    files = catalog_files(folder)
    assert files["items.csv"].encode() == (folder / "catalog" / "items.csv").read_bytes()
    assert sorted(files) == ["bundles.csv", "identifiers.csv", "items.csv"]
    assert check(files)[1] == []
    assert catalog_hash(files) != catalog_hash(FILES)
    one_letter = {**FILES, "items.csv": ITEMS.replace("Mug", "Mud")}
    assert catalog_hash(one_letter) != catalog_hash(FILES)


def test_text_that_is_not_utf8_is_named_with_its_line(tmp_path):
    folder = Folder().write(tmp_path)
    (folder / "catalog" / "items.csv").write_bytes(b"sku,title\nA,caf\xe9\n")
    with pytest.raises(ConfigInvalid, match=r"catalog/items.csv:2: is not UTF-8"):
        catalog_files(folder)
    assert [f.line for f in Folder.check(Folder(items=None), folder)[1]] == [2]


def test_a_column_that_is_wrong_everywhere_does_not_flood():
    rows = "".join(f"S{n},,simpel,0,\n" for n in range(MAX_FINDINGS_PER_FILE + 50))
    found = check({"items.csv": "sku,title,kind,decimals,tags\n" + rows})[1]
    assert len(found) == MAX_FINDINGS_PER_FILE + 1
    assert found[-1].message == "50 more errors in this file are not shown"
