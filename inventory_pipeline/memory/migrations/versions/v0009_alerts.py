"""What is not well, who was told of it, and positions below zero."""

from pathlib import Path

from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    # The driver's own cursor: SQLAlchemy would read the casts' colons as parameters.
    script = Path(__file__).with_name("0009_alerts.sql").read_text(encoding="utf-8")
    op.get_bind().connection.cursor().execute(script)
