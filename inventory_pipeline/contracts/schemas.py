"""What a snapshot must look like, as pandera schemas: its shape on the way in, its rows when they
land.
"""

from typing import Any

import pandera.pandas as pa

from inventory_pipeline.core.vocabulary import State

KEYS = ("as_of", "location", "item")
STATES = tuple(state.value for state in State)
SHOWN_CASES = 10

# Any of the states may be missing, but a snapshot without any says nothing. Other columns are not
# read.
SHAPE = pa.DataFrameSchema(
    {
        **{name: pa.Column(required=True, nullable=True) for name in KEYS},
        **{name: pa.Column(required=False, nullable=True) for name in STATES},
    },
    checks=[
        pa.Check(
            lambda frame: bool(set(STATES) & set(frame.columns)),
            error="it has no column of a state, one of " + ", ".join(STATES),
            name="a_state",
        )
    ],
    unique_column_names=True,
    name="snapshot",
)

# Only on_hand may be below 0. Everything in thousandths of the base unit.
LANDED = pa.DataFrameSchema(
    {
        state: pa.Column(
            "Int64",
            checks=[] if state == State.ON_HAND else [pa.Check.ge(0, n_failure_cases=SHOWN_CASES)],
            nullable=True,
            required=False,
        )
        for state in STATES
    }
    | {
        "units_milli": pa.Column("Int64", nullable=True),
        "mapped": pa.Column(
            bool,
            checks=pa.Check.eq(
                True, n_failure_cases=SHOWN_CASES, error="a value without sku or location"
            ),
        ),
    },
    strict=True,
    name="landed snapshot",
)


def shape_problems(frame: Any) -> list[str]:
    """What is wrong with a snapshot's columns, as sentences; empty if nothing is. Reads no row."""
    return [_sentence(check, case) for check, case in _problems(SHAPE, frame.head(0))]


def landing_problems(frame: Any) -> list[str]:
    """What is wrong with rows that are about to land, at most SHOWN_CASES of a kind."""
    return [f"{check}: {case}" for check, case in _problems(LANDED, frame)]


def _problems(schema: pa.DataFrameSchema, frame: Any) -> list[tuple[str, Any]]:
    """(the check, the case that failed it)"""
    try:
        schema.validate(frame, lazy=True)
    except pa.errors.SchemaErrors as errors:
        cases = errors.failure_cases.head(SHOWN_CASES)
        return list(zip(cases["check"], cases["failure_case"], strict=True))
    return []


def _sentence(check: str, case: Any) -> str:
    if check == "column_in_dataframe":
        return f"the column {case} is missing"
    if check == "dataframe_column_labels_unique":
        return f"the column {', '.join(map(str, case))} stands twice"
    return check
