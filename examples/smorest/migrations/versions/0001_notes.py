"""The notes, as they were before anybody thought of ETags."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade():
    op.create_table(
        "note",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("body", sa.Text, nullable=False),
    )
    op.execute("INSERT INTO note (id, body) VALUES (1, 'first')")


def downgrade():
    op.drop_table("note")
