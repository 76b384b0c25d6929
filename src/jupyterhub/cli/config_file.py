"""Reading the configuration file: Python with ``c = get_config()``, or JSON of the same name (cli.md).

An error in it is told with the lines of the file that led there, and nothing of ours.
"""

from __future__ import annotations

import os
import traceback
from types import TracebackType
from typing import Any

from traitlets.config import Config
from traitlets.config.loader import ConfigFileNotFound, JSONFileConfigLoader, PyFileConfigLoader

from jupyterhub.words.errors import ConfigurationError


class Missing(ConfigurationError):
    """The file that was named does not exist."""


class AsItIs(list[Any]):
    """A list that deep copies are spared: traitlets copies every value, and a ``logging.Handler`` holds a lock."""

    def __deepcopy__(self, memo: dict[int, Any]) -> AsItIs:
        return self


def load(filename: str, *, log: Any = None) -> tuple[Config, list[str]]:
    """Read NAME.py and NAME.json, as far as they exist; give what they say and the files that were read."""
    stem, _ = os.path.splitext(os.path.abspath(filename))
    merged, files = Config(), []
    for loader_class, suffix in ((PyFileConfigLoader, ".py"), (JSONFileConfigLoader, ".json")):
        path = stem + suffix
        try:
            merged.merge(loader_class(path, log=log).load_config())
        except ConfigFileNotFound:
            continue
        except ConfigurationError:
            raise
        except Exception as error:
            raise ConfigurationError(_told(error, path)) from error
        files.append(path)
    handlers = merged.get("JupyterHub", {}).get("extra_log_handlers")
    if isinstance(handlers, list):
        merged.JupyterHub.extra_log_handlers = AsItIs(handlers)
    return merged, files


def _told(error: Exception, path: str) -> str:
    own = _from_file_on(error.__traceback__, path)
    story = "".join(traceback.format_exception(type(error), error.with_traceback(None), own, chain=False)).rstrip()
    if isinstance(error, SyntaxError) and error.filename:
        where = f"{error.filename}, line {error.lineno}"
    elif own is not None:
        where = f"{path}, line {own.tb_lineno}"
    else:
        where = path
    return f"Error in the configuration file: {where}\n{story}\nMend the file and start again."


def _from_file_on(trace: TracebackType | None, path: str) -> TracebackType | None:
    while trace is not None and trace.tb_frame.f_code.co_filename != path:
        trace = trace.tb_next
    return trace
