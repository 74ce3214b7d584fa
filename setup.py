"""Everything is said in pyproject.toml; here only how an editable install names the clone's path.

Before 3.13 Python reads a .pth file in the encoding of the locale: with LC_ALL=C a path with an
umlaut would stop it at its start. In ASCII, as a line that is run, every locale can read it.
"""

from setuptools import setup
from setuptools.command import editable_wheel


def in_ascii(path: str) -> bytes:
    """The content of the .pth file."""
    line = path if path.isascii() else f"import sys; sys.path.append({path.strip()!a})\n"
    return line.encode("ascii")


editable_wheel._encode_pth = in_ascii  # where setuptools has another name for it, all is as usual
setup()
