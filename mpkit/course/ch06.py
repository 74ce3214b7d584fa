"""Chapter 06: its exercises and its quiz."""

from __future__ import annotations

import math

import torch

from mpkit.course.exercises import Verdict, exercise, right, wrong
from mpkit.course.quiz import load_quiz
from mpkit.course.recorded import TABLES, Table
from mpkit.evaluation.rates import rate

CASES = ((8, 8), (3, 10), (0, 48))
"""k of n, at which an interval is tried."""


@exercise(
    "06.wilson",
    "8 minutes",
    hints=(
        "Give 1 + z**2 / n a name: middle and half are both divided by it.",
        "The half width is z / (1 + z²/n) · sqrt(p(1 − p)/n + z²/4n²).",
    ),
    solution=(
        "def wilson(k, n, z=1.96):\n"
        "    p, bend = k / n, 1 + z**2 / n\n"
        "    middle = (p + z**2 / (2 * n)) / bend\n"
        "    half = z / bend * (p * (1 - p) / n + z**2 / (4 * n**2)) ** 0.5\n"
        "    return middle - half, middle + half"
    ),
)
def wilson(answer: object) -> Verdict:
    """A function of k and n: both ends of the 95 % Wilson score interval."""
    if not callable(answer):
        return wrong("a function of k and n is wanted.")
    found = []
    for k, n in CASES:
        said = answer(k, n)
        if said is None:
            return Verdict(None, "it still returns None. The formula stands above.")
        try:
            low, high = (float(v) for v in said)
        except (TypeError, ValueError):
            return wrong("two numbers are wanted: (low, high).")
        found.append((low, high))
    truth = [(rate(k, n).low, rate(k, n).high) for k, n in CASES]
    if _near(found, truth):
        return right("for 8 of 8 it reaches down to 68 %: it knows that eight is not many.")
    if _near(found, [(high, low) for low, high in truth]):
        return wrong("the lower end comes first.")
    spread = 1.96 * math.sqrt(0.3 * 0.7 / 10)
    if _near(found[1:2], [(0.3 - spread, 0.3 + spread)]):
        return wrong(
            "that is p ± z·sqrt(p(1 − p)/n). For 8 of 8 it has no width at all: eight trials and "
            "complete certainty?"
        )
    if _near([tuple(100 * v for v in t) for t in truth], found, 0.6):
        return wrong("right, but in per cent; shares between 0 and 1 are wanted.")
    for words, slips in _SLIPS.items():
        for slip in slips:
            if _near(found, [_wrongly(k, n, **slip) for k, n in CASES], 1e-6):
                return wrong(words)
    return wrong("for 8 of 8 it gives {:.3f} to {:.3f}, not 0.676 to 1.".format(*found[0]))


def _wrongly(
    k: int, n: int, middle: bool = False, under: bool = False, root: float = 0.5, bend: bool = True
) -> tuple[float, float]:
    """The interval with a slip: z²/2·n for z²/2n, z²/4·n² for z²/4n², no root, no division."""
    p, z = k / n, 1.96
    centre = p + z**2 * (n / 2 if middle else 1 / (2 * n))
    half = z * (p * (1 - p) / n + z**2 * (n**2 / 4 if under else 1 / (4 * n**2))) ** root
    by = 1 + z**2 / n if bend else 1.0
    return (centre - half) / by, (centre + half) / by


_SLIPS = {
    "z**2 / 2 * n multiplies by n: put 2 * n and 4 * n**2 into brackets.": (
        {"middle": True}, {"under": True}, {"middle": True, "under": True},
    ),
    "where is the root in the half width?": ({"root": 1},),
    "middle and half are both divided by 1 + z²/n.": ({"bend": False},),
}  # fmt: skip


def _near(found: list, wanted: list, room: float = 0.006) -> bool:
    pairs = zip(found, wanted, strict=True)
    return all(abs(a - b) < room for one, two in pairs for a, b in zip(one, two, strict=True))


@exercise(
    "06.noise",
    "8 minutes",
    hints=(
        "torch.randint(-levels, levels + 1, bases.shape, generator=…) draws whole grey levels.",
        "bases are whole grey levels as well: add, clamp to 0 … 255, and you are done.",
    ),
    solution=(
        "import torch\n\n"
        "def noise(bases, levels, seed):\n"
        "    draw = torch.Generator().manual_seed(seed)\n"
        "    change = torch.randint(-levels, levels + 1, bases.shape, generator=draw)\n"
        "    return (bases + change).clamp(0, 255)"
    ),
)
def noise(answer: object) -> Verdict:
    """A function of bases (whole grey levels), levels and seed: the control's pictures."""
    if not callable(answer):
        return wrong("a function of bases, levels and seed is wanted.")
    draw = torch.Generator().manual_seed(0)
    bases = torch.randint(0, 256, (20, 1, 16, 16), generator=draw)
    said = answer(bases.clone(), 26, 1)
    if said is None:
        return Verdict(None, "it still returns None. Draw whole levels, add them, clamp.")
    if not isinstance(said, torch.Tensor) or said.shape != bases.shape:
        return wrong("pictures are wanted, a tensor of the shape of bases.")
    said = said.double()
    change = said - bases
    if not torch.equal(said, said.round()):
        return wrong("whole grey levels are wanted: a published picture has no fractions.")
    if said.abs().max() <= 26:
        return wrong("that is the noise alone: add it to the bases.")
    if said.min() < 0 or said.max() > 255:
        return wrong("there are pixels under 0 or over 255: no picture can hold them.")
    if change.abs().max() > 26:
        return wrong("some pixels moved by more than 26: the control must obey the same bound.")
    whole = (bases >= 26) & (bases <= 229)
    inner = change[whole]
    if not inner.any():
        return wrong("nothing was changed.")
    if inner.min() >= 0 or inner.max() <= 0:
        return wrong("every pixel moved in the same direction: the attacker may use both.")
    if torch.equal(inner.abs(), torch.full_like(inner, 26)):
        return wrong("only ±26 occurs; what lies between is allowed as well.")
    if all(len(set(c[i].tolist())) == 1 for c, i in zip(change, whole, strict=True)):
        return wrong("every pixel of a picture moved alike: draw one number for each pixel.")
    if not (change - change[:1])[whole & whole[:1]].any():
        return wrong("every picture got the same change: that is a pattern, and can be learned.")
    if inner.abs().max() < 24:
        return wrong("it stays far within ±26: a weaker control than the attack is no control.")
    if inner.max() < 26:
        return wrong("+26 never occurs: torch.randint leaves its upper end out.")
    if inner.double().std() < 13:  # of equally likely levels it is 15.3
        return wrong("small changes are more likely than large ones; all levels should be alike.")
    if torch.equal(answer(bases.clone(), 26, 2).double(), said):
        return wrong("another seed gave the same noise: draw by the seed that is handed in.")
    if not torch.equal(answer(bases.clone(), 26, 1).double(), said):
        return wrong("the same seed gave two different results.")
    return right("same bound, same pictures, same format; only the aim is missing.")


@exercise(
    "06.claim",
    "5 minutes",
    hints=(
        "What could be behind each report if there were no attack at all? Which one rules it out?",
        "Success is a rate over targets × victims. Which of the three tells you its n and who the "
        "targets were?",
    ),
    solution='"b"',
)
def claim(answer: object) -> Verdict:
    """One of the letters a, b and c: the report that supports its claim."""
    said = str(answer).strip().lower()
    if said == "b":
        return right("random targets, n, an interval, and a control: it can be checked.")
    if said == "a":
        return wrong("one target, and how was it chosen? It may be the only one that falls.")
    if said == "c":
        return wrong("we do not know how many turn without poisons: there is no control.")
    return wrong('the answer is "a", "b" or "c".')


CHANGES = ("lr", "batch", "epochs", "augmentation", "convnet", "last")
"""The rows of the table of recipes after the first, in short."""


def needed(table: Table) -> list[float]:
    """Of each target of a table of budgets: the smallest share of poisons at which more than half
    of its victims turned; NaN where none was enough."""
    rows = [(float(r.label.rstrip("%")) / 100, r.each, r.n / len(r.each)) for r in table.results]
    enough = [
        [share for share, each, of in rows if 2 * each[t] > of] for t in range(len(rows[0][1]))
    ]
    return [min(shares, default=math.nan) for shares in enough]


@exercise(
    "06.transfer",
    "4 minutes",
    hints=(
        "The sign test's p is how likely so lopsided a result is by luck alone. Where is it small?",
        "A small p may also belong to a row in which more victims turned: look at the sign.",
    ),
    solution='{"augmentation", "convnet", "last"}',
)
def transfer(answer: object) -> Verdict:
    """The changes of recipe with which fewer victims turned than luck explains (p < 0.05)."""
    if not isinstance(answer, set | frozenset | list | tuple):
        return wrong('a set of names is wanted, for instance {"lr", "batch"}.')
    said = {str(name).strip().lower() for name in answer}
    if odd := sorted(said - set(CHANGES)):
        return wrong(f"{odd[0]!r} is no row; the names are: {', '.join(CHANGES)}.")
    table = TABLES["recipes"]
    labels = [row.label for row in table.results]
    rows = zip(CHANGES, labels[1:], strict=True)
    found = {change: table.compare(label, labels[0]) for change, label in rows}
    lost = {c for c, pair in found.items() if pair.luck < 0.05 and pair.difference < 0}
    if said == lost:
        return right(
            "the surrogates foresaw neither shifted pictures nor convolutions. What the other rows "
            "show is either no loss, or may be luck."
        )
    if more := sorted(said - lost):
        pair = found[more[0]]
        if pair.difference >= 0:
            return wrong(f"with {more[0]!r} no fewer turned than in the first row.")
        return wrong(f"with {more[0]!r} p is {pair.luck:.2g}: luck alone can do that.")
    return wrong("one is missing: in another row fewer turned as well, with a small p.")


QUIZ = load_quiz("06")
