"""axe-core in a page: what it finds against WCAG 2.2 AA and its own good practice, as lines that say where."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import axe_playwright_python

SOURCE = (Path(axe_playwright_python.__file__).parent / "axe.min.js").read_text()
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
RUN = """async (rules) => {
  const found = await axe.run(document, { runOnly: rules });
  return found.violations.flatMap((v) => v.nodes.map((n) => `${v.id}: ${n.html.slice(0, 160)}`));
}"""


def violations(page: Any, only: str = "") -> list[str]:
    """Look at a page of Playwright as it is now; ``only`` names the one rule that counts."""
    # by the protocol of the developer tools, which no content security policy holds back
    session = page.context.new_cdp_session(page)
    session.send("Runtime.evaluate", {"expression": SOURCE + ";0"})
    session.detach()
    found: list[str] = page.evaluate(RUN, {"type": "rule", "values": [only]} if only else RULES)
    return found
