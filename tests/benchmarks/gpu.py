"""What a GPU is to show, in one command: right first, then fast, then what the paper and talk did.

    python tests/benchmarks/gpu.py --data CIFAR10_FOLDER --minutes 9 [--out runs/gpu]

Pieces are done in the order of their worth, and each is written down before the next begins, into
results.jsonl and results.md in --out. Time is up after --minutes: what can pause does so within a
step, and the same command goes on. A piece that fails is written down with its error, and the next
one begins. Needs torch, numpy, scikit-learn, safetensors, tqdm and pillow; peers take part where
they are installed. `--tiny --device cpu` tries all of it in seconds, on pictures drawn here.
"""

# ruff: noqa: E402
from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[2])]

import torch
from bench import gpu_checks, gpu_speed
from bench.clock import machine
from bench.gpu_runs import Runs, pooled
from bench.ledger import Clock, Ledger, Piece, go

from mpkit.device import describe, pick_device
from mpkit.metagradient import METAGRADIENTS
from mpkit.networks import NETWORKS
from mpkit.runs.attack import Attack, make_attack
from mpkit.runs.folder import hold
from mpkit.runs.scenarios import first_ten

CHECKED = dict.fromkeys(NETWORKS, ((3, 32, 32), 20, 4))
CHECKED |= dict.fromkeys(("resnet18", "vgg13"), ((3, 32, 32), 8, 2))
"""Network → (C, H, W), rows in a batch, and how many of them are poisons."""
TIMED = dict.fromkeys(("convnet", "convnet-bn"), ((3, 32, 32), 125, 13))
LAYERS = ((3, 16, 32), (16, 32, 16), (32, 32, 8), (32, 64, 4))
"""ConvNet's: channels in and out, and pixels a side."""
STRATEGIES = tuple(name for name in METAGRADIENTS if name != "auto")
SAME = {"data": "signs", "scale": "ci", "models": 3, "craft_steps": 3, "fine_tune": "no"}
ORDER = (0, 6, 1, 2, 3, 4, 5, 7, 8, 9)
"""The paper's targets by worth: of the first the quick start is, and the sixth it recommends."""

TINY = {
    "data": "digits", "size": 8, "n_train": 60, "n_test": 60, "target_class": "3",
    "poison_class": "8", "network": "mlp", "budget": 0.1, "models": 2, "craft_steps": 2,
    "epochs": 2, "batch": 20, "warmup": 0, "craft_decays": (), "victims": 1, "victim_epochs": 7,
    "victim_decays": (),
}  # fmt: skip
SMALL = ((1, 6, 6), 8, 3)


class Plans:
    """All pieces, in order, for a device, some data, and a folder; small ones if `tiny`."""

    def __init__(self, options: argparse.Namespace, clock: Clock):
        self.data, self.tiny, self.device = options.data, options.tiny, options.device
        self.where, self.folder = torch.device(options.device), options.out
        self.runs = Runs(options.out, clock)

    def all(self) -> list[Piece]:
        return [*self.right(), *self.fast(), *self.quick(), *self.paper(), *self.deck(),
                *self.transfer()]  # fmt: skip

    # ── right and fast ────────────────────────────────────────────────────────────────────────

    def right(self) -> list[Piece]:
        make, device = partial(Piece, "1 right"), self.where
        found = [
            make(f"as on the CPU: {name}", partial(gpu_checks.as_on_cpu, name, size, STRATEGIES,
                                                   device), 40)
            for name, size in ({"mlp": SMALL} if self.tiny else CHECKED).items()
        ]  # fmt: skip
        same = SAME | ({"craft_steps": 1, "network": "mlp"} if self.tiny else {})
        found.append(make("the same twice", partial(gpu_checks.run_twice, device, same), 40))
        for name, size in self._timed().items():
            check = partial(gpu_checks.ordered_sum, name, size, device)
            found.append(make(f"ordered sum: {name}", check, 20))
            models = 2 if self.tiny else 24
            check = partial(gpu_checks.precisions, name, size, device, models)
            found.append(make(f"precision: {name}", check, 30))
        return found

    def fast(self) -> list[Piece]:
        make, device, long = partial(Piece, "2 fast"), self.where, not self.tiny
        found = [make("ceilings", partial(gpu_speed.tops, device), 15)] if long else []
        race = partial(gpu_speed.side_by_side, device=device, seconds=2 * long)
        for name, size in self._timed().items():
            for models in (24, 8, 1) if long else (2,):
                work = partial(race, name, size, models)
                found.append(make(f"peers: {name}, M = {models}", work, 60))
        given = (24, 125, device, LAYERS) if long else (2, 3, device, ((1, 2, 4),))
        found.append(make("convolutions", partial(gpu_speed.convolutions, *given), 15))
        ways = ("traced", "compiled")  # which takes minutes to begin
        for name, size in self._timed().items() if long else ():
            work = partial(race, name, size, 24, ways=ways, beside=False)
            found.append(make(f"compiled: {name}, M = 24", work, 200))
        return found

    def _timed(self) -> dict[str, tuple]:
        return {"mlp": SMALL} if self.tiny else TIMED

    # ── attacks ───────────────────────────────────────────────────────────────────────────────

    def attack(self, scenario: str, targets: Sequence[int], **given: object) -> Attack:
        """A scenario on our pictures; its targets are the paper's numbers: in the official archive,
        whose pictures are taken in another order here, or of the folder that was given."""
        mine = TINY if self.tiny else {"data": self.data}
        if mine["data"] == "cifar10":
            targets = [first_ten("bird")[i] for i in targets]
        if self.tiny:
            given = {k: "mlp" if k == "victim_network" else v for k, v in given.items()}
            given.setdefault("victim_network", "mlp")
        given = {"scenario": scenario, "device": self.device, **mine, **given}
        return make_attack(**given, target_index=tuple(targets))

    def _crafting(self, group: str, name: str, attack: Attack) -> list[Piece]:
        """In pieces of ten craft steps."""
        total, each = attack.settings.craft_steps, 1 if self.tiny else 10
        ends = [*range(each, total, each), total]
        craft = partial(self.runs.craft, name, attack)
        return [Piece(group, f"{name}: crafted to {n}", partial(craft, until=n)) for n in ends]

    def quick(self) -> list[Piece]:
        group, targets = "3 quick start", (0, 1) if self.tiny else ORDER
        pieces, names = [], []
        for i in targets:
            attack, name = self.attack("quickstart", [i]), f"quickstart-bird{i}"
            names.append(f"{name}-victims")
            judge = partial(
                self.runs.victims,
                names[-1],
                attack,
                poisons=name,
                arms=("poisoned",),
                numbers=range(attack.victims),
            )
            pieces += [
                Piece(group, f"{name}: crafted", partial(self.runs.craft, name, attack)),
                Piece(group, f"{name}: victims", judge),
            ]
            if len(pieces) == 2:
                pieces.append(self._controls(group, targets))
        pooling = partial(pooled, self.folder, names)
        return [*pieces, Piece(group, "quickstart: all targets", pooling)]

    def _controls(self, group: str, targets: Sequence[int]) -> Piece:
        """Twins on clean pictures and on noise, asked about all targets at once."""
        attack = self.attack("quickstart", targets)
        given = {"poisons": None, "arms": ("clean", "noise"), "numbers": range(attack.victims)}
        judge = partial(self.runs.victims, "quickstart-controls", attack, **given)
        return Piece(group, "quickstart: controls of all targets", judge)

    def paper(self) -> list[Piece]:
        group, attack = "4 paper: 1 % of 50,000", self.attack("dog-bird", [0])
        given = {"poisons": "dog-bird", "arms": ("poisoned", "clean")}
        judge = partial(
            self.runs.victims,
            "dog-bird-victims",
            attack,
            **given,
            numbers=range(attack.victims),
        )
        pieces = self._crafting(group, "dog-bird", attack)
        return [*pieces, Piece(group, "dog-bird: victims", judge)]

    def deck(self) -> list[Piece]:
        """The talk does not name its targets, and the eight clean ResNet18s whose margins would
        decide take longer than all else: here it is the paper's first."""
        group, attack = "5 talk: 10 %, ResNet18", self.attack("deck-dog-bird", [0])
        pieces = self._crafting(group, "deck", attack)
        return pieces + self._one_by_one(group, "deck", attack, range(attack.victims))

    def transfer(self) -> list[Piece]:
        pieces, poisons = [], f"quickstart-bird{ORDER[0]}"
        for network in ("resnet20", "vgg13"):
            attack = self.attack("quickstart", [ORDER[0]], victim_network=network)
            some = range(min(4, attack.victims))
            how = {"poisons": poisons, "arms": ("poisoned", "clean"), "numbers": some}
            name = f"transfer-{network}"
            judge = partial(self.runs.victims, name, attack, **how)
            pieces.append(Piece("6 transfer", f"{name}: victims", judge))
        return pieces

    def _one_by_one(self, group: str, poisons: str, attack: Attack, numbers: range) -> list[Piece]:
        """Large victims, each for itself, and after each its twin on clean pictures."""
        names = [(f"{poisons}-{arm}{v}", arm, v) for v in numbers for arm in ("poisoned", "clean")]
        pieces = []
        for name, arm, v in names:
            how = {"poisons": poisons, "arms": (arm,), "numbers": range(v, v + 1)}
            judge = partial(self.runs.victims, name, attack, **how)
            pieces.append(Piece(group, f"{name}: victim", judge))
        pooling = partial(pooled, self.folder, [name for name, *_ in names])
        return [*pieces, Piece(group, f"{poisons}: all victims", pooling)]


def about(device: str) -> dict[str, object]:
    """What the numbers depend on."""
    found = {"device": describe(torch.device(device)), **machine()}
    return found | {"CUDA": torch.version.cuda, "cuDNN": torch.backends.cudnn.version()}


def read(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--data", default="cifar10", help="a folder of CIFAR-10's pictures (fetched)"
    )
    parser.add_argument("--out", type=Path, default=Path("runs/gpu"), metavar="DIR")
    parser.add_argument("--minutes", type=float, default=9, help="time is up then (default: 9)")
    parser.add_argument("--device", help="cuda (where there is a GPU), or another")
    parser.add_argument(
        "--only", default="", metavar="TEXT", help="pieces whose name has this in it"
    )
    parser.add_argument("--again", action="store_true", help="what failed, or was skipped, too")
    parser.add_argument("--list", action="store_true", help="name the pieces, and stop")
    parser.add_argument("--tiny", action="store_true", help="all of it at its smallest")
    options = parser.parse_args(arguments)
    if options.device is None and not torch.cuda.is_available() and not options.list:
        print("no GPU is here, and nothing is done; --tiny --device cpu tries the script")
        parser.exit(0)
    options.device = options.device or "cuda"
    try:
        if not options.list:
            pick_device(options.device)
    except ValueError as error:
        parser.error(str(error))
    if options.data != "cifar10" and not options.tiny and not Path(options.data).exists():
        parser.error(
            f"--data {options.data} is not there: a folder or archive of pictures, train/ and test/"
        )
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    options = read(arguments)
    clock = Clock(options.minutes)
    pieces = [p for p in Plans(options, clock).all() if options.only in f"{p.group}: {p.name}"]
    if options.list:
        print("\n".join(f"{p.group}: {p.name}" for p in pieces))
        return 0
    with hold(options.out):
        ledger = Ledger(options.out)
        ledger.write(machine=about(options.device), minutes=options.minutes)
        try:
            ended = go(pieces, ledger, clock, partial(print, flush=True), options.again)
        except RuntimeError as error:
            print(f"{error}: a new process goes on", flush=True)
            ended = None
    if ended is None and not clock.over(30):
        given = sys.argv[1:] if arguments is None else list(arguments)
        left = ["--minutes", f"{clock.left:.2f}"]
        os.execv(sys.executable, [sys.executable, __file__, *given, *left])
    print("all is done" if ended else "give the same command again", f"({ledger.page})")
    return 0


if __name__ == "__main__":
    sys.exit(main())
