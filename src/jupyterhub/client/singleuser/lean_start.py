"""Starting in half the time: keeping two libraries from doing work at import that no server needs.

Measured on JupyterLab 4.6 with jupyter_server 2.21, half the processor time of a start went into

1. ``rfc3987_syntax``, which builds an Earley parser for the grammar of IRIs (1.3 s). jsonschema imports it to check
   strings of the formats ``iri`` and ``iri-reference``; no schema that a Jupyter server validates uses them.
2. JupyterLab's ``labapp``, which asks for its own version in a way that runs ``node`` to read yarn's configuration
   (0.4 to 1 s, where node is installed), to find the package registry that only ``jupyter lab build`` uses.

Nothing on disk is changed. An import hook steps in when, and only when, one of the two modules is imported, and
whenever a library looks different from what we know, the ordinary import happens.
"""

from __future__ import annotations

import gc
import importlib
import importlib.util
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

IRI_GRAMMAR = "rfc3987_syntax"
LAB_APP = "jupyterlab.labapp"


def stay_lean() -> None:
    """Install the import hook. Doing it twice is harmless."""
    if not any(isinstance(finder, LeanImports) for finder in sys.meta_path):
        sys.meta_path.insert(0, LeanImports())


class LeanImports(MetaPathFinder):
    """Finds the two modules where they are, and has them loaded our way."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname == IRI_GRAMMAR and fullname not in sys.modules:
            spec = PathFinder.find_spec(fullname, path, target)
            if spec is not None:
                return ModuleSpec(fullname, _LateGrammar(spec), origin=spec.origin)
        if fullname == LAB_APP:
            spec = PathFinder.find_spec(fullname, path, target)
            if spec is not None and spec.loader is not None:
                spec.loader = _WithoutNode(spec.loader)
                return spec
        return None


class _LateGrammar(Loader):
    """Gives a module with ``is_valid_syntax`` in it, and loads the real one when that is called.

    Whoever wants any other name from it gets the real one at once.
    """

    def __init__(self, real: ModuleSpec) -> None:
        self.real = real

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        def load() -> ModuleType:
            # from now on every import finds the real one
            sys.modules.pop(IRI_GRAMMAR, None)
            assert self.real.loader is not None
            found = importlib.util.module_from_spec(self.real)
            sys.modules[IRI_GRAMMAR] = found
            self.real.loader.exec_module(found)
            return found

        def is_valid_syntax(term: str, value: str) -> Any:
            return load_once().is_valid_syntax(term, value)

        loaded: list[ModuleType] = []

        def load_once() -> ModuleType:
            if not loaded:
                loaded.append(load())
            return loaded[0]

        def find_other(name: str) -> Any:
            if name.startswith("__"):
                # the import machinery looks for these on any module
                raise AttributeError(name)
            return getattr(load_once(), name)

        module.__dict__["is_valid_syntax"] = is_valid_syntax
        module.__dict__["__getattr__"] = find_other


class _WithoutNode(Loader):
    """Loads ``jupyterlab.labapp`` while ``jupyterlab.commands`` does not ask node for yarn's configuration.

    Afterwards it does again: a real build must use the registry that the user configured.
    """

    def __init__(self, real: Loader) -> None:
        self.real = real

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self.real.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        commands = importlib.import_module("jupyterlab.commands")
        ask_yarn = commands.__dict__.get("_yarn_config")
        if ask_yarn is None:
            self.real.exec_module(module)
            return
        # what it answers where node is not installed
        commands.__dict__["_yarn_config"] = lambda logger: {"yarn config": {}, "npm config": {}}
        try:
            self.real.exec_module(module)
        finally:
            commands.__dict__["_yarn_config"] = ask_yarn

    def __getattr__(self, name: str) -> Any:
        # get_source, get_filename and others that tracebacks and inspect ask for
        return getattr(self.real, name)


def collect_garbage_rarely() -> None:
    """While a server starts, nearly everything that is made will stay: looking for garbage finds none."""
    gc.set_threshold(50_000, 20, 100)


def collect_garbage_as_usual() -> None:
    gc.set_threshold(*_USUAL_THRESHOLD)


_USUAL_THRESHOLD = gc.get_threshold()
