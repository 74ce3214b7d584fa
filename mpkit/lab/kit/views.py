"""Parts of pictures that several labs show. Each is laid out once on its axes and then updated."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import BoundaryNorm
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.text import Text
from matplotlib.ticker import MaxNLocator
from threadpoolctl import threadpool_limits

from mpkit.lab.kit.canvas import BLACK, BLUE, GREY, RED, font_size
from mpkit.lab.kit.legends import (
    KEPT_STYLES,
    brief,
    guess_line,
    hold,
    legend,
    legend_below,
    seen_of,
    show_guess,
    show_kept,
)
from mpkit.lab.kit.letters import shown
from mpkit.metapoison import CraftRecord
from mpkit.settings import loss_in_words

# For the small decompositions of a frame (PCA, LDA): with more threads they wait for one another,
# and a second notebook at work makes a frame cost a hundred times as much.
one_blas_thread = threadpool_limits.wrap(limits=1, user_api="blas")


COUNTED = ("epoch", "step", "craft step", "move", "training steps k")
"""What there are whole numbers of: no ticks between them."""


def tidy(axes: Axes, title: str = "", xlabel: str = "", ylabel: str = "") -> None:
    """The house's look: small letters that still read, no box around the plot."""
    size = font_size(axes.figure)
    axes.set_title(shown(title), fontsize=size + 1, loc="left")
    axes.set_xlabel(shown(xlabel), fontsize=size)
    axes.set_ylabel(shown(ylabel), fontsize=size)
    axes.tick_params(labelsize=size - 1)
    if xlabel in COUNTED:
        axes.xaxis.get_major_locator().set_params(integer=True)
    axes.spines[["top", "right"]].set_visible(False)


class Playhead:
    """Where a film stands on a plot of a run's curve: an upright line, and pale what came later."""

    def __init__(self, axes: Axes):
        self.line = axes.axvline(-1, color=BLACK, lw=1)
        (self.later,) = axes.plot([], [], color="#BBBBBB", lw=1.5, zorder=1)
        for part in (self.line, self.later):
            part.set_gid("film")

    def put(self, x: Sequence[float], y: Sequence[float], count: int | None) -> None:
        """After `count` points of the curve; at its end (None), nothing is to be seen."""
        back = count is not None and count < len(x)
        self.line.set_xdata([x[count - 1] if back else -1] * 2)
        self.later.set_data((x[count - 1 :], y[count - 1 :]) if back else ([], []))

    @property
    def parts(self) -> list:
        """What changes from frame to frame."""
        return [self.later, self.line]


SHADES = 8
"""Of ages: as many groups of dots are drawn."""


class AgedDots:
    """Dots in `SHADES` of age, from 0 to `oldest`, with a colour bar. Each shade is a `Line2D` of
    markers alone: a scatter with a colour for each dot takes fifty times as long to draw."""

    def __init__(self, axes: Axes, oldest: int, label: str):
        self.edges = np.linspace(0, max(oldest, 1), SHADES + 1)
        shades = colormaps["cividis"].resampled(SHADES)
        self.lines = [
            axes.plot([], [], "o", ms=10**0.5, color=shades(i), zorder=1)[0] for i in range(SHADES)
        ]
        colours = ScalarMappable(BoundaryNorm(self.edges, SHADES), shades)
        self.bar = bar = axes.figure.colorbar(colours, ax=axes, pad=0.02, fraction=0.05)
        bar.minorticks_off()
        bar.ax.yaxis.set_major_locator(MaxNLocator(6, integer=True))
        bar.set_label(shown(label), fontsize=font_size(axes.figure, 8))
        bar.ax.tick_params(labelsize=font_size(axes.figure, 8) - 1)

    def show(self, x: Sequence[float], y: Sequence[float], ages: Sequence[float]) -> None:
        """A dot at each (x, y)."""
        x, y = np.asarray(x, float), np.asarray(y, float)
        shade = np.digitize(np.asarray(ages, float), self.edges[1:-1])
        for i, line in enumerate(self.lines):
            line.set_data(x[shade == i], y[shade == i])


USUAL_LOSS = loss_in_words("metapoison")


class LossView:
    """L_adv, or another `loss`, of every surrogate, in shades of age, with the mean; changes of
    settings as marks."""

    def __init__(
        self, axes: Axes, steps: int, epochs: int, adversarial: str, loss: str = USUAL_LOSS
    ):
        self.axes, self.steps = axes, steps
        own = f"{loss} of the surrogates" if loss == USUAL_LOSS else loss
        tidy(axes, own, "craft step", "loss")
        if loss == USUAL_LOSS:  # below 0 another loss says nothing of what the target is called
            axes.axhline(0, color=RED, ls="--", lw=1, label=shown(f"below: called {adversarial}"))
        self.dots = AgedDots(axes, epochs, "age of the surrogate (epochs)")
        (self.mean,) = axes.plot([], [], color=BLACK, lw=2, label="mean")
        self.kept = [axes.plot([], [], color=c, ls=s, lw=1.3)[0] for c, s in KEPT_STYLES]
        self.head = Playhead(axes)
        self.guess = guess_line(axes)
        self.marks: list = []
        self.marked = -1  # how many marks the limits have room for; -1: no limits yet
        axes.set_xlim(0, steps + 0.5)
        hold(axes, -2, 6)
        legend(axes)

    def update(
        self,
        records: Sequence[CraftRecord],
        marks: Sequence[tuple[float, str]],
        count: int | None = None,
    ) -> None:
        """Show these records, and a labelled line where a setting changed; what comes after the
        first `count` of them is pale."""
        self.head.put([r.step for r in records], [r.loss for r in records], count)
        every = [loss for r in records for loss in r.losses]
        finite = [loss for loss in every if math.isfinite(loss)]  # the others diverged
        self.steps = max([self.steps, *(r.step for r in records)])
        records = records[:count]
        x = [r.step for r in records for _ in r.losses]
        y = every[: len(x)]
        self.dots.show(x, y, [a for r in records for a in r.ages])
        self.mean.set_data([r.step for r in records], [r.loss for r in records])
        if y:
            finite += seen_of(self.kept)
            low, high = min([*finite, 0]), max([*finite, 0])
            room, now = 0.1 * (high - low) + 0.1, self.axes.held
            fits = now[0] <= low - room / 3 and high + room / 3 <= now[1]  # with all of its dots
            if len(marks) > self.marked or not fits:  # seldom: ticks cost time
                words = 0.25 * (high - low) * bool(marks)  # of the marks, under the dots
                hold(self.axes, low - room - words, high + room)
                self.marked = len(marks)
            self.axes.set_xlim(0, self.steps + 0.5)
        show_marks(self.axes, self.marks, marks)

    def moving(self) -> list:
        """What changes from frame to frame."""
        return [*self.kept, *self.head.parts, self.guess, *self.dots.lines, self.mean, *self.marks]

    def show_guess(self, guess: float | None) -> None:
        """Mark the guessed step; None leaves it out."""
        show_guess(self.guess, guess)

    def compare(self, lines: Sequence) -> None:
        """Draw `Line`s of other runs behind the mean."""
        show_kept(self.axes, self.kept, lines)


class CloudView:
    """Groups of points in a plane without units, such as pictures by their features.

    `looks` of the groups: (marker, colour, size, label); large markers get a black rim.
    """

    def __init__(self, axes: Axes, title: str, looks: Sequence[tuple]):
        self.axes = axes
        tidy(axes, title)
        axes.set(xticks=[], yticks=[], xlim=(-0.08, 1.08), ylim=(-0.08, 1.08))
        self.groups = [
            axes.plot([], [], m, color=c, ms=ms, mec=BLACK if ms > 4 else c, label=shown(label))[0]
            for m, c, ms, label in looks
        ]
        legend_below(axes)

    def update(self, points: np.ndarray, sizes: Sequence[int]) -> None:
        """points (N, 2) of all groups, so many of each in turn."""
        seen = points[np.isfinite(points).all(1)]
        if len(seen):  # the plane has no units, and limits that stay cost nothing to draw
            low, high = seen.min(0), seen.max(0)
            points = (points - low) / np.maximum(high - low, 1e-6)
        parts = np.split(points, np.cumsum(sizes)[:-1])
        for group, part in zip(self.groups, parts, strict=True):
            group.set_data(*part.T)


def show_marks(axes: Axes, artists: list, marks: Sequence[tuple[float, str]]) -> None:
    """Dotted vertical lines with words; `artists` keeps those that stand already. Where there is no
    room for all words, those of the last changes are seen."""
    while len(artists) > 2 * len(marks):
        artists.pop().remove()
    size = font_size(axes.figure, 8)
    for x, text in marks[len(artists) // 2 :]:
        artists.append(axes.axvline(x, color=GREY, ls=":", lw=1))
        artists.append(
            axes.text(
                x, 0, f" {shown(text)} ", transform=axes.get_xaxis_transform(),
                fontsize=size, color=BLACK,
                bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1},
            )
        )  # fmt: skip
    _seat(axes, artists[1::2], FontProperties(size=size))


ROWS = 4
"""Of words at marks, one above the other: more would hide what is plotted."""


def _seat(axes: Axes, words: Sequence[Text], font: FontProperties) -> None:
    """Each in the lowest row with room beside its line, the last one first."""
    ask, (wide, high) = axes.figure.canvas.get_renderer(), axes.bbox.size
    first, last = axes.get_xlim()
    rows: list[list[tuple[float, float]]] = [[] for _ in range(ROWS)]
    for word in reversed(words):
        width, height, _ = ask.get_text_width_height_descent(word.get_text(), font, False)
        x = wide * (word.get_position()[0] - first) / (last - first)
        left = x + width > wide  # it would reach beyond the plot
        begin, end = (x - width, x) if left else (x, x + width)
        free = [row for row in rows if all(b <= begin or end <= a for a, b in row)]
        word.set(visible=bool(free), ha="right" if left else "left")
        if free:
            free[0].append((begin, end))
            word.set_y(0.04 + 1.4 * rows.index(free[0]) * height / high)


def marks_told(marks: Sequence[tuple[float, str]], unit: str, now: float) -> str:
    """The marks up to a moment in words, a sentence each: " Changed at step 3: K 2 → 4."."""
    some = [(x + 0.5, text) for x, text in marks if x < now]
    return "".join(f" Changed at {unit} {x:.0f}: {text}." for x, text in some)


def room_for(classes: Sequence[str], figure: Figure) -> float:
    """How much wider, in a grid of inches, the gap left of a `ProbabilityView` must be than usual:
    classes are named there."""
    size, ask = FontProperties(size=font_size(figure, 8)), figure.canvas.get_renderer()
    names = (brief(shown(name)) for name in classes)
    widest = max(ask.get_text_width_height_descent(name, size, False)[0] for name in names)
    return max(0.01, 1.3 * widest / figure.dpi - 0.6)


class ProbabilityView:
    """A picture's class probabilities as bars; the true class and what is wanted stand out: every
    other class where the adversarial one is the true one."""

    def __init__(self, axes: Axes, classes: Sequence[str], true: int, adversarial: int, title: str):
        self.classes = classes
        colours = [
            BLUE if i == true else RED if adversarial in (i, true) else "#BBBBBB"
            for i in range(len(classes))
        ]
        self.bars = axes.barh(range(len(classes)), [0] * len(classes), color=colours)
        tidy(axes, title, "probability")
        names = [brief(shown(name)) for name in classes]
        axes.set_yticks(range(len(classes)), names, fontsize=font_size(axes.figure, 8))
        axes.set_xlim(0, 1)
        axes.invert_yaxis()

    def update(self, probabilities: Sequence[float]) -> None:
        for bar, p in zip(self.bars, probabilities, strict=True):
            bar.set_width(p)
