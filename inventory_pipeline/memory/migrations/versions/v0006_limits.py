"""Limits of the systems, shared by all processes of the hub."""

from pathlib import Path

from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    # The driver's own cursor: SQLAlchemy would read the casts' colons as parameters.
    script = Path(__file__).with_name("0006_limits.sql").read_text(encoding="utf-8")
    op.get_bind().connection.cursor().execute(script)
