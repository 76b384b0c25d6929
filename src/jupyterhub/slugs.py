"""Names that are safe in URLs, and labels that people give to things; for plugins. The rules are in ``words.names``."""

from __future__ import annotations

import hashlib
import re
import unicodedata

from .words.names import is_valid_display_name, is_valid_new_server_name, normalise_display_name

__all__ = ["is_valid_display_name", "is_valid_safe_slug", "is_valid_simple_name", "normalise_unicode", "safe_slug"]

_SIMPLE_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._~-]*[A-Za-z0-9])?")
_HASH_LENGTH = 8


def is_valid_safe_slug(slug: str) -> bool:
    """Say whether this can name a new server: ``[a-z]`` first, ``[a-z0-9-]``, no ``--``, at most 30 characters."""
    return is_valid_new_server_name(slug)


def is_valid_simple_name(name: str) -> bool:
    """Say whether a name needs no escaping anywhere: ASCII letters, digits, inner ``-._~``; at most 255 of them."""
    return len(name) <= 255 and _SIMPLE_NAME.fullmatch(name) is not None


def normalise_unicode(text: str) -> str:
    """Give the composed form (NFC), so that what looks equal is equal."""
    return normalise_display_name(text)


def safe_slug(name: str) -> str:
    """Give a valid safe slug for any name: itself if it is one, otherwise a readable stem and a hash of the whole name.

    Different names give different slugs, up to collisions of 32 bits of SHA-256.
    """
    if is_valid_safe_slug(name):
        return name
    decomposed = unicodedata.normalize("NFKD", name.lower()).encode("ascii", "ignore").decode()
    stem = re.sub(r"[^a-z0-9]+", "-", decomposed).strip("-")
    if not stem[:1].isalpha():
        stem = f"x-{stem}".rstrip("-")
    stem = stem[: 30 - _HASH_LENGTH - 1].rstrip("-")
    return f"{stem}-{hashlib.sha256(name.encode()).hexdigest()[:_HASH_LENGTH]}"
