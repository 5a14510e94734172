"""Tables of text out of files: every cell as it was written, nothing read through a float."""

import csv
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

BLOCK_BYTES = 16 * 1024 * 1024
_LINE = json.JSONDecoder(parse_int=str, parse_float=str, parse_constant=str)


def read_csv(path: Path, delimiter: str = ",") -> Any:
    """A pandas DataFrame of strings; empty cells are NA.

    UTF-8 with or without a byte order mark; cells are separated by `delimiter`. Raises ValueError
    (pyarrow's own is one) for a row with another number of cells than the header has, and for what
    is no UTF-8.
    """
    header, has_rows = _header(path, delimiter)
    if not has_rows:
        return pa.table({name: pa.array([], pa.string()) for name in header}).to_pandas()
    table = pacsv.read_csv(
        path,
        read_options=pacsv.ReadOptions(column_names=header, skip_rows=1, block_size=BLOCK_BYTES),
        parse_options=pacsv.ParseOptions(delimiter=delimiter, newlines_in_values=True),
        convert_options=pacsv.ConvertOptions(
            column_types=dict.fromkeys(header, pa.string()),
            strings_can_be_null=True,
            null_values=[""],
            quoted_strings_can_be_null=True,
        ),
    )
    return table.to_pandas()


def read_parquet(path: Path) -> Any:
    """A pandas DataFrame of strings; nulls are NA. A time keeps its zone, or has none to show."""
    table = pq.ParquetFile(path).read()
    names = [name.strip() for name in table.column_names]
    if len(set(names)) < len(names):
        raise ValueError(f"a column is there twice: {', '.join(names)}")
    columns = [_as_text(column) for column in table.columns]
    return pa.Table.from_arrays(columns, names=names).to_pandas()


def read_json_lines(path: Path) -> Any:
    """A pandas DataFrame of strings from one JSON object a line; null and absent are NA.

    Numbers are the text that stands there. Raises ValueError for a line that is no object of plain
    values, with its number.
    """
    import pandas as pd

    rows: list[dict[str, str | None]] = []
    with path.open(encoding="utf-8-sig") as file:
        for number, line in enumerate(file, start=1):
            if line.strip():
                rows.append(_plain_object(line, number))
    names = list(dict.fromkeys(name for row in rows for name in row))
    if not names:
        raise ValueError("it has no line with an object")
    return pd.DataFrame({name: [row.get(name) for row in rows] for name in names}, dtype="str")


def _plain_object(line: str, number: int) -> dict[str, str | None]:
    try:
        found = _LINE.decode(line)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"line {number}: {error}") from error
    if not isinstance(found, dict):
        raise ValueError(f"line {number}: not a JSON object but {type(found).__name__}")  # noqa: TRY004
    for name, value in found.items():
        if not isinstance(value, str | None):
            raise ValueError(f"line {number}: {name} is no text and no number")  # noqa: TRY004
    return {name.strip(): value or None for name, value in found.items()}


def _header(path: Path, delimiter: str) -> tuple[list[str], bool]:
    """The names in the first line, and whether anything follows."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        names = [name.strip() for name in next(csv.reader(file, delimiter=delimiter), [])]
        has_rows = any(line.strip() for line in file)
    if not any(names):
        raise ValueError("it has no header line")
    if len(set(names)) < len(names):
        raise ValueError(f"a column is there twice: {', '.join(names)}")
    return names, has_rows


def _as_text(column: pa.ChunkedArray) -> pa.ChunkedArray:
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_floating(column.type):
        column = pc.if_else(pc.is_nan(column), None, column)
    if pa.types.is_nested(column.type) or pa.types.is_binary(column.type):
        raise ValueError(f"a column holds {column.type}, not text, numbers or times")
    return column.cast(pa.string())
