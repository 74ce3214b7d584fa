"""Pictures with Pillow alone: of a run (target, and base | δ magnified | poison), and for HTML."""

from __future__ import annotations

import base64
import html
import io
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from mpkit.scenario import Scenario

CELL, GAP, COLUMNS = 112, 12, 6
INK, PAPER, MUTED = (20, 20, 20), (255, 255, 255), (90, 90, 90)


def summary_picture(path: Path, scenario: Scenario, poisons: Tensor, lines: list[str]) -> None:
    """Write a PNG: `lines` of text, the first target, then up to six columns of three pictures.

    poisons uint8 (P, C, H, W). The change is shown around grey, magnified as far as fits; the
    factor is written beside it (in letters that Pillow's own font has).
    """
    bases = (scenario.base_images.cpu() * 255).round().numpy().astype(np.int16)
    found = poisons.cpu().numpy().astype(np.int16)
    delta, shown = found - bases, min(COLUMNS, len(found))
    factor = max(1, 127 // max(1, int(np.abs(delta).max())))
    rows = {
        "base": bases,
        f"change x{factor}": np.clip(128 + delta * factor, 0, 255),
        "poison": found,
    }
    text, left = 22 * (len(lines) + 1), 90
    font = ImageFont.load_default(15)
    widths = [font.getlength(line) + 2 * GAP for line in lines]
    width = int(max(620, left + (shown + 1) * (CELL + GAP) + 2 * GAP, *widths))
    sheet = Image.new("RGB", (width, text + len(rows) * (CELL + GAP) + GAP), PAPER)
    draw = ImageDraw.Draw(sheet)
    for i, line in enumerate(lines):
        draw.text((GAP, GAP + 22 * i), line, INK, font)
    for r, (name, pictures) in enumerate(rows.items()):
        top = text + r * (CELL + GAP)
        draw.text((GAP, top + CELL // 2), name, MUTED, font)
        for c in range(shown):
            sheet.paste(_cell(pictures[c]), (left + c * (CELL + GAP), top))
    right = left + shown * (CELL + GAP) + GAP
    target = (scenario.targets[0].cpu() * 255).round().numpy()
    sheet.paste(_cell(target), (right, text))
    draw.text((right, text + CELL + 2), "target", MUTED, font)
    sheet.save(path)


def _cell(picture: np.ndarray) -> Image.Image:
    """(C, H, W) levels as a square of CELL pixels, enlarged without smoothing."""
    pixels = picture[0] if len(picture) == 1 else picture.transpose(1, 2, 0)
    return Image.fromarray(pixels.astype(np.uint8)).convert("RGB").resize((CELL, CELL), 0)


def picture_tag(picture: Tensor, alt: str, size: int) -> str:
    """An <img> of a picture (C, H, W) in [0, 1], `size` pixels wide, enlarged without smoothing."""
    levels = (picture.detach().cpu().clamp(0, 1) * 255).round().byte().numpy()
    pixels = levels[0] if len(levels) == 1 else levels.transpose(1, 2, 0)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "png")
    data = base64.b64encode(file.getvalue()).decode()
    return (
        f'<img alt="{html.escape(alt)}" src="data:image/png;base64,{data}" '
        f'style="width:{size}px;image-rendering:pixelated">'
    )
