"""The commands of ``mpkit``, one a file; `mpkit.__main__` puts them together."""
