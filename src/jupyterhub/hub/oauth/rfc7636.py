"""RFC 7636, Proof Key for Code Exchange: oauthlib's questions about a code's challenge, answered from its row.

The comparison of verifier and challenge, ``plain`` or ``S256``, is oauthlib's.
"""

from __future__ import annotations

from typing import Any

from jupyterhub.words.models import OAuthCode


class ChallengeAnswers:
    """The PKCE part of a ``RequestValidator``."""

    #: the code that is being exchanged
    code: OAuthCode | None = None
    pkce_required = False

    def is_pkce_required(self, client_id: str, request: Any) -> bool:
        return self.pkce_required

    def get_code_challenge(self, code: str, request: Any) -> str | None:
        return (self.code.code_challenge if self.code else None) or None

    def get_code_challenge_method(self, code: str, request: Any) -> str | None:
        return (self.code.code_challenge_method if self.code else None) or None
