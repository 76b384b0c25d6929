"""Sign: scopes under the names that plugins import. They live in ``rbac`` and ``hub/web``."""

from collections.abc import Iterable
from typing import Any

from .hub.web.compat import Scope, parsed
from .hub.web.entry import needs_scope
from .rbac.expand import access_scopes, identify_scopes
from .rbac.scope_set import ScopeSet
from .rbac.scopes import SCOPES

#: every scope of the hub itself: name → its description, and the scopes that it contains
scope_definitions: dict[str, dict[str, Any]] = {
    name: {
        "description": definition.description,
        "doc_description": definition.doc_description,
        **({"subscopes": list(definition.subscopes)} if definition.subscopes else {}),
    }
    for name, definition in SCOPES.items()
}


def parse_scopes(scope_list: Iterable[str]) -> dict[str, Any]:
    """Read expanded scopes: base → ``Scope.ALL``, or kind of filter → set of names."""
    return parsed(ScopeSet.of(scope_list))


__all__ = ["Scope", "access_scopes", "identify_scopes", "needs_scope", "parse_scopes", "scope_definitions"]
