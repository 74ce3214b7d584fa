"""Text and pictures side by side on paper, with Pillow alone; and pictures for HTML."""

from __future__ import annotations

import base64
import html
import io

import numpy as np
from PIL import Image, ImageDraw
from torch import Tensor

from mpkit.runs.letters import width, write

INK, PAPER, MUTED, LINE = (20, 20, 20), (255, 255, 255), (90, 90, 90), (205, 205, 205)
SMALL, NORMAL, LARGE = 15, 17, 26


def lines(lines: list[tuple[str, int, tuple]], gap: int = 6) -> Image.Image:
    """Lines of text (text, size, colour) under one another, as wide and high as they need."""
    heights = [round(1.25 * size) for _, size, _ in lines]
    wide = int(max(width(text, size) for text, size, _ in lines)) + 2
    sheet = Image.new("RGB", (wide, sum(heights) + gap * (len(lines) - 1)), PAPER)
    draw, top = ImageDraw.Draw(sheet), 0
    for (text, size, colour), height in zip(lines, heights, strict=True):
        write(draw, (0, top), text, size, colour)
        top += height + gap
    return sheet


def levels(picture: Tensor) -> np.ndarray:
    """A picture (C, H, W) in [0, 1] as levels from 0 to 255."""
    return (picture.cpu() * 255).round().numpy()


def cell(picture: np.ndarray, about: int = 128) -> Image.Image:
    """(C, H, W) levels, enlarged without smoothing to `about` so many pixels a side, never fewer
    than 96: each pixel becomes a square, so the side is a multiple. What is larger by itself is
    scaled down."""
    pixels = np.clip(picture[0] if len(picture) == 1 else picture.transpose(1, 2, 0), 0, 255)
    image, longest = Image.fromarray(pixels.astype(np.uint8)).convert("RGB"), max(picture.shape[1:])
    if longest > 1.5 * about:
        image.thumbnail((about, about))
        return image
    times = max(round(about / longest), -(-96 // longest))
    return image.resize((times * image.width, times * image.height), Image.Resampling.NEAREST)


def beside(left: Image.Image, right: Image.Image, gap: int) -> Image.Image:
    """Two parts, their tops at one height."""
    sheet = Image.new(
        "RGB", (left.width + gap + right.width, max(left.height, right.height)), PAPER
    )
    sheet.paste(left, (0, 0))
    sheet.paste(right, (left.width + gap, 0))
    return sheet


def stacked(parts: list[Image.Image], gap: int) -> Image.Image:
    """Parts under one another, on the left."""
    height = sum(part.height for part in parts) + gap * (len(parts) - 1)
    sheet, top = Image.new("RGB", (max(part.width for part in parts), height), PAPER), 0
    for part in parts:
        sheet.paste(part, (0, top))
        top += part.height + gap
    return sheet


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
