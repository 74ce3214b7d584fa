"""Chapter 02: its exercises and its quiz."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch.func import grad

from mpkit.course.exercises import Verdict, exercise, number, right, wrong
from mpkit.course.plane import scene
from mpkit.course.quiz import load_quiz
from mpkit.lab.unroll_toy import Params, Toy, network, sgd_step


@exercise(
    "02.step",
    "8 minutes",
    hints=(
        "The loss is F.cross_entropy(network(p, x), y), as a function of p. grad(loss)(params) "
        "gives a dictionary with the names of params.",
        "Build a new dictionary: for each name, the weight minus lr times its gradient.",
    ),
    solution="""import torch.nn.functional as F
from torch.func import grad


def my_step(network, params, x, y, lr):
    slopes = grad(lambda p: F.cross_entropy(network(p, x), y))(params)
    return {name: w - lr * slopes[name] for name, w in params.items()}""",
)
def step(answer: object) -> Verdict:
    """A function of network, params, x, y and lr: the weights after one SGD step."""
    if not callable(answer):
        return wrong("a function of network, params, x, y and lr is wanted.")
    toy, lr = scene(0), 0.25
    given = {k: w.clone() for k, w in toy.params.items()}
    said = answer(network, given, toy.x, toy.y, lr)
    if said is None:
        return Verdict(None, "it still returns None. A loss, grad of it, and a new dictionary.")
    if any(not torch.equal(given[k], w) for k, w in toy.params.items()):
        return wrong("the weights you were given have changed: return new ones, leave w₀ alone.")
    shapes = {k: getattr(w, "shape", None) for k, w in said.items()} if type(said) is dict else {}
    if shapes != {k: w.shape for k, w in toy.params.items()}:
        return wrong("a dictionary with the names and the shapes of params is wanted.")
    g = grad(lambda p: F.cross_entropy(network(p, toy.x), toy.y))(toy.params)
    usual = (
        (1, -lr, ""),
        (1, lr, "the sign: that climbs, and the training loss rises."),
        (1, -1, "where is lr? That is a step of the gradient's whole length."),
        (1, -lr * len(toy.y), "too far, by the number of points: take the mean, not the sum."),
        (0, 1, "that is the gradient; subtract lr times it from the weights."),
        (0, -lr, "that is the move alone; the weights themselves are missing."),
    )
    for own, slope, words in usual:
        wanted = {k: own * w + slope * g[k] for k, w in toy.params.items()}
        if all(torch.allclose(said[k].to(w), w, rtol=1e-6, atol=1e-9) for k, w in wanted.items()):
            return wrong(words) if words else _differentiable(answer, toy, lr)
    return wrong("w − lr·∇CE(w; x, y), for each name in params: that is not what comes out.")


def _differentiable(answer: Callable[..., Params], toy: Toy, lr: float) -> Verdict:
    """Whether the gradient passes through a step whose numbers are right."""
    x = toy.x.clone().requires_grad_()
    slope = lambda params: torch.autograd.grad(toy.adversarial_loss(params), x)[0]  # noqa: E731
    with contextlib.suppress(RuntimeError):  # what does not depend on x has no gradient
        found = slope(answer(network, toy.params, x, toy.y, lr))
        if torch.allclose(found, slope(sgd_step(toy.params, x, toy.y, lr)), atol=1e-9):
            return right("new weights as a function of the old ones and of the data.")
    return wrong("the numbers are right, but the way back to x is cut: no detach, no backward().")


@exercise(
    "02.bound",
    "4 minutes",
    hints=(
        "To first order the change is gradient · move, and each coordinate chooses its own sign.",
        "Move by (−0.1, +0.1): both terms of the inner product are then below zero.",
    ),
    solution="0.03 * -0.1 + -0.04 * 0.1  # −0.007: ε times the sum of the absolute values",
)
def bound(answer: object) -> Verdict:
    """The change of L_adv for the gradient (0.03, −0.04) and |move| ≤ 0.1 in each coordinate."""
    value = number(answer)
    if value is None:
        return wrong("a number is wanted.")
    usual = (
        (0.007, "the size is right, but the loss falls: the sign."),
        (0.005, "that is for a move of length 0.1. Here each coordinate may go 0.1."),
        (0.001, "the coordinates need not move the same way: each has a sign of its own."),
        (0.07, "that is the slope alone: multiply it by how far the poison goes."),
    )
    if abs(value + 0.007) < 1e-9:
        return right("ε·(|0.03| + |−0.04|), downhill. Many coordinates add up: so do many pixels.")
    for size, words in usual:
        if abs(abs(value) - size) < 1e-9:
            return wrong(words)
    return wrong(f"{value:g} is not it: move each coordinate by ±0.1, against its own slope.")


@exercise(
    "02.residual",
    "4 minutes",
    hints=(
        "CE = log Σ exp(z_j) − z_label. Differentiate it with respect to each z_j.",
        "The first term gives the probabilities; the second subtracts 1 at the label.",
    ),
    solution="residual = (0.2, 0.5 - 1, 0.3)  # p − y: probabilities minus the one-hot label",
)
def residual(answer: object) -> Verdict:
    """The gradient of CE by three logits, for probabilities (0.2, 0.5, 0.3) and label 1."""
    try:
        said = [float(v) for v in answer]
    except (TypeError, ValueError):
        return wrong("three numbers are wanted, in brackets: one for each logit.")
    usual = (
        ((0.2, -0.5, 0.3), ""),
        ((-0.2, 0.5, -0.3), "the sign: a larger score of the right class lowers the loss."),
        ((0.2, 0.5, 0.3), "those are the probabilities: where does the label come in?"),
        ((0.0, -0.5, 0.0), "the other scores matter as well: they are in the softmax."),
        (
            (0.0, -2.0, 0.0),
            "that is with respect to the probabilities, −1/p; the logits are asked for.",
        ),
        ((-0.8, 0.5, 0.3), "classes are counted from 0: label 1 is the second."),
    )
    for wanted, words in usual:
        if len(said) == 3 and max(abs(a - b) for a, b in zip(said, wanted, strict=True)) < 1e-6:
            return wrong(words) if words else right("p − y: it vanishes with what was learned.")
    if len(said) != 3 or isinstance(answer, dict):
        return wrong("three numbers are wanted, in brackets: one for each logit.")
    return wrong("three numbers that add up to zero; only one of them is below zero.")


QUIZ = load_quiz("02")
