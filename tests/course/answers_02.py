"""Chapter 02's usual wrong answers: (exercise, answer, words of the verdict)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch.func import grad


def step(move, reduction="mean", own=1):
    """A student's SGD step: own·w + move(lr)·∇CE."""

    def answer(network, params, x, y, lr):
        loss = lambda p: F.cross_entropy(network(p, x), y, reduction=reduction)  # noqa: E731
        slopes = grad(loss)(params)
        return {k: own * w + move(lr) * slopes[k] for k, w in params.items()}

    return answer


def in_place(network, params, x, y, lr):
    slopes = grad(lambda p: F.cross_entropy(network(p, x), y))(params)
    for name in params:
        params[name] -= lr * slopes[name]
    return params


def rebinding(network, params, x, y, lr):
    slopes = grad(lambda p: F.cross_entropy(network(p, x), y))(params)
    for name in params:
        params[name] = params[name] - lr * slopes[name]
    return params


def cut(network, params, x, y, lr):
    return {k: w.detach() for k, w in step(lambda lr: -lr)(network, params, x, y, lr).items()}


def backward(network, params, x, y, lr):
    params = {k: w.detach().clone().requires_grad_() for k, w in params.items()}
    F.cross_entropy(network(params, x), y).backward()
    return {k: (w - lr * w.grad).detach() for k, w in params.items()}


def calling_backward(network, params, x, y, lr):
    F.cross_entropy(network(params, x), y).backward()
    return {k: w - lr * w.grad for k, w in params.items()}


def backward_within_grad(network, params, x, y, lr):
    def loss(p):
        value = F.cross_entropy(network(p, x), y)
        value.backward()
        return value

    return grad(loss)(params)


def without_backward(network, params, x, y, lr):
    return {k: w - lr * w.grad for k, w in params.items()}


def grad_of_a_value(network, params, x, y, lr):
    slopes = grad(F.cross_entropy(network(params, x), y))(params)
    return {k: w - lr * slopes[k] for k, w in params.items()}


def grad_not_called(network, params, x, y, lr):
    slopes = grad(lambda p: F.cross_entropy(network(p, x), y))
    return {k: w - lr * slopes[k] for k, w in params.items()}


def grad_of_a_plain_number(network, params, x, y, lr):
    return grad(lambda p: F.cross_entropy(network(p, x), y).item())(params)


WRONG = [
    ("02.step", step(lambda lr: lr), "the sign"),
    ("02.step", step(lambda lr: -1), "where is lr"),
    ("02.step", step(lambda lr: -lr, "sum"), "not the sum"),
    ("02.step", step(lambda lr: 1, own=0), "that is the gradient"),
    ("02.step", step(lambda lr: -lr, own=0), "weights themselves are missing"),
    ("02.step", step(lambda lr: -2 * lr), "not what comes out"),
    ("02.step", calling_backward, "torch.func works with functions"),
    ("02.step", backward_within_grad, "torch.func works with functions"),
    ("02.step", without_backward, "torch.func works with functions"),
    ("02.step", grad_of_a_value, "not as a value"),
    ("02.step", grad_not_called, "not as a value"),
    ("02.step", grad_of_a_plain_number, "no .item()"),
    ("02.step", step(lambda lr: -lr, "none"), "take the mean"),
    ("02.step", in_place, "leave w₀ alone"),
    ("02.step", rebinding, "leave w₀ alone"),
    ("02.step", cut, "the way back to x is cut"),
    ("02.step", backward, "the way back to x is cut"),
    ("02.step", lambda network, params, x, y, lr: list(params.values()), "a dictionary"),
    ("02.step", lambda network, params, x, y, lr: dict.fromkeys(params, 1.0), "the shapes"),
    ("02.step", lambda params, x, y: params, "raised TypeError"),
    ("02.step", {"w1": torch.zeros(1)}, "a function"),
    ("02.bound", 0.007, "the sign"),
    ("02.bound", -0.005, "length 0.1"),
    ("02.bound", -0.001, "a sign of its own"),
    ("02.bound", -0.07, "that is the slope"),
    ("02.bound", 0.1, "against its own slope"),
    ("02.residual", (-0.2, 0.5, -0.3), "the sign"),
    ("02.residual", (0.2, 0.5, 0.3), "where does the label"),
    ("02.residual", (0, -0.5, 0), "the other scores"),
    ("02.residual", [0, -2, 0], "to the probabilities"),
    ("02.residual", (-0.8, 0.5, 0.3), "counted from 0"),
    ("02.residual", (0.2, 0.5), "three numbers are wanted"),
    ("02.residual", (0.5, -0.2, -0.3), "add up to zero"),
    ("02.residual", {0: 1, 1: 2, 2: 3}, "three numbers are wanted"),
    ("02.residual", 0.5, "three numbers are wanted"),
]
