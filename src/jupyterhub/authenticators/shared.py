"""One password for all users and another for admins: for workshops and small teams without accounts.

Everybody who knows the users' password can be any user, except an admin. Chosen with
``c.JupyterHub.authenticator_class = "shared-password"``.
"""

from __future__ import annotations

from hmac import compare_digest
from typing import Any

from traitlets import Dict, List, TraitError, Unicode, validate

from jupyterhub.auth import Authenticator

MIN_USER_PASSWORD, MIN_ADMIN_PASSWORD = 8, 32


class SharedPasswordAuthenticator(Authenticator):
    """Lets people in by a password that they share; who they are they say themselves."""

    user_password = Unicode(
        None,
        allow_none=True,
        help=f"The password of all users but admins; at least {MIN_USER_PASSWORD} characters. None: none.",
    ).tag(config=True)
    admin_password = Unicode(
        None,
        allow_none=True,
        help=f"""The password of those in `admin_users`; at least {MIN_ADMIN_PASSWORD} characters, and not that of the
        users. None: admins cannot log in.""",
    ).tag(config=True)
    password_groups = Dict(
        value_trait=List(Unicode()),
        key_trait=Unicode(),
        help="Further passwords, each with the groups that a login with it puts the user in. Needs `manage_groups`.",
    ).tag(config=True)

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        # only now it is known what both are: the order in which settings are read is not ours
        if self.password_groups and not self.manage_groups:
            raise ValueError("SharedPasswordAuthenticator.password_groups needs Authenticator.manage_groups = True")

    @validate("user_password")
    def _check_user_password(self, proposal: Any) -> Any:
        password = proposal.value
        if password is not None:
            self._require_length("user_password", password, MIN_USER_PASSWORD)
            self._require_difference("user_password", password, self.admin_password)
        return password

    @validate("admin_password")
    def _check_admin_password(self, proposal: Any) -> Any:
        password = proposal.value
        if password is not None:
            self._require_length("admin_password", password, MIN_ADMIN_PASSWORD)
            self._require_difference("admin_password", password, self.user_password)
        return password

    @validate("password_groups")
    def _check_password_groups(self, proposal: Any) -> Any:
        for password in proposal.value:
            self._require_length("password_groups", password, MIN_USER_PASSWORD)
            self._require_difference("password_groups", password, self.admin_password)
        return proposal.value

    @staticmethod
    def _require_length(name: str, password: str, least: int) -> None:
        if len(password) < least:
            raise TraitError(
                f"SharedPasswordAuthenticator.{name} must have at least {least} characters. "
                f"Make one with `openssl rand -hex {max(least // 2, 16)}`."
            )

    @staticmethod
    def _require_difference(name: str, password: str, other: str | None) -> None:
        if other is not None and password == other:
            raise TraitError(f"SharedPasswordAuthenticator.{name}: users and admins must have different passwords")

    def check_allow_config(self) -> None:
        super().check_allow_config()
        if not (self.user_password or self.admin_password or self.password_groups):
            self.log.warning("SharedPasswordAuthenticator has no password, so nobody can log in")

    async def authenticate(self, handler: Any, data: Any) -> dict[str, Any] | None:
        name = data["username"]
        password = str(data.get("password", ""))
        # The name that counts is the one that the hub will use, whatever was typed: normalised here for the check only,
        # and once more by the caller, which need not give the same if it were done twice in a row.
        if self.normalize_username(name) in {self.normalize_username(admin) for admin in self.admin_users}:
            if _equal(password, self.admin_password):
                return {"name": name, "admin": True, "groups": []}
            return None
        if _equal(password, self.user_password):
            return {"name": name, "admin": False, "groups": []}
        for shared, groups in self.password_groups.items():
            if _equal(password, shared):
                return {"name": name, "groups": list(groups)}
        return None


def _equal(given: str, wanted: str | None) -> bool:
    """Compare in constant time; without a wanted password nothing is equal."""
    return bool(wanted) and compare_digest(given.encode(), (wanted or "").encode())
