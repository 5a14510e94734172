"""Lighter writing where quantities are sent."""

from pathlib import Path

from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    # The driver's own cursor: SQLAlchemy would read the casts' colons as parameters.
    script = Path(__file__).with_name("0012_push_speed.sql").read_text(encoding="utf-8")
    op.get_bind().connection.cursor().execute(script)
