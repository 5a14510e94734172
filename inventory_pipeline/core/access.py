"""What whoever asks may do."""

from enum import StrEnum


class Role(StrEnum):
    """Each includes the ones before it."""

    READ = "read"
    OPERATE = "operate"
    APPROVE = "approve"

    def includes(self, other: "Role") -> bool:
        order = list(Role)
        return order.index(self) >= order.index(other)
