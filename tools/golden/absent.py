"""Stands in for packages that a reference imports and does not use when it only runs a network."""
import importlib.abc
import importlib.machinery
import importlib.metadata
import os
import sys
import tempfile
import types
from unittest.mock import MagicMock

import packaging.version

VERSION = "0.30.0"


class Absent(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def __init__(self, names):
        self.names = names

    def find_spec(self, name, path=None, target=None):
        return importlib.machinery.ModuleSpec(name, self, is_package=True) if name.split(".")[0] in self.names else None

    def create_module(self, spec):
        module = MagicMock(name=spec.name)
        module.__spec__, module.__path__, module.__name__, module.__version__ = spec, [], spec.name, VERSION
        return module

    def exec_module(self, module):
        pass


def stand_in(*names):
    """Whatever is imported of these packages exists and does nothing; settings go to a folder of their own."""
    sys.meta_path.insert(0, Absent(names))
    sys.modules["pkg_resources"] = types.SimpleNamespace(parse_version=packaging.version.parse)
    version = importlib.metadata.version
    importlib.metadata.version = lambda name: VERSION if name in names else version(name)
    os.environ["YOLO_CONFIG_DIR"] = tempfile.mkdtemp()
