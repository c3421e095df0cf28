"""Is a ranking any good: metrics, protocols, baselines and how sure to be.

The package can be called: ``adapt.evaluate(recommenders, dataset)`` is :func:`adapt.workflows.evaluate.evaluate`.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import Any


class _CallablePackage(ModuleType):
    # The public function and this package share a name. Python binds the package to it as soon as anything in it is
    # imported, so the package itself answers when it is called.
    def __call__(self, *arguments: Any, **options: Any) -> Any:
        return importlib.import_module("adapt.workflows.evaluate").evaluate(*arguments, **options)


sys.modules[__name__].__class__ = _CallablePackage
