"""The first schema: ledger, registers, outbox, attempts, variances."""

from pathlib import Path

from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    # The driver's own cursor: SQLAlchemy would read the casts' colons as parameters.
    script = Path(__file__).with_name("0001_first.sql").read_text(encoding="utf-8")
    op.get_bind().connection.cursor().execute(script)
