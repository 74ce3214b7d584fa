"""Feature collision under MetaPoison's bound, on the targets of the recorded tables (chapter 01).

    python tests/benchmarks/collision_rates.py [--data signs] [--pairs 8] [--victims 6]

For every pair of `mpkit sweep --data signs --fine-tune no --pairs 8 --pairs-seed 2`: all bases are
moved towards the target in the features of a network trained on clean pictures (forward steps
only, β = 0), projected to the ±ε that is usual for these data, and rounded to 8 bits. Fresh victims
retrain the last layer on that network's features, or train from scratch. Prints both success rates,
and those without poisons.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import torch
from bench.clock import add_json, headline, write_json
from torch import Tensor

from mpkit.course.features import Features, features_of, linear_layer
from mpkit.device import plan_for
from mpkit.evaluation.rates import rate
from mpkit.evaluation.victims import predict, victim_seed
from mpkit.runs.attack import make_attack
from mpkit.runs.pairs import draw_pairs
from mpkit.runs.prepared import load_scenario, prepare
from mpkit.streams import stream
from mpkit.training import train

STEPS, RATE = 100, 0.1


def collided(phi: Features, target: Tensor, bases: Tensor, epsilon: float) -> Tensor:
    """8-bit pictures (P, C, H, W) within ±ε of the bases, their features near the target's."""
    wanted, x = phi(target[None]), bases.clone()
    for _ in range(STEPS):
        slope = torch.func.grad(lambda p: (phi(p) - wanted).square().sum())(x)
        length = slope.flatten(1).norm(dim=1).clamp(min=1e-12)
        x = x - RATE * slope / length[:, None, None, None]
        x = torch.minimum(torch.maximum(x, bases - epsilon), bases + epsilon).clamp(0, 1)
    return (255 * x).round() / 255


def said_by(network, x: Tensor, y: Tensor, target: Tensor, recipe, seeds: list[int]) -> Tensor:
    """What fresh victims trained on (x, y) call the target: (victims,)."""
    plan = plan_for(len(seeds), x.device)
    *_, (state, _) = train(network, x, y, recipe, seeds, plan=plan)
    return predict(network, state, target[None])[:, 0].argmax(-1)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", choices=("signs", "digits"), default="signs")
    parser.add_argument("--pairs", type=int, default=8)
    parser.add_argument("--victims", type=int, default=6)
    add_json(parser)
    a = parser.parse_args(arguments)
    print(headline())
    turned = {(kind, arm): 0 for kind in ("last layer", "scratch") for arm in ("poisoned", "clean")}
    scene = {"data": a.data, "network": "mlp", "fine_tune": "no"}
    names = load_scenario(make_attack(**scene), progress=False).train.classes
    for true, wanted, index in draw_pairs(names, a.pairs, 2):
        pair = {"target_class": true, "poison_class": wanted, "target_index": (index,)}
        attack = make_attack(**scene, **pair)
        ready = prepare(attack, progress=False)
        scenario, recipe = ready.scenario, attack.victim_recipe
        y, target = scenario.train.y, scenario.targets[0]
        *_, (state, _) = train(ready.network, scenario.train.x, y, recipe, [stream(0, "published")])
        phi = features_of(ready.network, state.pick(0))
        poisons = collided(phi, target, scenario.base_images, attack.settings.epsilon)
        layer, flat = linear_layer(128, len(names)), lambda p, phi=phi: phi(p)[:, None, None]
        seeds = [victim_seed(0, v) for v in range(a.victims)]
        for arm, x in (("poisoned", scenario.poisoned(poisons)), ("clean", scenario.train.x)):
            said = {
                "last layer": said_by(layer, flat(x), y, flat(target[None])[0], recipe, seeds),
                "scratch": said_by(ready.network, x, y, target, recipe, seeds),
            }
            for kind, labels in said.items():
                turned[kind, arm] += int((labels == names.index(wanted)).sum())
    for (kind, arm), successes in turned.items():
        print(f"{kind:10} {arm:8} {rate(successes, a.pairs * a.victims)}")
    write_json(a.json, {f"{kind}, {arm}": n for (kind, arm), n in turned.items()})


if __name__ == "__main__":
    main()
