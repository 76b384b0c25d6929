"""The hub as OAuth 2 provider, for users' servers and for services (auth-flows.md §7, scopes-roles.md §11).

``provider`` is the domain: it reads, decides and stores. ``rfc6749`` and ``rfc7636`` answer oauthlib's questions about
one request from what the provider has read; ``consent`` has the rules about scopes and about asking the user.
"""
