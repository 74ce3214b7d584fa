"""What a forked process has loaded before it begins: all of a command, and torch's compiler, which
the first gradient imports."""

import torch._dynamo  # noqa: F401

import mpkit.runs.summary  # noqa: F401
from mpkit.__main__ import build_parser

build_parser()
