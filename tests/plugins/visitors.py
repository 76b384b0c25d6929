"""Somebody at a browser without a screen: follows redirects, keeps cookies, fills in forms."""

from __future__ import annotations

from html.parser import HTMLParser
from urllib.parse import urljoin

import httpx

from tests.support.hubs import Hub


class _Forms(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.forms: list[tuple[str, dict[str, str]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "form":
            self.forms.append((given.get("action", ""), {}))
        elif tag in ("input", "button") and self.forms and "name" in given and given.get("type") != "submit":
            self.forms[-1][1][given["name"]] = given.get("value", "")


class Visitor:
    """A browser of one person."""

    def __init__(self, hub: Hub) -> None:
        self.hub = hub
        self.client = httpx.Client(follow_redirects=True, timeout=30, headers={"Sec-Fetch-Mode": "navigate"})
        self.page: httpx.Response | None = None

    def __enter__(self) -> Visitor:
        return self

    def __exit__(self, *error: object) -> None:
        self.client.close()

    def visit(self, path: str) -> httpx.Response:
        """Go to a page of the hub (below its base URL), or to any other by its whole address."""
        self.page = self.client.get(urljoin(self.hub.url, path))
        return self.page

    def submit(self, form: int = 0, **fields: str) -> httpx.Response:
        """Send a form of the page that is shown, with what it holds and these fields."""
        assert self.page is not None
        parser = _Forms()
        parser.feed(self.page.text)
        assert parser.forms, f"no form at {self.page.url} ({self.page.status_code}):\n{self.page.text[:3000]}"
        action, given = parser.forms[form]
        target = urljoin(str(self.page.url), action)
        self.page = self.client.post(target, data={**given, **fields}, headers={"Referer": str(self.page.url)})
        return self.page

    def log_in(self, username: str, password: str) -> httpx.Response:
        """Fill in the hub's own login form."""
        self.visit("hub/login?next=/hub/home")
        return self.submit(username=username, password=password)

    @property
    def name(self) -> str | None:
        """Who the hub thinks this is; None for nobody."""
        token = next((cookie.value or "" for cookie in self.client.cookies.jar if cookie.name == "_xsrf"), "")
        headers = {"Sec-Fetch-Mode": "cors", "X-XSRFToken": token}
        answer = self.client.get(urljoin(self.hub.url, "hub/api/user"), headers=headers)
        return answer.json()["name"] if answer.status_code == 200 else None
