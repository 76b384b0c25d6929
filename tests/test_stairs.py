"""Who may import whom: the stairs of docs/architecture.md, walked with ``ast``.

A room may use itself and the rooms listed beside it. Imports inside functions count too: one that dodges a cycle means
that an idea sits on the wrong floor. Imports for type checkers only do not count.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "jupyterhub"

CONTRACTS = (
    "auth",
    "spawner",
    "proxy",
    "authenticators",
    "spawners",
    "proxies",
    "traitlets",
    "utils",
    "objects",
    "crypto",
    "slugs",
    "certificates",
)

#: room (a prefix of the module below ``jupyterhub``) → the rooms that it may import; the longest prefix counts
STAIRS: dict[str, tuple[str, ...]] = {
    "words": (),
    "rbac": ("words",),
    "hub.store": ("words", "rbac"),
    "hub": ("hub", "words", "rbac", *CONTRACTS),
    "hub.web": ("hub", "words", "rbac", *CONTRACTS),
    "proxyserver": ("words",),
    "client": ("words", "rbac", "localproc"),
    "localproc": ("words",),
    "auth": ("words", "rbac", "localproc", *CONTRACTS),
    "spawner": ("words", "rbac", "localproc", *CONTRACTS),
    "spawners": ("words", "rbac", "localproc", *CONTRACTS),
    **{room: ("words", "rbac", *CONTRACTS) for room in CONTRACTS if room not in ("auth", "spawner", "spawners")},
}
#: signs for plugins: nothing inside the house imports them
SIGNS = (
    "handlers",
    "apihandlers",
    "services",
    "singleuser",
    "app",
    "scopes",
    "orm",
    "user",
    "metrics",
    "log",
    "roles",
    "oauth",
    "httpclient",
    "dbutil",
    "tests",
)


def modules() -> Iterator[tuple[str, Path]]:
    for path in sorted(SOURCE.rglob("*.py")):
        parts = path.relative_to(SOURCE).with_suffix("").parts
        yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


def imports(module: str, path: Path) -> Iterator[tuple[str, int]]:
    """The modules below ``jupyterhub`` that a file imports, with the line."""
    package = module.split(".") if path.name == "__init__.py" else module.split(".")[:-1]
    tree = ast.parse(path.read_text())
    skipped = {
        id(node)
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and ast.unparse(block.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")
        for node in ast.walk(block)
    }
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.startswith("jupyterhub."):
                    yield alias.name.removeprefix("jupyterhub."), node.lineno
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                base = package[: len(package) - node.level + 1]
                target = ".".join([*base, *(node.module.split(".") if node.module else [])])
            elif node.module and node.module.split(".")[0] == "jupyterhub":
                target = node.module.removeprefix("jupyterhub").lstrip(".")
            else:
                continue
            for alias in node.names:
                deeper = f"{target}.{alias.name}".lstrip(".")
                is_module = (SOURCE / Path(*deeper.split("."))).with_suffix(".py").exists() or (
                    SOURCE / Path(*deeper.split("."))
                ).is_dir()
                yield (deeper if is_module else target), node.lineno


def room_of(module: str) -> str | None:
    fitting = [room for room in STAIRS if module == room or module.startswith(room + ".")]
    return max(fitting, key=len) if fitting else None


def test_imports_go_down_the_stairs_only():
    wrong = []
    for module, path in modules():
        room = room_of(module)
        if room is None:
            continue
        for target, line in imports(module, path):
            inside = target == room or target.startswith(room + ".")
            allowed = any(target == below or target.startswith(below + ".") for below in STAIRS[room])
            if room == "hub" and (target == "hub.web" or target.startswith("hub.web.")):
                allowed = False
            if target and not inside and not allowed:
                wrong.append(f"{path.relative_to(SOURCE)}:{line} {room} → {target}")
    assert not wrong, "these arrows go up the stairs (see docs/architecture.md):\n" + "\n".join(wrong)


def test_nothing_inside_the_house_imports_a_sign():
    wrong = [
        f"{path.relative_to(SOURCE)}:{line} imports the sign {target}"
        for module, path in modules()
        if module.split(".")[0] not in SIGNS
        for target, line in imports(module, path)
        if target.split(".")[0] in SIGNS
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("room", ["words", "rbac"])
def test_the_cellar_does_no_io(room):
    """No network, database, file or event loop below ``words`` and ``rbac``."""
    banned = {"asyncio", "socket", "sqlalchemy", "tornado", "subprocess", "traitlets", "jinja2", "urllib.request"}
    wrong = []
    for path in (SOURCE / room).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and not node.level:
                names = [node.module or ""]
            wrong += [f"{path.name}:{node.lineno} {name}" for name in names if name.split(".")[0] in banned]
    assert not wrong, wrong
