"""The two endpoints of the OAuth 2 provider: a page for browsers, and one that clients call."""
