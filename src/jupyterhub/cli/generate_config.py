"""``--generate-config``: a file with every setting of the hub and of all installed plugins, commented out.

It loads as it is and changes nothing. Existing files are kept unless somebody says otherwise (cli.md §1).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from traitlets.config import Configurable

from jupyterhub.traitlets import EntryPointType
from jupyterhub.words.errors import ConfigurationError

if TYPE_CHECKING:
    from .app import JupyterHub


def all_classes(app: JupyterHub) -> list[type[Configurable]]:
    """Load every class that this installation can configure: ours, and what plugins register. In a fixed order."""
    # Only help needs them all; a hub imports what it uses.
    from jupyterhub.auth import Authenticator
    from jupyterhub.crypto import CryptKeeper
    from jupyterhub.spawner import Spawner

    classes: dict[type[Configurable], None] = dict.fromkeys([type(app), Spawner, Authenticator, CryptKeeper])
    traits = app.traits()
    for name in ("authenticator_class", "spawner_class", "proxy_class"):
        trait = traits[name]
        assert isinstance(trait, EntryPointType)
        trait.help = trait.describe()  # with the names that this installation has for it
        registered: dict[str, Any] = trait.load_classes()
        for _, cls in sorted(registered.items()):
            if isinstance(cls, type) and issubclass(cls, Configurable):
                classes.setdefault(cls)
    return list(classes)


def text(app: JupyterHub) -> str:
    """Give the file."""
    return app.generate_config_file(classes=all_classes(app)).rstrip() + "\n"


def write(app: JupyterHub) -> int:
    """Write the file where ``config_file`` says; give the exit status."""
    path = Path(app.config_file).absolute()
    if not path.parent.is_dir():
        raise ConfigurationError(
            f"{path.parent} does not exist. Create the directory first, or name another file with -f."
        )
    if path.exists() and not app.answer_yes and not _may_overwrite(path):
        return 0
    config = text(app)
    print(f"Writing default config to: {path}")
    try:
        path.write_text(config, encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(f"Cannot write {path}: {error.strerror}. Name another file with -f.") from error
    return 0


def _may_overwrite(path: Path) -> bool:
    try:
        answer = input(f"Overwrite {path} with default config? [y/N]")
    except KeyboardInterrupt:
        print()
        return False
    except EOFError as error:
        raise ConfigurationError(
            f"{path} exists, and nobody is there to say whether to overwrite it. Give -y=True if so."
        ) from error
    return answer.strip().lower().startswith("y")
