"""RFC 6749, the authorization code grant: oauthlib's questions about one request, answered from what was read before.

oauthlib asks synchronously, our store answers asynchronously. So the provider reads everything that a request can need,
lets oauthlib judge it here, and stores what came out. No other module imports oauthlib, and this one is imported at the
first request of a flow: the start of a hub need not pay the 50 ms.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from oauthlib.oauth2 import (
    AuthorizationCodeGrant,
    AuthorizationEndpoint,
    BearerToken,
    FatalClientError,
    OAuth2Error,
    RequestValidator,
    TokenEndpoint,
)
from oauthlib.oauth2.rfc6749.errors import (
    InvalidRedirectURIError,
    MismatchingRedirectURIError,
    MissingRedirectURIError,
)

from jupyterhub.words.models import OAuthClient, OAuthCode

from .rfc7636 import ChallengeAnswers

#: what oauthlib makes: codes and access tokens of 30 letters and digits (178 bits)
GRANT, RESPONSE = "authorization_code", "code"


@dataclass(frozen=True, slots=True)
class _ClientOfRequest:
    """``request.client`` as oauthlib wants it."""

    client_id: str


class _CodeGrant(AuthorizationCodeGrant):  # type: ignore[misc]
    """The grant of oauthlib, but for one thing: redirect URIs may be paths on the hub's own host.

    Exact equality with the one that is registered is what protects (RFC 6749 §3.1.2.3); it is stricter than asking for
    an absolute URI.
    """

    refresh_token = False

    def _handle_redirects(self, request: Any) -> None:
        validator = self.request_validator
        request.using_default_redirect_uri = request.redirect_uri is None
        if request.redirect_uri is None:
            request.redirect_uri = validator.get_default_redirect_uri(request.client_id, request)
            if not request.redirect_uri:
                raise MissingRedirectURIError(request=request)
            return
        if not request.redirect_uri.startswith(("/", "http://", "https://")):
            raise InvalidRedirectURIError(request=request)
        if not validator.validate_redirect_uri(request.client_id, request.redirect_uri, request):
            raise MismatchingRedirectURIError(request=request)


class _Answers(ChallengeAnswers, RequestValidator):  # type: ignore[misc]
    """What both endpoints ask about the client."""

    def __init__(self, client: OAuthClient | None) -> None:
        self.client = client

    def validate_grant_type(self, client_id: str, grant_type: str, client: Any, request: Any, **kwargs: Any) -> bool:
        return grant_type == GRANT

    def get_default_redirect_uri(self, client_id: str, request: Any, **kwargs: Any) -> str | None:
        return self.client.redirect_uri if self.client else None


# -- the authorization endpoint (§3.1)


class _AuthorizationAnswers(_Answers):
    def __init__(self, client: OAuthClient | None, *, scopes: Sequence[str] | None, pkce_required: bool) -> None:
        super().__init__(client)
        #: what is asked for, in scopes that exist and that the client may have; None: something else is
        self.scopes = scopes
        self.pkce_required = pkce_required
        #: what oauthlib wants stored
        self.saved: OAuthCode | None = None
        self.facts_of_code: dict[str, Any] = {}

    def validate_client_id(self, client_id: str, request: Any, **kwargs: Any) -> bool:
        if self.client is None or self.client.identifier != client_id:
            return False
        request.client = _ClientOfRequest(client_id)
        # Without a secret it could never exchange a code: the hub's own client has none.
        return bool(self.client.secret and self.client.redirect_uri)

    def validate_redirect_uri(self, client_id: str, redirect_uri: str, request: Any, **kwargs: Any) -> bool:
        return self.client is not None and redirect_uri == self.client.redirect_uri

    def validate_response_type(
        self, client_id: str, response_type: str, client: Any, request: Any, **kwargs: Any
    ) -> bool:
        return bool(response_type == RESPONSE)

    def get_default_scopes(self, client_id: str, request: Any, **kwargs: Any) -> Sequence[str]:
        return list(self.scopes or ())

    def validate_scopes(self, client_id: str, scopes: Any, client: Any, request: Any, **kwargs: Any) -> bool:
        return self.scopes is not None

    def save_authorization_code(self, client_id: str, code: Mapping[str, str], request: Any, **kwargs: Any) -> None:
        self.saved = OAuthCode(
            client_id=client_id,
            code=code["code"],
            redirect_uri=request.redirect_uri,
            code_challenge=request.code_challenge,
            code_challenge_method=request.code_challenge_method if request.code_challenge else None,
            **self.facts_of_code,
        )


@dataclass(frozen=True, slots=True)
class Redirect:
    """Send the browser there; with a code that must be stored before, or with an error."""

    url: str
    code: OAuthCode | None = None


class BadClient(Exception):
    """Client or redirect URI cannot be trusted, so the browser is sent nowhere; the text says what is wrong."""


def check_authorization(
    uri: str, client: OAuthClient | None, *, scopes: Sequence[str] | None, pkce_required: bool
) -> Redirect | None:
    """Judge a request for authorization; None if it is right, a Redirect with the error otherwise. BadClient."""
    answers = _AuthorizationAnswers(client, scopes=scopes, pkce_required=pkce_required)
    try:
        _authorization_endpoint(answers).validate_authorization_request(uri)
    except FatalClientError as error:
        raise BadClient(error.description or error.error or "invalid client") from error
    except OAuth2Error as error:
        return Redirect(error.in_uri(error.redirect_uri))
    return None


def authorize(
    uri: str,
    client: OAuthClient | None,
    *,
    scopes: Sequence[str],
    pkce_required: bool,
    **facts_of_code: Any,
) -> Redirect:
    """Grant what was asked for; give the redirect with the code, or with the error if it is not right after all.

    ``facts_of_code`` are the fields of ``OAuthCode`` that the request does not say. BadClient.
    """
    answers = _AuthorizationAnswers(client, scopes=scopes, pkce_required=pkce_required)
    answers.facts_of_code = {"scopes": tuple(scopes), **facts_of_code}
    try:
        headers, _, _ = _authorization_endpoint(answers).create_authorization_response(uri, scopes=list(scopes))
    except FatalClientError as error:
        raise BadClient(error.description or error.error or "invalid client") from error
    return Redirect(headers["Location"], answers.saved)


def _authorization_endpoint(answers: _AuthorizationAnswers) -> Any:
    return AuthorizationEndpoint(
        default_response_type=RESPONSE,
        default_token_type=BearerToken(answers),
        response_types={RESPONSE: _CodeGrant(answers)},
    )


# -- the token endpoint (§3.2)


class _TokenAnswers(_Answers):
    def __init__(
        self, client: OAuthClient | None, code: OAuthCode | None, *, client_is_proven: bool, pkce_required: bool
    ) -> None:
        super().__init__(client)
        self.code = code
        self.client_is_proven = client_is_proven
        self.pkce_required = pkce_required
        self.access_token: str | None = None

    def authenticate_client(self, request: Any, **kwargs: Any) -> bool:
        # §2.3.1: the secret is in the body, and the provider has compared it. HTTP Basic has never been supported here.
        if self.client is None or not self.client_is_proven:
            return False
        request.client = _ClientOfRequest(self.client.identifier)
        return True

    def validate_code(self, client_id: str, code: str, client: Any, request: Any, **kwargs: Any) -> bool:
        if self.code is None or (self.code.client_id, self.code.code) != (client_id, code):
            return False
        request.user = self.code.user_id
        request.scopes = list(self.code.scopes)
        return True

    def confirm_redirect_uri(
        self, client_id: str, code: str, redirect_uri: str, client: Any, request: Any, **kwargs: Any
    ) -> bool:
        return self.code is not None and redirect_uri == self.code.redirect_uri

    def save_bearer_token(self, token: Mapping[str, Any], request: Any, **kwargs: Any) -> None:
        self.access_token = token["access_token"]

    def invalidate_authorization_code(self, client_id: str, code: str, request: Any, **kwargs: Any) -> None:
        """The provider does it, in the transaction that stores the token."""


@dataclass(frozen=True, slots=True)
class TokenReply:
    status: int
    headers: Mapping[str, str]
    body: str
    #: to be stored before the reply is sent; None in errors
    access_token: str | None = None


#: §5.1, also for errors
_NEVER_CACHED = {"Content-Type": "application/json", "Cache-Control": "no-store", "Pragma": "no-cache"}


def exchange(
    uri: str,
    body: str,
    client: OAuthClient | None,
    code: OAuthCode | None,
    *,
    client_is_proven: bool,
    expires_in_s: int,
    pkce_required: bool,
) -> TokenReply:
    """Judge a request for an access token. ``code`` is one that was issued to this client and has not expired."""
    answers = _TokenAnswers(client, code, client_is_proven=client_is_proven, pkce_required=pkce_required)
    endpoint = TokenEndpoint(
        default_grant_type=GRANT,
        default_token_type=BearerToken(answers, expires_in=expires_in_s),
        grant_types={GRANT: _CodeGrant(answers)},
    )
    try:
        headers, reply, status = endpoint.create_token_response(uri, "POST", body, {})
    except OAuth2Error as error:
        # credentials in the address, above all
        headers, reply, status = error.headers, error.json, error.status_code
    token = answers.access_token if status == 200 else None
    return TokenReply(status, {**_NEVER_CACHED, **headers}, reply, token)


def refusal(error: str) -> TokenReply:
    """Give an error reply (§5.2)."""
    return TokenReply(400, _NEVER_CACHED, f'{{"error": "{error}"}}')
