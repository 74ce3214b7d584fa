"""Live panels for notebooks: run, watch, turn a knob while it runs.

Needs ipywidgets and matplotlib (``pip install mpkit[notebooks]``); the library below does not.
"""

from mpkit.lab.craft import CraftLab

__all__ = ["CraftLab"]
