"""What pages of the server know about the hub: JupyterLab's page configuration, and links in the classic page.

JupyterLab's own hub extension adds "Hub Control Panel" and "Log Out" to its menu if ``hubPrefix`` is not empty.
"""

from __future__ import annotations

import os
from typing import Any

import jinja2

from jupyterhub.client.hub_auth import HubAuth
from jupyterhub.words.urls import url_path_join

#: over ``page.html`` of jupyter_server and nbclassic, which has the blocks
CLASSIC_PAGE = """\
{% extends "templates/page.html" %}
{% block header_buttons %}
{{ super() }}
<span>
  <a id="jupyterhub-control-panel-link" class="btn btn-default btn-sm navbar-btn pull-right"
     style="margin-right: 4px; margin-left: 2px;" href="{{ hub_control_panel_url }}">Control Panel</a>
</span>
{% endblock header_buttons %}
{% block logo %}<img src="{{ logo_url }}" alt="Jupyter">{% endblock logo %}
{% block script %}
{{ super() }}
<script>
  // the hub counts its redirects to a server that is just starting
  (() => {
    const url = new URL(window.location.href);
    if (url.searchParams.has("redirects")) {
      url.searchParams.delete("redirects");
      window.history.replaceState({}, "", url);
    }
  })();
</script>
{% endblock script %}
"""


def page_config(handler: Any, config: dict[str, Any], hub_auth: HubAuth) -> dict[str, Any]:
    """Fill in JupyterLab's (and Notebook 7's) page configuration for one request."""
    user = getattr(handler, "current_user", None)
    config["hubUser"] = getattr(user, "username", "")
    config["hubServerUser"] = os.environ.get("JUPYTERHUB_USER", "")
    config["hubPrefix"] = hub_auth.hub_prefix
    config["hubHost"] = hub_auth.hub_host
    config["hubServerName"] = os.environ.get("JUPYTERHUB_SERVER_NAME", "")
    config["shareUrl"] = url_path_join(hub_auth.hub_prefix, "user-redirect")
    # never the server's own, which is what jupyter_server would put here
    config["token"] = hub_auth.get_token(handler) or ""
    return config


def link_to_hub(environment: jinja2.Environment) -> None:
    """Put our page over the environment's ``page.html``."""
    original = environment.loader
    if original is None or getattr(original, "links_to_hub", False):
        return
    loader = jinja2.ChoiceLoader(
        [
            jinja2.PrefixLoader({"templates": original}, "/"),
            jinja2.DictLoader({"page.html": CLASSIC_PAGE}),
            original,
        ]
    )
    loader.links_to_hub = True  # type: ignore[attr-defined]
    environment.loader = loader
