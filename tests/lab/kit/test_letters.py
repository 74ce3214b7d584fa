"""Names in any letters, in every figure of every lab."""

from __future__ import annotations

import ast
import html
import warnings
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from matplotlib import font_manager
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

from mpkit.lab import CompareLab, CraftLab, LookaheadLab, ReplayLab, UnrollLab
from mpkit.lab.kit import letters
from mpkit.lab.kit.canvas import new_figure
from mpkit.lab.kit.letters import shown
from mpkit.lab.kit.views import legend
from tests.conftest import ROOT
from tests.data.conftest import pack
from tests.fonts import found_anew, square_font
from tests.lab.conftest import LABS, finished

NAMES = ("$5 & $$", "_\U00012000é")
"""A price, and cuneiform behind an underscore: few machines have a font for that."""


@pytest.fixture
def fonts(monkeypatch):
    """matplotlib's settings are put back, and what is known of fonts is found anew."""
    with matplotlib.rc_context(), found_anew(letters._found, letters._has):
        yield


@pytest.fixture
def cuneiform(tmp_path, monkeypatch, fonts):
    """A font with one letter, a square, found as those of the system are."""
    path = square_font(tmp_path / "unifont.ttf", 0x12000)
    before = list(font_manager.fontManager.ttflist)
    font_manager.fontManager.addfont(path)
    yield path
    font_manager.fontManager.ttflist[:] = before


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("run 1", "run 1"),
        ("$x$", r"\$x\$"),
        ("$$", r"\$\$"),
        ("_x", " _x"),
        ("_$", r" _\$"),
        ("e\u0301 ε×\n", "é ε×"),
        ("a\nb", "a b"),
        ("\U00012000", "[U+12000]"),
    ],
)
def test_letters_are_shown_as_they_are(text, seen, fonts):
    assert shown(text) == seen


def test_a_letter_that_a_font_here_has_is_drawn_with_it(cuneiform):
    figure = new_figure(2, 1)
    assert shown("a\U00012000") == "a\U00012000"
    figure.text(0.5, 0.5, shown("\U00012000"), fontsize=30)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure.canvas.draw()
    dark = (np.asarray(figure.canvas.buffer_rgba())[..., 0] < 100).sum()
    assert dark > 0.8 * (0.9 * 30 / 72 * 150) ** 2  # the square, at 150 pixels an inch


def test_fonts_are_asked_behind_those_that_somebody_has_chosen(cuneiform):
    matplotlib.rcParams["font.family"] = ["monospace"]
    for _ in range(2):
        new_figure(1, 1)
        assert matplotlib.rcParams["font.family"][0] == "monospace"
        assert matplotlib.rcParams["font.family"].count("Clay") == 1


def test_a_name_behind_an_underscore_is_in_the_legend():
    axes = Figure().add_subplot()
    axes.plot([], [], label=shown("_mine"))
    axes.plot([], [], label="_")
    legend(axes)
    assert [t.get_text() for t in axes.get_legend().get_texts()] == [" _mine"]


# ── in every lab ────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def named(tmp_path):
    """Pictures of two classes with such names."""
    draw = np.random.default_rng(0)

    def picture(c: int) -> bytes:
        pixels = draw.integers(0, 60, (8, 8), np.uint8)
        pixels[:, 4 * c : 4 * c + 4] += 150
        Image.fromarray(pixels).save(tmp_path / "one.png")
        return (tmp_path / "one.png").read_bytes()

    files = {
        f"{split}/{name}/{i}.png": picture(c)
        for split in ("train", "test")
        for c, name in enumerate(NAMES)
        for i in range(30)
    }
    how = {"data": str(pack(tmp_path, files)), "classes": None, "size": None, "network": "mlp"}
    return how | {"target_class": NAMES[0], "poison_class": NAMES[1]}


def texts(lab) -> list[Text]:
    return [t for t in lab.canvas.figure.findobj(Text) if t.get_text().strip()]


OTHERS = [k for k in LABS if k not in (UnrollLab, LookaheadLab)]  # these have their own classes


@pytest.mark.parametrize("kind", OTHERS, ids=lambda k: k.__name__)
def test_every_lab_shows_names_as_they_are(kind, small, named, until, tmp_path, monkeypatch):
    monkeypatch.setenv("MPKIT_SCALE", "ci")
    if kind is CompareLab:
        pair = named.pop("target_class"), named.pop("poison_class"), 0
        variants = {name: {} for name in NAMES}
        lab = small(kind, variants=variants, pairs=[pair], **named)
    elif kind is ReplayLab:
        lab = small(CraftLab, **named)
        finished(lab, until)
        lab = ReplayLab(lab.save(tmp_path), rate=1000)
    else:
        lab = small(kind, **named)
    finished(lab, until)
    lab._keep("_$kept$")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        lab.canvas.draw()
        lab.canvas.png()
    found = [t.get_text() for t in texts(lab)]
    for name in NAMES:
        raw = [t for t in found if name in t]
        assert not raw, f"not through `shown`: {raw}"
    assert any(shown(NAMES[0]) in t or shown(NAMES[1]).strip() in t for t in found)
    assert not any(t._preprocess_math(t.get_text())[1] for t in texts(lab))
    kept = [t for axes in lab.canvas.figure.axes if axes.get_legend()
            for t in axes.get_legend().get_texts() if r"_\$kept\$" in t.get_text()]  # fmt: skip
    assert len(kept) == 1
    alt = html.unescape(lab.canvas.widget.value).split("style=")[0]
    assert r"\$" not in alt
    if kind is ReplayLab:
        lab.close()


# ── whoever writes the next one ─────────────────────────────────────────────────────────────────

WRITERS = ("set_title", "set_xlabel", "set_ylabel", "suptitle", "set_text", "set_label", "text",
           "annotate", "set_xticklabels", "set_yticklabels")  # fmt: skip


def unshown(path: Path) -> list[str]:
    """Texts for figures that are neither literal, nor numbers, nor `shown`."""
    found = []
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if not isinstance(node, ast.Call):
            continue
        drawn = isinstance(node.func, ast.Attribute) and node.func.attr != "replace"
        labels = [k.value for k in node.keywords if k.arg == "label" and drawn]
        if isinstance(node.func, ast.Attribute) and node.func.attr in WRITERS:
            labels += node.args[-1:] if node.func.attr != "annotate" else node.args[:1]
        found += [
            f"{path.name}:{node.lineno} {ast.unparse(given)}"
            for given in labels
            if not harmless(given)
        ]
    return found


def harmless(given: ast.expr) -> bool:
    text = ast.unparse(given)
    parts = given.values if isinstance(given, ast.JoinedStr) else ()
    numbers = all(isinstance(p, ast.Constant) or p.format_spec for p in parts) if parts else False
    literal = isinstance(given, ast.Constant | ast.List) or text == "str(i + 1)"
    return "shown(" in text or literal or numbers


def test_texts_that_are_not_shown_are_seen(tmp_path):
    path = tmp_path / "some.py"
    path.write_text(
        "a.set_title(name)\na.set_title(f'{name}: {x:.2f}')\na.plot(x, label=name)\n"
        "a.set_title('words')\na.set_title(f'{x:.2f}')\na.plot(x, label=shown(name))\n"
    )
    assert [line.split()[0] for line in unshown(path)] == ["some.py:1", "some.py:2", "some.py:3"]


def test_every_text_of_a_figure_is_shown():
    paths = [*(ROOT / "mpkit" / "lab").rglob("*.py"), ROOT / "mpkit" / "course" / "slides.py"]
    assert [line for path in paths for line in unshown(path)] == []
