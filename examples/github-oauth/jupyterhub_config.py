"""People log in with GitHub: pip install oauthenticator, and register an OAuth app with the callback URL below."""

import os

c = get_config()  # noqa: F821

c.JupyterHub.bind_url = "http://127.0.0.1:8000/"
c.JupyterHub.authenticator_class = "github"
c.GitHubOAuthenticator.oauth_callback_url = "https://hub.example.org/hub/oauth_callback"
c.GitHubOAuthenticator.client_id = os.environ.get("GITHUB_CLIENT_ID", "")
c.GitHubOAuthenticator.client_secret = os.environ.get("GITHUB_CLIENT_SECRET", "")
# Who may enter: members of an organisation, and these people.
c.GitHubOAuthenticator.allowed_organizations = {"example-org"}
c.GitHubOAuthenticator.scope = ["read:org"]
c.GitHubOAuthenticator.allowed_users = {"ada"}
c.GitHubOAuthenticator.admin_users = {"ada"}
