"""A contest: what was handed in, the draw, and every pair of teams, one after another."""

from __future__ import annotations

import dataclasses
import itertools
import secrets
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

from mpkit.contest.apart import Killed, Lost, answers
from mpkit.contest.limits import DAY, Limits, ground_of, limits_of, same_ground
from mpkit.contest.submission import MOST, Submission, attack_of, read_submission
from mpkit.data import files
from mpkit.data.schema import LARGEST, parsed, sealed, strict, told
from mpkit.runs import record
from mpkit.runs.attack import Attack
from mpkit.runs.grid import drawable
from mpkit.runs.pairs import draw_pairs
from mpkit.runs.saved import to_dict
from mpkit.streams import stream

TEAMS = 200
"""Submissions of a contest."""
REASON = 500
"""Letters of a reason that are kept at the draw."""
GONE = "it was taken away after the draw: bring it back"
AFTER = "it came, or was changed, after the targets were drawn: keep it for another round"


@dataclasses.dataclass(frozen=True)
class Contest:
    """A folder's contest as it is now: its limits, the teams, file → why it was refused, and the
    draw, once there is one: its `seed`, `targets` and who was there."""

    folder: Path
    limits: Limits
    teams: tuple[Submission, ...]
    refused: dict[str, str]
    draw: dict | None

    def side(self, side: str) -> list[Submission]:
        """The teams of one side, by name."""
        return [team for team in self.teams if team.side == side]

    def numbers(self, team: Submission | None) -> range:
        """The numbers of the targets that a red team meets; None: of all that there are. The last
        is the named one, of pictures made elsewhere."""
        drawn = self.limits.targets
        if team is not None:
            return range(drawn, drawn + 1) if team.poisons else range(drawn)
        return range(drawn + any(t.poisons is not None for t in self.side("red")))

    def attack(self, number: int, team: Submission | None = None) -> Attack:
        """The attack on a target, with a red team's settings, or the ground's."""
        drawn = [dict(zip(("target_class", "poison_class", "target_index"), t, strict=True))
                 for t in self.draw["targets"]]  # fmt: skip
        target = [*drawn, self.limits.named][number]
        own = stream(self.draw["seed"], "contest", *map(str, target.values()))
        return attack_of(self.limits, team.given if team else {}, **target, seed=own)

    def poisons(self, team: Submission, number: int) -> Path:
        """The folder of a red team's poisons for a target."""
        return self.folder / "poisons" / f"{team.team}-{number}"

    def results(self) -> list[dict]:
        """What is recorded of the teams that are there. Raises RecordError."""
        there = {(t.side, t.team) for t in self.teams} | {("red", None), ("blue", None)}
        rows = record.read_lines(self.folder / "results.jsonl")
        return [r for r in rows if {(s, r.get(s)) for s in ("red", "blue")} <= there]

    def total(self) -> int:
        """How many results there will be, if nobody loses a round."""
        reds = self.side("red")
        each = len(self.numbers(None)) + sum(len(self.numbers(t)) for t in reds)
        return (1 + len(self.side("blue"))) * each + sum(len(self.numbers(t)) for t in reds)


def open_contest(folder: Path | str) -> Contest:
    """The contest in a folder. Raises ValueError for limits that can't be read, or are other ones
    than at the draw; what is wrong with a submission only refuses that."""
    folder = Path(folder)
    limits, draw = read_limits(folder), None
    if (folder / "round.json").exists():
        draw = record.read_json(folder / "round.json")
        if not same_ground(draw.get("ground"), limits):
            raise ValueError(
                f"limits in {folder} are other ones than at the draw: bring those back"
            )
    teams, refused = _handed_in(sorted((folder / "submissions").glob("*.json")), limits, draw)
    return Contest(folder, limits, tuple(teams), refused, draw)


def _handed_in(
    paths: list[Path], limits: Limits, draw: dict | None
) -> tuple[list[Submission], dict[str, str]]:
    """The teams, in their order, and file → why it is refused. After the draw only those are read
    that were there."""
    kept, before = (draw["teams"], draw.get("refused", {})) if draw else ({}, {})
    teams, refused = [], dict.fromkeys(kept, GONE)
    for path in paths:
        refused.pop(path.name, None)
        if draw and path.name not in kept:
            refused[path.name] = before.get(path.name, AFTER)
        elif len(teams) == TEAMS:
            refused[path.name] = f"there are more than {TEAMS} submissions"
        else:
            try:
                team = read_submission(path, limits)
            except (ValueError, OSError) as error:
                refused[path.name] = str(error)
            except Exception as error:  # whatever one file does, it does to nobody else
                refused[path.name] = f"it can't be read: {type(error).__name__}: {error}"
            else:
                if team.digest.startswith(kept.get(path.name, "")):  # an old draw has the start
                    teams.append(team)
                else:
                    refused[path.name] = AFTER
    refused |= _twice(teams)
    teams = [team for team in teams if team.name not in refused]
    return sorted(teams, key=lambda team: (team.side, team.key)), refused


def _twice(teams: list[Submission]) -> dict[str, str]:
    """File → why, of all that claim one team, or one team's pictures: whose, no file can say."""
    claims: dict[tuple, list[Submission]] = {}
    for team in teams:
        claims.setdefault((f"for one team, {team.side}", team.key), []).append(team)
        if team.poisons is not None:
            claims.setdefault(("the same pictures", team.poisons.digest), []).append(team)
    found = {}
    for (what, _), same in claims.items():
        names = " and ".join(team.name for team in same)
        found |= {t.name: f"{names} hand in {what}: leave one" for t in same if len(same) > 1}
    return found


def read_limits(folder: Path) -> Limits:
    """The limits of a folder. Raises ValueError naming the file."""
    path = folder / "limits.json"
    try:
        return limits_of(parsed(files.read(path, MOST)))
    except FileNotFoundError as error:
        raise ValueError(f"{folder} is no contest: it has no limits.json") from error
    except (OSError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from error


# ── the draw ────────────────────────────────────────────────────────────────────────────────────


def drawn(contest: Contest, seed: int | None = None) -> Contest:
    """The contest with its targets, drawn now if they were not before. From then on nothing can be
    handed in. `seed`: the teacher's; without one the system gives one that nobody can foretell.

    Raises ValueError for another seed than that of the draw, for no team, too few targets, and
    results without the draw that they are of.
    """
    if contest.draw is None:
        with _alone(contest.folder):
            return _drawn(contest.folder, seed)
    return _as_before(contest, seed)


def _alone(folder: Path) -> AbstractContextManager[None]:
    return files.locked(folder / ".lock", str(folder))


def _as_before(contest: Contest, seed: int | None) -> Contest:
    if seed not in (None, before := contest.draw["seed"]):
        raise ValueError(f"the targets were drawn before, by seed {before}; that is final")
    return contest


def _drawn(folder: Path, seed: int | None = None) -> Contest:
    """The contest as the folder has it now, and with targets. Only for who has the lock."""
    contest = open_contest(folder)
    if contest.draw:
        return _as_before(contest, seed)
    if (played := folder / "results.jsonl").exists() and played.stat().st_size:
        raise ValueError(
            f"{folder} has results, and no round.json with the draw that they are of: bring that "
            "back, or play in a new folder"
        )
    if seed is not None and not 0 <= seed <= LARGEST:
        raise ValueError(f"the seed of a draw must lie between 0 and {LARGEST}, not {told(seed)}")
    if not contest.teams:
        reasons = "; ".join(f"{name}: {why}" for name, why in contest.refused.items())
        raise ValueError(f"{contest.folder} has no submission to play with. {reasons}".rstrip())
    seed = secrets.randbelow(2**31) if seed is None else seed
    draw = {"seed": seed, "targets": _targets(contest.limits, seed)}
    draw |= {
        "teams": {t.name: t.digest for t in contest.teams},
        "ground": ground_of(contest.limits),
    }
    reasons = {name: why[:REASON] for name, why in contest.refused.items()}
    draw["refused"] = dict(itertools.islice(reasons.items(), TEAMS))
    try:
        record.write_json(contest.folder / "round.json", sealed(draw), new=True)
    except FileExistsError as error:  # where the file system knows no locks
        raise ValueError(f"another mpkit drew meanwhile for {folder}: run it again") from error
    return dataclasses.replace(contest, draw=draw)


def _targets(limits: Limits, seed: int) -> list[list]:
    """Target class, class wanted and number of the target, of as many as are drawn."""
    some = drawable(limits.attack(), progress=False)
    return [list(target) for target in draw_pairs(some.names, limits.targets, seed, some.indices)]


# ── the round ───────────────────────────────────────────────────────────────────────────────────


def play(contest: Contest) -> Iterator[dict]:
    """The results that are missing, each recorded before it is given; go on by calling it again.

    A result is of poisons ({"red", "target", "seconds"}), of victims (with "blue", None where there
    is no defense, and "red" None where all pictures are clean; "successes", "n", "accuracy"), or of
    a round that was lost ("lost" says why). Raises ValueError where not even undefended
    victims can be trained, and for what no team can help, which is recorded for nobody.
    """
    with _alone(contest.folder):
        contest = _drawn(contest.folder)
        lost = set(lost_of(contest.results()))
        for red in contest.side("red"):
            for row in _rows(_crafted, contest, red) if ("red", red.team) not in lost else ():
                lost |= {("red", red.team)} if "lost" in row else set()
                yield _keep(contest, row)
        reds = [red for red in contest.side("red") if ("red", red.team) not in lost]
        for blue in [None, *contest.side("blue")]:
            if not blue or ("blue", blue.team) not in lost:
                yield from (_keep(contest, row) for row in _rows(_judged, contest, blue, reds))


def lost_of(results: Iterable[dict]) -> dict[tuple[str, str], str]:
    """(side, team) → why it lost its round."""
    lost = [r for r in results if "lost" in r]
    return {(s, r[s]): r["lost"] for r in lost for s in ("red", "blue") if r.get(s)}


def _keep(contest: Contest, row: dict) -> dict:
    record.append(contest.folder / "results.jsonl", [row])
    return row


def _rows(work: Callable, contest: Contest, team: Submission | None, *of) -> Iterator[dict]:
    """What comes of a team's work, and by what it lost its round, if it did. Where the system kills
    the process, others may have taken the memory: the rest is done once more."""
    for again in (True, False):
        try:
            yield from work(contest, team, *of, contest.results())
        except Lost as error:
            if again and isinstance(error, Killed):
                continue
            if team is None:
                raise ValueError(f"victims without a defense can't be trained: {error}") from error
            yield {team.side: team.team, "lost": str(error)}
        return


def _crafted(contest: Contest, red: Submission, done: list[dict]) -> Iterator[dict]:
    ready = {r["target"] for r in done if r.get("red") == red.team and "blue" not in r}
    missing = [n for n in contest.numbers(red) if n not in ready]
    if red.poisons is not None:
        for number in missing:
            folder = contest.poisons(red, number)
            folder.mkdir(parents=True, exist_ok=True)
            record.save_poisons(folder, *red.poisons)
            yield {"red": red.team, "target": number, "seconds": 0.0}
        return
    limits = contest.limits
    job = {"what": "craft", "memory": limits.memory, "limits": limits.as_json()}
    job["targets"] = [
        (n, strict(to_dict(contest.attack(n, red))), str(contest.poisons(red, n))) for n in missing
    ]
    found = answers(job, limits.craft_seconds) if missing else ()
    yield from ({"red": red.team} | row for row in found)


def _judged(
    contest: Contest, blue: Submission | None, reds: list[Submission], done: list[dict]
) -> Iterator[dict]:
    team = blue.team if blue else None
    ready = {(r.get("red"), r["target"]) for r in done if "n" in r and r["blue"] == team}
    job = {"what": "judge", "memory": contest.limits.memory, "targets": []}
    job["seconds"] = contest.limits.judge_seconds if blue else float(DAY)
    job["defense"] = dataclasses.asdict(blue.defense) if blue else None
    for number in contest.numbers(None):
        mine = [(None, None)] if (None, number) not in ready else []
        for red in reds:
            if number in contest.numbers(red) and (red.team, number) not in ready:
                mine.append((red.team, str(contest.poisons(red, number))))
        if mine:
            job["targets"].append((number, strict(to_dict(contest.attack(number))), mine))
    found = answers(job, job["seconds"]) if job["targets"] else ()
    yield from ({"blue": team} | row for row in found)
