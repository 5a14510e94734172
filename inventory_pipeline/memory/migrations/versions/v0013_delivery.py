"""The webhook that brought an event."""

from pathlib import Path

from alembic import op

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    # The driver's own cursor: SQLAlchemy would read the casts' colons as parameters.
    script = Path(__file__).with_name("0013_delivery.sql").read_text(encoding="utf-8")
    op.get_bind().connection.cursor().execute(script)
