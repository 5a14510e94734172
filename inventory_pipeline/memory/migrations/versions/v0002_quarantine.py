"""Releases from quarantine, and entries that a later catalogue maps again."""

from pathlib import Path

from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    # The driver's own cursor: SQLAlchemy would read the casts' colons as parameters.
    script = Path(__file__).with_name("0002_quarantine.sql").read_text(encoding="utf-8")
    op.get_bind().connection.cursor().execute(script)
