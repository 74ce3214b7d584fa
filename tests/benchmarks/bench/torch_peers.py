"""The same meta-gradient by plain torch.autograd, higher and TorchOpt.

Each peer is used as its documentation proposes and without work that it could avoid: modules are
patched once, outside of what is timed; no graph is built for what needs none; each model's graph is
freed before the next model is begun; operations use all of torch's threads. All of them use the
same customary modules (bench/modules.py), with batch norm in plain operations.
"""

from __future__ import annotations

import copy

import torch
import torch.nn.functional as F
from bench.contender import LAYOUTS, Contender
from bench.problem import LR, Problem, margin
from torch import Tensor, nn
from torch.func import functional_call


def autograd(problem: Problem, layout: str = "plain", models: range | None = None) -> Contender:
    """torch.autograd with create_graph=True, weights handed in by `functional_call`; of all models
    or of some."""
    given = [(dict(m.named_parameters()), dict(m.named_buffers())) for m in problem.modules]
    training, testing = _two(problem.modules[0])

    def one(m: int) -> Tensor:
        (params, stats), poisons = given[m], problem.poisons.detach().requires_grad_()
        target, loss = problem.target.contiguous(memory_format=LAYOUTS[layout]), 0
        for k in range(problem.steps):
            x = problem.batch(m, k, poisons if k == 0 else problem.poisons, LAYOUTS[layout])
            stats = {name: s.clone() for name, s in stats.items()}
            logits = functional_call(training, (params, stats), (x,))
            inner = F.cross_entropy(logits, problem.batches.y[m, k])
            grads = torch.autograd.grad(inner, list(params.values()), create_graph=True)
            params = {name: w - LR * g for (name, w), g in zip(params.items(), grads, strict=True)}
            loss = loss + margin(functional_call(testing, (params, stats), (target,)))
        return torch.autograd.grad(loss / problem.steps, poisons)[0]

    chosen = range(problem.models) if models is None else models
    return Contender(lambda: sum(one(m) for m in chosen))


def torchopt_sgd(problem: Problem, layout: str = "plain") -> Contender:
    """TorchOpt's functional SGD, in the wrapper that takes the loss."""
    import torchopt

    names = [name for name, _ in problem.modules[0].named_parameters()]
    given = [(tuple(m.parameters()), dict(m.named_buffers())) for m in problem.modules]
    training, testing = _two(problem.modules[0])

    def one(m: int) -> Tensor:
        (params, stats), poisons = given[m], problem.poisons.detach().requires_grad_()
        target, loss = problem.target.contiguous(memory_format=LAYOUTS[layout]), 0
        optimizer = torchopt.FuncOptimizer(torchopt.sgd(lr=LR))
        for k in range(problem.steps):
            x = problem.batch(m, k, poisons if k == 0 else problem.poisons, LAYOUTS[layout])
            stats = {name: s.clone() for name, s in stats.items()}
            weights = dict(zip(names, params, strict=True))
            logits = functional_call(training, (weights, stats), (x,))
            params = optimizer.step(F.cross_entropy(logits, problem.batches.y[m, k]), params)
            weights = dict(zip(names, params, strict=True))
            loss = loss + margin(functional_call(testing, (weights, stats), (target,)))
        return torch.autograd.grad(loss / problem.steps, poisons)[0]

    return Contender(lambda: sum(one(m) for m in range(problem.models)))


def higher_sgd(problem: Problem, layout: str = "plain") -> Contender:
    """higher's patched module and differentiable SGD, both made once and handed the weights.

    Its patched modules hold batch norm's buffers and write into them, so they are set anew before
    each unroll, and cloned before each step: the step before still needs the old ones.
    """
    import higher

    models = []
    for module in problem.modules:
        optimizer = torch.optim.SGD(module.parameters(), lr=LR)
        patched = higher.patch.make_functional(module)
        models.append((patched, higher.optim.DifferentiableSGD(optimizer, module.parameters())))

    def one(m: int) -> Tensor:
        (patched, optimizer), module = models[m], problem.modules[m]
        target, loss = problem.target.contiguous(memory_format=LAYOUTS[layout]), 0
        params, poisons = list(module.parameters()), problem.poisons.detach().requires_grad_()
        if problem.has_stats:
            higher.patch.buffer_sync(module, patched)
        for k in range(problem.steps):
            x = problem.batch(m, k, poisons if k == 0 else problem.poisons, LAYOUTS[layout])
            if problem.has_stats:
                patched.train()
                _clone_buffers(patched)
            inner = F.cross_entropy(patched(x, params=params), problem.batches.y[m, k])
            params = optimizer.step(inner, params=params)
            if problem.has_stats:
                patched.eval()
            loss = loss + margin(patched(target, params=params))
        return torch.autograd.grad(loss / problem.steps, poisons)[0]

    return Contender(lambda: sum(one(m) for m in range(problem.models)))


def _two(module: nn.Module) -> tuple[nn.Module, nn.Module]:
    """The module for training and for evaluation, so that neither has to be switched."""
    return copy.deepcopy(module).train(), copy.deepcopy(module).eval()


def _clone_buffers(module: nn.Module) -> None:
    for part in module.modules():
        for name, value in part._buffers.items():
            part._buffers[name] = value.clone()
