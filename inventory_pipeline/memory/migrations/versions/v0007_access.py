"""Access: tokens and their roles, the audit, minutes for the charts, indexes for the pages."""

from pathlib import Path

from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    # The driver's own cursor: SQLAlchemy would read the casts' colons as parameters.
    script = Path(__file__).with_name("0007_access.sql").read_text(encoding="utf-8")
    op.get_bind().connection.cursor().execute(script)
