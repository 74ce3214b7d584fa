"""The table of a contest, and who has won: simple sums, each with its interval."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from mpkit.contest.contest import Contest, lost_of
from mpkit.evaluation.rates import Rate, clustered_rate

RULES = (
    "Red's points are the share of victims that its poisons turned, over all blue teams (without "
    "a defense, where there is no blue team). Blue's are the share of victims that no red team "
    "turned, less the clean accuracy that the defense costs beyond {allowance}: 100 is all, 0 "
    "the least. Intervals are 95 %, with targets and not victims as trials."
)


class Cell(NamedTuple):
    """Of one red team (None: clean pictures) under one blue team's defense (None: without): target
    → (victims that turned, victims), and target → the mean accuracy of these victims."""

    counts: dict[int, tuple[int, int]]
    accuracies: dict[int, float]

    @property
    def rate(self) -> Rate:
        """Victims that turned, with targets as trials."""
        return clustered_rate(*zip(*self.counts.values(), strict=True))

    @property
    def accuracy(self) -> float:
        """Mean accuracy on the test pictures."""
        return sum(self.accuracies.values()) / len(self.accuracies)


class Score(NamedTuple):
    """What a team has reached: its `rate` as `RULES` says, what its defense costs (`price`, a share
    of the test pictures), `points` from 0 to 100 with both ends of their interval; None where there
    was nothing to count. `lost` says why it lost its round."""

    team: str
    side: str
    rate: Rate | None = None
    price: float | None = None
    points: float | None = None
    low: float | None = None
    high: float | None = None
    lost: str = ""

    def __str__(self) -> str:
        if self.lost:
            return f"lost its round: {self.lost}"
        if self.points is None:
            return "nobody to meet"
        return f"{self.points:.0f} points (95 % interval {self.low:.0f} to {self.high:.0f})"


Table = dict[tuple[str | None, str | None], Cell]


def table_of(results: Iterable[dict]) -> Table:
    """(red, blue) → what was counted so far."""
    found: Table = {}
    for r in results:
        if "n" in r:
            cell = found.setdefault((r["red"], r["blue"]), Cell({}, {}))
            cell.counts[r["target"]] = r["successes"], r["n"]
            cell.accuracies[r["target"]] = r["accuracy"]
    return found


def scores(contest: Contest, results: Iterable[dict]) -> list[Score]:
    """Red teams and then blue ones, each from the first to the last."""
    results = list(results)
    lost = lost_of(results)
    table = table_of(results)
    found = []
    for team in contest.teams:
        if (why := lost.get((team.side, team.team))) is not None:
            found.append(Score(team.team, team.side, points=0.0, low=0.0, high=0.0, lost=why))
        elif team.side == "red":
            found.append(_red(team.team, table, lost))
        else:
            found.append(_blue(team.team, table, lost, contest.limits.allowance))
    return sorted(found, key=lambda s: (s.side == "blue", bool(s.lost), -(s.points or 0.0), s.team))


def _pooled(cells: Iterable[Cell]) -> Rate | None:
    """All victims of some pairs; those of one target are one trial, whomever they met."""
    by_target: dict[int, list[tuple[int, int]]] = {}
    for cell in cells:
        for target, count in cell.counts.items():
            by_target.setdefault(target, []).append(count)
    sums = [tuple(map(sum, zip(*counts, strict=True))) for counts in by_target.values()]
    return clustered_rate(*zip(*sums, strict=True)) if sums else None


def _red(team: str, table: Table, lost: dict) -> Score:
    met = {b: c for (r, b), c in table.items() if r == team and ("blue", b) not in lost}
    blues = [cell for blue, cell in met.items() if blue is not None]
    rate = _pooled(blues or met.values())
    ends = () if rate is None else (100 * rate.rate, 100 * rate.low, 100 * rate.high)
    return Score(team, "red", rate, None, *ends)


def _blue(team: str, table: Table, lost: dict, allowance: float) -> Score:
    met = [c for (r, b), c in table.items() if b == team and r and ("red", r) not in lost]
    rate, price = _pooled(met), _price(table, team)
    if rate is None or price is None:
        return Score(team, "blue", rate, price)
    fine = max(0.0, price - allowance)
    ends = [100 * max(0.0, 1 - share - fine) for share in (rate.rate, rate.high, rate.low)]
    return Score(team, "blue", rate, price, *ends)


def _price(table: Table, team: str) -> float | None:
    """What a defense costs in clean accuracy, on the targets that were judged with and without."""
    with_, without = (table.get((None, blue)) for blue in (team, None))
    if not with_ or not without:
        return None
    both = with_.accuracies.keys() & without.accuracies.keys()
    if not both:
        return None
    return sum(without.accuracies[t] - with_.accuracies[t] for t in both) / len(both)
