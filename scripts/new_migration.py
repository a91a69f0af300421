"""Write the migration that brings the newest one up to the tables: `python scripts/new_migration.py "What changes"`.

To be read and corrected before it is committed: what Alembic cannot see (renames, moved content) it cannot write.
"""

import argparse
import asyncio
import tempfile
from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import URL, Connection

from voice_agent.storage.database import Database

MIGRATIONS = Path("voice_agent/storage/migrations")


async def main(message: str) -> None:
    """Compare a database that has every migration with the tables, and write what is missing."""
    number = 1 + len(list((MIGRATIONS / "versions").glob("[0-9]*.py")))

    def write(connection: Connection) -> None:
        config = Config()
        config.set_main_option("script_location", str(MIGRATIONS))
        config.attributes["connection"] = connection
        command.revision(config, message, autogenerate=True, rev_id=f"{number:04}")

    with tempfile.TemporaryDirectory() as folder:
        database = Database(URL.create("sqlite+aiosqlite", database=f"{folder}/schema.db"))
        await database.migrate()
        async with database.engine.connect() as connection:
            await connection.run_sync(write)
        await database.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("message")
    asyncio.run(main(parser.parse_args().message))
