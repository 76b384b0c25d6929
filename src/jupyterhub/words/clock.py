"""Time as the hub speaks it: aware UTC datetimes inside, ISO 8601 with ``Z`` outside, naive UTC in the database."""

from __future__ import annotations

from datetime import UTC, datetime


def utcnow() -> datetime:
    return datetime.now(UTC)


def from_db(value: datetime | None) -> datetime | None:
    """Give an aware datetime for the naive UTC one that the tables hold (db-schema.md)."""
    return None if value is None else value.replace(tzinfo=UTC)


def to_db(value: datetime | None) -> datetime | None:
    """Give the naive UTC datetime that the tables hold; a naive value is taken as UTC."""
    if value is None or value.tzinfo is None:
        return value
    return value.astimezone(UTC).replace(tzinfo=None)


def isoformat(value: datetime | None) -> str | None:
    """Write a time as clients expect it: ``2026-11-23T02:30:00Z``, microseconds only when they are not zero."""
    if value is None:
        return None
    naive = to_db(value)
    assert naive is not None
    return naive.isoformat() + "Z"
