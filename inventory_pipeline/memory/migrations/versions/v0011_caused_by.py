"""The newest ledger entry that moved each desired quantity."""

from pathlib import Path

from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    # The driver's own cursor: SQLAlchemy would read the casts' colons as parameters.
    script = Path(__file__).with_name("0011_caused_by.sql").read_text(encoding="utf-8")
    op.get_bind().connection.cursor().execute(script)
