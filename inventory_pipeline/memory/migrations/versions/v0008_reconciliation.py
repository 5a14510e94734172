"""Causes with what they cost, what was done about them, and when each listing was last seen."""

from pathlib import Path

from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    # The driver's own cursor: SQLAlchemy would read the casts' colons as parameters.
    script = Path(__file__).with_name("0008_reconciliation.sql").read_text(encoding="utf-8")
    op.get_bind().connection.cursor().execute(script)
