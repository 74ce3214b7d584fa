"""Live panels for notebooks: run, watch, turn a knob while it runs.

Needs ipywidgets and matplotlib (``pip install mpkit[notebooks]``); the library below does not.
"""

from mpkit.device import ready_for_threads
from mpkit.lab.collision import CollisionLab
from mpkit.lab.compare import CompareLab
from mpkit.lab.contest import ContestBoard
from mpkit.lab.craft import CraftLab
from mpkit.lab.defense import DefenseLab
from mpkit.lab.dynamics import DynamicsLab
from mpkit.lab.kit.panel import Question
from mpkit.lab.lookahead import LookaheadLab
from mpkit.lab.replay import ReplayLab
from mpkit.lab.unroll import UnrollLab
from mpkit.lab.victims import VictimsLab

ready_for_threads()  # labs begin in several

__all__ = [
    "CollisionLab",
    "CompareLab",
    "ContestBoard",
    "CraftLab",
    "DefenseLab",
    "DynamicsLab",
    "LookaheadLab",
    "Question",
    "ReplayLab",
    "UnrollLab",
    "VictimsLab",
]
