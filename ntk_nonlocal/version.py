"""The version of the package, asked for only where it is wanted: ``importlib.metadata`` is slow to import."""

from importlib import metadata

try:
    __version__ = metadata.version("ntk-nonlocal")
except metadata.PackageNotFoundError:  # run from a checkout that is not installed
    __version__ = "unknown"
