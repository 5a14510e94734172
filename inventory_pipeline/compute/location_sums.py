"""Sums over locations, written out: an addition costs a tenth of a list function (SEMANTICS §6, 2).

Which locations are added up changes only with the policy, so it is written as two macros when the
policy is loaded: of an item's list of stock by location, the sums of each group of locations that
feeds the same buckets; of these, the sums of each set that a bucket sells from.
"""

from collections.abc import Sequence

from inventory_pipeline.compute.database import Database

GROUPS = "SELECT location_nos FROM location_groups ORDER BY group_no"
SETS = "SELECT DISTINCT ON (set_no) group_nos FROM bucket_places ORDER BY set_no"


def write_location_sums(db: Database) -> None:
    """Makes the macros `sums_of_groups` and `sums_of_sets` as `location_groups` and
    `bucket_places` say.
    """
    for macro, members in (("sums_of_groups", GROUPS), ("sums_of_sets", SETS)):
        sums = ", ".join(_sum(numbers) for (numbers,) in db.rows(members))
        db.run_once(f"CREATE OR REPLACE MACRO {macro}(list) AS [{sums}]::BIGINT[]")


def _sum(numbers: Sequence[int]) -> str:
    return " + ".join(f"list[{number}]" for number in numbers) or "0"
