"""Chapter 06: usual wrong answers, as (exercise, answer, words of the message)."""

from __future__ import annotations

import torch

from mpkit.evaluation.rates import rate


def _wilson(k, n):
    return rate(k, n).low, rate(k, n).high


def _wald(k, n, z=1.96):
    p = k / n
    half = z * (p * (1 - p) / n) ** 0.5
    return p - half, p + half


def _slip(middle=False, under=False, root=0.5, bend=True, z=1.96):
    def wilson(k, n):
        p = k / n
        centre = p + (z**2 / 2 * n if middle else z**2 / (2 * n))
        half = z * (p * (1 - p) / n + (z**2 / 4 * n**2 if under else z**2 / (4 * n**2))) ** root
        by = 1 + z**2 / n if bend else 1
        return (centre - half) / by, (centre + half) / by

    return wilson


def _one_number(bases, levels, seed):
    draw = torch.Generator().manual_seed(seed)
    change = torch.randint(-levels, levels + 1, (len(bases), 1, 1, 1), generator=draw)
    return (bases + change).clamp(0, 255)


def _draw(bases, levels, seed):
    return torch.randint(
        -levels, levels + 1, bases.shape, generator=torch.Generator().manual_seed(seed)
    )


def _fractions(bases, levels, seed):
    draw = torch.Generator().manual_seed(seed)
    change = (2 * torch.rand(bases.shape, generator=draw) - 1) * levels
    return (bases + change).clamp(0, 255)


def _gaussian(bases, levels, seed):
    draw = torch.Generator().manual_seed(seed)
    return (bases + (levels * torch.randn(bases.shape, generator=draw)).round()).clamp(0, 255)


def _two_values(bases, levels, seed):
    return (bases + levels * (2 * (_draw(bases, levels, seed) > 0) - 1)).clamp(0, 255)


def _one_way(bases, levels, seed):
    return (bases + _draw(bases, levels, seed).abs()).clamp(0, 255)


def _one_pattern(bases, levels, seed):
    return (bases + _draw(bases[:1], levels, seed)).clamp(0, 255)


def _unseeded(bases, levels, seed):
    return (bases + torch.randint(-levels, levels + 1, bases.shape)).clamp(0, 255)


def _open_end(bases, levels, seed):
    draw = torch.Generator().manual_seed(seed)
    return (bases + torch.randint(-levels, levels, bases.shape, generator=draw)).clamp(0, 255)


def _bell(bases, levels, seed):
    draw = torch.Generator().manual_seed(seed)
    change = (levels / 3 * torch.randn(bases.shape, generator=draw)).round()
    return (bases + change.clamp(-levels, levels)).clamp(0, 255)


def _deaf(bases, levels, seed):
    return (bases + _draw(bases, levels, 0)).clamp(0, 255)


WRONG = [
    ("06.wilson", _slip(middle=True), "into brackets"),
    ("06.wilson", _slip(middle=True, under=True), "into brackets"),
    ("06.wilson", _slip(root=1), "where is the root"),
    ("06.wilson", _slip(bend=False), "both divided"),
    ("06.noise", _draw, "the noise alone"),
    ("06.noise", _one_number, "moved alike"),
    ("06.noise", _open_end, "upper end"),
    ("06.noise", _bell, "more likely"),
    ("06.noise", _deaf, "another seed"),
    ("06.wilson", 0.68, "a function of k and n"),
    ("06.wilson", _wald, "no width at all"),
    ("06.wilson", lambda k, n: _wilson(k, n)[::-1], "the lower end comes first"),
    ("06.wilson", lambda k, n: tuple(100 * v for v in _wilson(k, n)), "per cent"),
    ("06.wilson", lambda k, n: k / n, "two numbers"),
    ("06.wilson", lambda k, n: (*_wilson(k, n), k / n), "two numbers"),
    ("06.wilson", lambda k, n: (0.0, 1.0), "for 8 of 8"),
    ("06.noise", torch.zeros(1), "a function of bases"),
    ("06.noise", _fractions, "whole grey levels"),
    ("06.noise", lambda b, levels, seed: b + _draw(b, levels, seed), "no picture can hold"),
    ("06.noise", _gaussian, "the same bound"),
    ("06.noise", lambda b, levels, seed: b, "nothing was changed"),
    ("06.noise", _one_way, "in the same direction"),
    ("06.noise", _two_values, "what lies between"),
    ("06.noise", _one_pattern, "a pattern"),
    ("06.noise", lambda b, levels, seed: (b + _draw(b, 9, seed)).clamp(0, 255), "far within"),
    ("06.noise", _unseeded, "two different results"),
    ("06.noise", lambda b, levels, seed: _draw(b, levels, seed)[0], "of the shape of bases"),
    ("06.claim", "a", "how was it chosen"),
    ("06.claim", "C", "no control"),
    ("06.claim", "d", '"a", "b" or "c"'),
    ("06.transfer", "convnet", "a set of names"),
    ("06.transfer", {"convnet", "lr"}, "no fewer turned"),
    ("06.transfer", {"convnet", "augmentation", "batch"}, "batch"),
    ("06.transfer", {"augmentation"}, "one is missing"),
    ("06.transfer", {"convnet", "resnet"}, "is no row"),
    ("06.transfer", set(), "one is missing"),
]
