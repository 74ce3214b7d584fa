"""Results that were recorded beforehand, because they take longer than a lesson.

All on two CPU cores (AMD EPYC, 2.6 GHz), torch 2.13.0, the digits at the laptop's scale (500
pictures, 50 poisons, ε = 26/255, K = 3, M = 8, 20 craft steps unless said otherwise): eight targets
drawn at random × 6 fresh victims, by ``mpkit sweep --data digits --pairs 8 --pairs-seed 2
--victims 6`` and the flags named. CIFAR-10 is a single attack; its table says how it was run.
"""

from __future__ import annotations

import html
from typing import NamedTuple

from mpkit.rates import rate

WHERE = (
    "Recorded on two CPU cores (AMD EPYC, 2.6 GHz) with the noisy digits: 8 random targets × 6 "
    "fresh victims a row; success with its 95 % Wilson interval, which treats the victims as "
    "independent (the six of a target share their poisons, so it is too narrow)."
)


SWEEP = "mpkit sweep --data digits --pairs 8 --pairs-seed 2 --victims 6"


class Result(NamedTuple):
    """One line of a table: what was varied, how many turned of how many, the flags of the sweep,
    and the poisoned victims' accuracy (None where it was not noted)."""

    label: str
    successes: int
    n: int
    flags: str
    accuracy: float | None = None


class Table:
    """A table of results that shows itself, as HTML and as text; `command` takes their flags."""

    def __init__(self, results: list[Result], where: str = WHERE, command: str = SWEEP):
        self.results, self.where, self.command = results, where, command

    def __str__(self) -> str:
        return "\n".join(f"{r.label}: {rate(r.successes, r.n)}" for r in self.results)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        rows = []
        for r in self.results:
            found = rate(r.successes, r.n)
            cells = [r.label, f"{r.successes}/{r.n}", f"{found.rate:.0%}"]
            cells.append(f"{found.low:.0%} to {found.high:.0%}")
            cells.append("–" if r.accuracy is None else f"{r.accuracy:.1%}")
            inner = "".join(f"<td>{html.escape(c)}</td>" for c in cells)
            how = html.escape(f"{self.command} {r.flags}")
            rows.append(f"<tr title='{how}'>{inner}</tr>")
        heads = ("", "turned", "rate", "95 % interval", "accuracy")
        head = "".join(f"<th scope='col'>{h}</th>" for h in heads)
        return (
            f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"
            f"<p>{html.escape(self.where)} Accuracy: of the victims, where it was noted.</p>"
        )


# What two rows were run with beside flags: training, test and target pictures changed beforehand.
_HALF = ", with every picture x replaced by 1/4 + x/2"
_RELATIVES = (
    "and the first five training pictures of the target's class replaced by the target plus noise "
    "of 0.6 times the distance to the nearest picture of another class, as 8-bit pictures"
)

_CIFAR = "--data cifar10-images.tar.xz --classes airplane,frog,bird --scale laptop"

TABLES: dict[str, Table] = {
    "ensemble": Table(
        [
            Result("ε = 26/255: 8 surrogates, staggered", 35, 48, "", 0.832),
            Result("ε = 26/255: 8, all of the same age", 31, 48, "--stagger no", 0.835),
            Result("ε = 26/255: a single one", 46, 48, "--models 1", 0.846),
            Result("ε = 20/255: 8, staggered", 17, 48, "--epsilon 20/255", 0.840),
            Result(
                "ε = 20/255: 8, of the same age", 25, 48, "--epsilon 20/255 --stagger no", 0.845
            ),
            Result("ε = 20/255: a single one", 32, 48, "--epsilon 20/255 --models 1", 0.854),
            Result("ε = 26/255: 8, 60 craft steps", 11, 48, "--craft-steps 60", 0.838),
            Result("ε = 26/255: 8, 60 craft steps, κ = 2", 27, 48, "--craft-steps 60 --kappa 2"),
            Result(
                "ε = 26/255: a single one, 60 craft steps",
                16,
                48,
                "--models 1 --craft-steps 60",
                0.841,
            ),
        ]
    ),
    "dose": Table(
        [
            Result(
                f"ε = {e}/255, K = {k}",
                turned,
                48,
                f"--epsilon {e}/255 --unroll-steps {k}",
            )
            for e, row in ((13, (0, 0, 7)), (20, (3, 11, 36)), (26, (7, 36, 45)))
            for k, turned in zip((1, 2, 4), row, strict=True)
        ]
    ),
    "survey": Table(
        [
            Result("poisons", 105, 120, "--pairs 20", 0.833),
            Result("clean pictures", 0, 120, "--pairs 20", 0.861),
            Result("random noise of the same ε", 0, 120, "--pairs 20", 0.861),
        ],
        WHERE.replace("8 random targets", "20 random targets"),
        "mpkit sweep --data digits --victims 6",
    ),
    "budget": Table(
        [
            Result(
                "0.1 %: a single poison of 1,000", 0, 48, "--n-train 1000 --budget 0.001", 0.889
            ),
            Result("0.2 %: a single poison of 500", 0, 48, "--budget 0.002", 0.860),
            Result("1 %: 5 poisons", 0, 48, "--budget 0.01"),
            Result("2 %: 10 poisons", 6, 48, "--budget 0.02"),
            Result("5 %: 25 poisons", 19, 48, "--budget 0.05"),
            Result("10 %: 50 poisons", 35, 48, ""),
        ]
    ),
    "recipes": Table(
        [
            Result("as the surrogates", 35, 48, ""),
            Result("learning rate 0.05 instead of 0.1", 34, 48, "--victim-lr 0.05"),
            Result("batches of 100 instead of 50", 33, 48, "--victim-batch 100"),
            Result("shifts pictures at random", 0, 48, "--victim-augment yes"),
            Result("a ConvNet instead of the MLP", 2, 48, "--victim-network convnet"),
            Result("as the surrogates; crafted for κ = 2", 36, 48, "--kappa 2"),
        ]
    ),
    "camera": Table(
        [
            Result("clean (noise 0)", 0, 48, "--noise 0"),
            Result("noise 0.3", 12, 48, "--noise 0.3"),
            Result("noise 0.5", 35, 48, ""),
            Result("clean, at twice the ε: 52/255", 3, 48, "--noise 0 --epsilon 52/255", 0.926),
            Result("clean, at half the contrast", 2, 48, f"--noise 0{_HALF}", 0.902),
            Result("clean, and left at 8 × 8 pixels", 0, 48, "--noise 0 --size 8", 0.930),
            Result("noise 0.5, and five relatives of the target", 0, 48, _RELATIVES, 0.830),
        ]
    ),
    "cifar10": Table(
        [
            Result("ε = 8/255, 12 steps of 0.25 ε, clean twins 80.0 %", 0, 4, _CIFAR, 0.778),
            Result(
                "ε = 8/255, 20 steps of 0.1 ε (replayed), clean twins 80.0 %",
                0,
                4,
                f"{_CIFAR} --craft-steps 20 --craft-rate 0.1",
                0.747,
            ),
            Result(
                "ε = 16/255, K = 3, batches of 50, clean twins 80.8 %",
                0,
                8,
                f"{_CIFAR} --craft-steps 20 --craft-rate 0.1 --epsilon 16/255 --unroll-steps 3 "
                "--batch 50 --epochs 20 --victims 8",
                0.802,
            ),
        ],
        "Recorded on two CPU cores (AMD EPYC, 2.6 GHz): CIFAR-10 from a copy as JPEG files, three "
        "classes, 1,500 pictures, 150 poisons, ConvNetBN, K = 2 and M = 4 unless said otherwise; "
        "one target (airplane, to be a frog) and its fresh victims.",
        "mpkit attack",
    ),
}
"""By the question they answer."""
