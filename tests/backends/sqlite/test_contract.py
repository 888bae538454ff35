from __future__ import annotations

from pathlib import Path

import pytest
import trio

from fingertrio.backends.sqlite import SQLiteOptions, open_sqlite
from fingertrio.backends.sqlite.admin import Edit, add_user, administered, change_user
from fingertrio.testing import CLAUSES, Clause, check_backend


@pytest.mark.parametrize("clause", CLAUSES, ids=str)
async def test_the_contract_holds(clause: Clause, tmp_path: Path) -> None:
    options = SQLiteOptions(path=tmp_path / "state" / "fingertrio.db")

    def alter(user: str, status: str) -> None:
        with administered(options.path) as connection:
            found = connection.execute("SELECT 1 FROM user WHERE login = ?", (user,)).fetchone()
            (change_user if found else add_user)(connection, user, Edit(status=status), options.retention)

    async def in_a_thread(user: str, status: str) -> None:
        await trio.to_thread.run_sync(alter, user, status)

    applies = await check_backend(lambda: open_sqlite(options), alter=in_a_thread, clauses=[clause])
    assert bool(applies) != clause.name.startswith("at_once_")  # its answers are in a file
