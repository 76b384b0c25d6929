"""A crowd in the database of a hub that is not running: many users, groups and servers, written as rows.

Over the API a hundred thousand users take minutes; as rows they take seconds. Made for one purpose: to see what lists
cost when there is much in them.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

GROUP_SIZE = 500


def gather(database: Path, *, users: int, servers: int = 0) -> None:
    """Add users ``student000000`` and so on, most of them active once, in groups of 500, and named servers that stand.

    Each of the first ``servers`` users has a default server that ran, and every tenth of them a named one.
    """
    now = datetime.now(UTC).replace(tzinfo=None)
    with closing(sqlite3.connect(database)) as db, db:
        first = (db.execute("SELECT coalesce(max(id), 0) FROM users").fetchone())[0] + 1
        role = db.execute("SELECT id FROM roles WHERE name = 'user'").fetchone()[0]
        people = range(users)
        db.executemany(
            "INSERT INTO users (id, name, admin, created, last_activity, cookie_id) VALUES (?, ?, 0, ?, ?, ?)",
            (
                (
                    first + i,
                    # not in the order of their numbers: sorting shall have something to do
                    f"student{(i * 7919) % users:06d}",
                    str(now - timedelta(days=300)),
                    str(now - timedelta(minutes=(i * 104729) % 400_000)) if i % 5 else None,
                    f"crowd-{i}",
                )
                for i in people
            ),
        )
        db.executemany("INSERT INTO user_role_map VALUES (?, ?, 0)", ((first + i, role) for i in people))
        groups = [f"course-{g:03d}" for g in range((users + GROUP_SIZE - 1) // GROUP_SIZE)]
        db.executemany("INSERT INTO groups (name, properties) VALUES (?, '{}')", ((name,) for name in groups))
        ids = dict(db.execute("SELECT name, id FROM groups"))
        db.executemany(
            "INSERT INTO user_group_map VALUES (?, ?)", ((first + i, ids[groups[i // GROUP_SIZE]]) for i in people)
        )
        kept = [(first + i, name) for i in range(servers) for name in ("", "gpu")[: 1 + (i % 10 == 0)]]
        db.executemany(
            "INSERT INTO spawners (user_id, name, display_name, last_activity) VALUES (?, ?, ?, ?)",
            ((user, name, name, str(now - timedelta(hours=user % 1000))) for user, name in kept),
        )
        db.execute(
            "INSERT INTO jhx_server_states (spawner_id, phase, target, generation, attempts, remove_when_stopped)"
            " SELECT id, 'stopped', 'stopped', 1, 0, 0 FROM spawners"
            " WHERE id NOT IN (SELECT spawner_id FROM jhx_server_states)"
        )
