"""SQL and a literal reference agree on made-up hubs and histories, term by term."""

import pytest

from inventory_pipeline_tests.properties import generated, trials
from inventory_pipeline_tests.properties.comparison import (
    promises,
    require_same,
    sql_lines,
    sql_positions,
    sql_terms,
    terms,
)
from inventory_pipeline_tests.properties.reference_channels import Reference
from inventory_pipeline_tests.properties.worlds import worlds

pytestmark = pytest.mark.timeout(900)


@trials.portions()
def test_every_position_line_and_term_equals_the_reference(bench, portion, record_property):
    @trials.tried(portion, record_property, world=worlds())
    def agrees(world):
        entries = world.history.numbered()
        state = bench.full(world.hub, entries, world.at)
        reference = Reference(world.hub, *generated.split(entries), world.at)
        require_same(sql_positions(state), reference.positions())
        require_same(sql_lines(bench), promises(reference))
        require_same(sql_terms(state), terms(reference))
