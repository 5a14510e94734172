"""What everybody in a pass over one channel needs."""

from dataclasses import dataclass
from datetime import datetime

from inventory_pipeline.config.policy import Channel
from inventory_pipeline.core.ports import Capabilities, Connector
from inventory_pipeline.flow.context import HubContext
from inventory_pipeline.flow.push_circuit import Circuit
from inventory_pipeline.flow.push_report import Tally


@dataclass(frozen=True, slots=True, kw_only=True)
class Lane:
    """One channel's way out: the hub, the epoch of the drain that sends, and what it counts."""

    ctx: HubContext
    channel: Channel
    epoch: int
    connector: Connector
    circuit: Circuit
    tally: Tally

    @property
    def capabilities(self) -> Capabilities:
        return self.connector.capabilities

    def now(self) -> datetime:
        return self.ctx.clock()
