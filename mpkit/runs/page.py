"""A run as one HTML page with a player: it needs no Python and no server, and asks nobody anything.

Names of classes come from users, so they go into the page as JSON, and from there into texts. The
page's own policy lets no script run but its own, and nothing be fetched.
"""

from __future__ import annotations

import base64
import hashlib
import html
import io
import json
import re
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from mpkit.data.names import one_line
from mpkit.data.schema import strict
from mpkit.evaluation.rates import percent, rate
from mpkit.evaluation.records import ARMS, VictimRecord
from mpkit.runs.frames import SHOWN, Frames
from mpkit.runs.ghost import likeness, spread
from mpkit.runs.sheet import levels
from mpkit.runs.story import Story
from mpkit.runs.summary import CALLED

TEMPLATE = Path(__file__).with_suffix(".html")
LARGEST = 128
"""Pixels a side of a picture in the page; larger ones are scaled down."""


def page(story: Story) -> str:
    """The whole page. It plays what the story holds: losses step by step, pictures of the steps
    that were kept, or the finished poisons, and victims one after another."""
    text = TEMPLATE.read_text(encoding="utf-8")
    script = text.split("<script>")[1].split("</script>")[0]
    found = hashlib.sha256(script.encode()).digest()
    data = json.dumps(strict(_data(story)), ensure_ascii=True, allow_nan=False)
    # No "<" in it: whatever a class is called, it ends no script.
    parts = {"data": data.replace("<", "\\u003c"), "title": html.escape(_title(story))}
    parts["script"] = f"'sha256-{base64.b64encode(found).decode()}'"
    head, body = text.split("<script>")  # the player itself is left alone
    head = re.sub(r"\[\[(\w+)\]\]", lambda found: parts[found[1]], head)
    return f"{head}<script>{body}"


def _quoted(name: str) -> str:
    return f"“{one_line(name)}”"


def _title(story: Story) -> str:
    return story.title(_quoted)


def _data(story: Story) -> dict:
    """All that is in the page, as JSON."""
    s = story.attack.settings
    return {
        "title": _title(story),
        "names": [one_line(name) for name in story.names],
        "true": one_line(story.true),
        "wanted": one_line(story.wanted),
        "hide": story.attack.goal == "self-concealment",
        "kind": s.loss,
        "sub": _sub(story),
        "missing": story.missing and "The pictures of this run were not at hand.",
        "steps": [{"loss": r.loss, "losses": r.losses} for r in story.steps],
        "pictures": _pictures(story),
        "arms": [_arm(story, arm) for arm in ARMS if arm in story.arms],
        "why": one_line(story.why),
        "settings": [[name, one_line(value)] for name, value in story.settings],
        "code": story.code,
    }


def _sub(story: Story) -> str:
    """What was done, in a sentence or two."""
    a = story.attack
    if not story.scenario:
        return f"{percent(a.budget)} of the pictures that they learned from may be changed."
    many, of = len(story.scenario.bases), len(story.scenario.train)
    how = f"were changed, within {a.settings.bounds_in_words}. All labels are right"
    if story.scenario.flips:
        how = f"got the label {_quoted(story.wanted)}. No pixel was changed"
    of = f"{many:,} of the {of:,} pictures that the victims learned from"
    return f"{of} {how}, and the target never changed."


# ── pictures ────────────────────────────────────────────────────────────────────────────────────


def _pictures(story: Story) -> dict | None:
    """The target, and rows of bases and poisons as one picture each; None without the data."""
    scenario, frames = story.scenario, _frames(story)
    if scenario is None:
        return None
    target = scenario.targets[0]
    found = {"target": _uri(levels(target)[None, None]), "frames": None}
    if frames is None:
        return found
    bases = scenario.base_images[list(frames.which)].cpu()
    base = np.rint(255 * bases.numpy())
    largest = int(np.abs(frames.pictures.numpy().astype(int) - base[None]).max())
    names = [story.names[int(y)] for y in scenario.train.y[scenario.bases[list(frames.which)]]]
    mean = frames.mean.double()
    factors = [max(1, int(127 / max(1e-9, float(m.abs().quantile(0.95))))) for m in mean]
    ghosts = torch.stack([128 + f * m for f, m in zip(factors, mean, strict=True)])
    return found | {
        "frames": list(frames.steps),
        "columns": len(frames.which),
        "labels": [one_line(name) for name in names],
        "bases": _uri(base[None]),
        "poisons": _uri(frames.pictures.numpy()),
        "factor": max(1, 127 // max(1, largest)),
        "many": len(scenario.bases),
        "flips": scenario.flips and f"labelled {_quoted(story.wanted)}",
        "ghosts": _uri(ghosts.numpy()[:, None]),
        "factors": factors,
        "alike": [round(likeness(m, target), 3) for m in mean],
    }


def _frames(story: Story) -> Frames | None:
    """Those that were kept, or the finished poisons as the only one."""
    if story.frames or story.scenario is None or story.poisons is None:
        return story.frames
    bases = (255 * story.scenario.base_images.cpu()).round()
    change = story.poisons.cpu().float() - bases
    which = sorted(spread(change.abs().mean((1, 2, 3)), SHOWN))
    pictures = story.poisons.cpu()[which][None]
    return Frames((len(story.steps),), tuple(which), pictures, change.mean(0)[None].half())


def _uri(pictures: np.ndarray) -> str:
    """Pictures (rows, columns, C, H, W) of levels side by side and under one another, as a PNG."""
    shown = np.clip(pictures, 0, 255).astype(np.uint8)
    rows, columns, channels, high, wide = shown.shape
    sheet = shown.transpose(0, 3, 1, 4, 2).reshape(rows * high, columns * wide, channels)
    image = Image.fromarray(sheet[..., 0] if channels == 1 else sheet)
    if max(high, wide) > LARGEST:
        shrunk = [max(1, round(LARGEST * side / max(high, wide))) for side in (wide, high)]
        image = image.resize((columns * shrunk[0], rows * shrunk[1]), Image.Resampling.BOX)
    file = io.BytesIO()
    image.save(file, "png", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"


# ── victims ─────────────────────────────────────────────────────────────────────────────────────


def _arm(story: Story, arm: str) -> dict:
    """An arm's victims as they arrive: what each gives the target, and the rate so far."""
    mine = sorted((r for r in story.victims if r.arm == arm), key=lambda r: r.victim)
    hide, so_far, won, n = story.attack.goal == "self-concealment", [], 0, 0
    for r in mine:
        won, n = won + sum(r.success), n + len(r.success)
        found = rate(won, n)
        so_far.append([won, n, round(found.low, 4), round(found.high, 4)])
    return {
        "name": CALLED[arm][0],
        "arm": arm,
        "chances": [_chance(r, hide) for r in mine],
        "rates": so_far,
        "says": [list(r.probabilities[0]) if r.probabilities else None for r in mine],
        "accuracy": percent(story.arms[arm]["accuracy"]),
        "diverged": story.arms[arm].get("diverged", 0),
    }


def _chance(record: VictimRecord, hide: bool) -> float | None:
    """What a victim gives the attacker's wish for the first target; None where it diverged."""
    said = record.true_probability[0] if hide else record.adversarial_probability[0]
    return said if said is None or not hide else 1 - said
