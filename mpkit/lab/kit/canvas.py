"""A matplotlib figure in the browser: drawn by any thread, seldom enough, with words beside it.

Never pyplot, whose figures belong to one thread. Frames go out as ``<img alt=…>`` in an HTML
widget: that does not flicker, and says to those who cannot see it what it shows now.
"""

from __future__ import annotations

import base64
import html
import io
import threading
import time
from collections.abc import Callable, Sequence

import ipywidgets as widgets
from matplotlib.artist import Artist
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

from mpkit.lab.kit.dark import Screen
from mpkit.lab.kit.letters import find_letters
from mpkit.lab.kit.threads import Worker

# Okabe and Ito's colours, told apart by nearly everybody: https://jfly.uni-koeln.de/color/
BLACK, ORANGE, SKY, GREEN = "#000000", "#E69F00", "#56B4E9", "#009E73"
YELLOW, BLUE, RED, PURPLE, GREY = "#F0E442", "#0072B2", "#D55E00", "#CC79A7", "#767676"

SHARPNESS = 1.5
"""Image pixels for each CSS pixel, for high-density screens."""


def new_figure(width: float, height: float, large: bool = False) -> Figure:
    """A figure of `width` × `height` inches, a hundred CSS pixels each, drawn for a white page;
    a `Canvas` turns it for a dark one. `large` makes letters for the back of a lecture room."""
    find_letters()
    figure = Figure((width, height), dpi=100 * SHARPNESS, facecolor="white")
    figure.large = large
    Screen(figure)
    return figure


def font_size(figure: Figure, points: float = 9) -> float:
    """`points`, or half as much again where the figure is for a lecture room."""
    return points * (1.5 if getattr(figure, "large", False) else 1)


class Canvas:
    """`figure`, shown in `widget`; ``describe()`` gives the alt text for the state of the moment.

    Drawing takes at most `load` of the wall time, but a frame a second comes in any case; no two
    frames are less than `interval` seconds apart. Frames that come too early are dropped (`update`)
    or drawn by a thread when one is due (`later`, and `soon` for what a hand changes). `draw` draws
    in any case. ``fresh()`` brings the figure up to date before. Whoever changes what is in the
    figure holds `lock`; other locks are taken after it.

    ``moving()`` may name the artists that change from frame to frame. Everything else (axes, ticks,
    letters: four fifths of the time) is then drawn only when limits, titles or legends change.
    """

    def __init__(
        self,
        figure: Figure,
        describe: Callable[[], str],
        load: float = 0.035,  # of the wall time; what it costs a run is up to twice as much
        interval: float = 0.2,
        moving: Callable[[], Sequence[Artist]] | None = None,
    ):
        self.figure, self.describe, self.load, self.interval = figure, describe, load, interval
        self.moving, self._ground, self._look = moving, None, None
        self.widget = widgets.HTML(layout=widgets.Layout(overflow="hidden"))
        self.fresh: Callable[[], object] = lambda: None  # called before every frame
        self.drawn: Callable[[], object] = lambda: None  # told of every frame
        self.broken: Callable[[], object] = lambda: None  # told of what is in `failed`
        self.widget.canvas = self  # for whoever finds it in a panel
        self.frames, self.spent, self.cost = 0, 0.0, 0.0
        self._ended, self.lock = -float("inf"), threading.RLock()
        self.failed: Exception | None = None
        """What went wrong in a frame of the thread, until somebody is told."""
        self._calls, self._asked, self._stopped = threading.Condition(), False, False
        self._hurried = self._hand = False
        self._thread: Worker | None = None

    def update(self) -> bool:
        """Draw if a frame is due: True if it was drawn."""
        if due := self._early() <= 0:
            self.draw()
        return due

    def _pause(self) -> float:
        """For how many seconds no frame is due after one."""
        # At most a second: on a machine that is busy otherwise a run must still look alive.
        pause = max(self.interval, min(1.0, self.cost * (1 / self.load - 1)))
        return min(pause, self.cost) if self._hand else pause

    def _early(self) -> float:
        """In how many seconds a frame is due."""
        return self._ended + self._pause() - time.perf_counter()

    def later(self) -> None:
        """Draw once a frame is due, in a thread that nobody waits for: what there will be then.
        Raises what went wrong in the frame before."""
        self.check()
        with self._calls:
            self._ask()

    def _ask(self) -> None:
        self._asked = True
        if self._thread is None and not self._stopped:
            self._thread = Worker(self._draw_later, "mpkit picture", lambda: self.stop(0))
            self._thread.start()

    def soon(self) -> None:
        """Draw what a hand has changed, in that thread: at once; while changes keep coming, drawing
        takes at most half of the time. So a frame shows many changes, the last one all of them."""
        with self._calls:
            self._hand = True
            self._calls.notify_all()
            self._ask()

    def check(self) -> None:
        """Raise what went wrong in a frame of the thread."""
        failed, self.failed = self.failed, None
        if failed:
            raise failed

    def stop(self, timeout: float | None = None) -> None:
        """No more frames of the thread; waits for the one under way, at most so many seconds."""
        with self._calls:
            self._stopped, thread = True, self._thread
            self._calls.notify_all()
        if thread:
            thread.join(timeout)

    def _draw_later(self) -> None:
        try:
            while self._wanted():
                try:
                    self.draw()
                except Exception as error:  # for `check`
                    self.failed = error
                    if not self._stopped:
                        self.broken()
        finally:  # whatever `broken` does, the next frame finds a thread
            with self._calls:
                if self._thread is threading.current_thread():
                    self._thread = None

    def _wanted(self) -> bool:
        """Whether a frame is asked for, once one is due; if not, the thread is no longer needed."""
        with self._calls:
            while not self._stopped and (early := self._early()) > 0:
                self._calls.wait(early)
            if not (wanted := self._asked and not self._stopped):
                self._thread = None
            return wanted

    def hurry(self) -> None:
        """Let the next `update` or `later` draw, however soon it comes."""
        with self._calls:
            self._ended, self._hurried = -float("inf"), True  # also where one is drawn just now
            self._calls.notify_all()

    def draw(self) -> None:
        """Draw now."""
        with self.lock:
            with self._calls:
                self._asked = self._hurried = self._hand = False
            began = time.perf_counter()
            data = base64.b64encode(self._encoded("jpeg", quality=92, subsampling=0)).decode()
            width = round(100 * self.figure.get_figwidth())
            self.widget.value = (
                f'<img alt="{html.escape(self.describe())}" class="mpkit-figure" '
                f'style="width:100%;max-width:{width}px" src="data:image/jpeg;base64,{data}">'
            )
            ended = time.perf_counter()
            self.cost, self._ended = ended - began, -float("inf") if self._hurried else ended
            self.spent, self.frames = self.spent + self.cost, self.frames + 1
            self.failed = None  # what failed before is drawn now
            self.drawn()

    def turn(self, dark: bool) -> None:
        """Draw for a dark page from now on, or for a light one."""
        with self.lock:
            if dark != self.figure.canvas.dark:
                self._turn(dark)
                self.draw()

    def _turn(self, dark: bool) -> None:
        self.figure.canvas.dark, self._look = dark, None

    def png(self) -> bytes:
        """The figure as a PNG file, on white: it may go on paper."""
        with self.lock:
            dark = self.figure.canvas.dark
            self._turn(False)
            try:
                return self._encoded("png")
            finally:
                self._turn(dark)

    def _encoded(self, kind: str, **options) -> bytes:
        # JPEG for frames: it takes a seventh of the time, and at this quality nobody can tell.
        self.fresh()
        self._render()
        file, canvas = io.BytesIO(), self.figure.canvas
        size, pixels = canvas.get_width_height(physical=True), canvas.buffer_rgba()
        picture = Image.frombuffer("RGBX", size, pixels, "raw", "RGBX", 0, 1)  # as it lies there
        (picture if kind == "jpeg" else picture.convert("RGB")).save(file, kind, **options)
        return file.getvalue()

    def _render(self) -> None:
        canvas, artists = self.figure.canvas, self.moving() if self.moving else ()
        look = self._looks(set(artists)) if artists else None
        if look is None or look != self._look:
            for artist in artists:
                artist.set_animated(True)
            canvas.draw()
            self._ground, self._look = canvas.copy_from_bbox(self.figure.bbox), look
        else:
            canvas.restore_region(self._ground)
        for artist in artists:
            artist.axes.draw_artist(artist)

    def _looks(self, moving: set[Artist]) -> tuple:
        """What the ground depends on, words among it, but for those that move."""
        words = [text.get_text() for text in self.figure.texts]
        for axes in self.figure.axes:
            some = [*axes.get_children(), axes.xaxis.label]
            words += [t.get_text() for t in some if isinstance(t, Text) and t not in moving]
        return tuple(words), *(
            (
                id(axes), axes.get_xlim(), axes.get_ylim(),
                axes.yaxis.get_major_locator(), axes.yaxis.get_major_formatter(),
                *(text.get_text() for text in (axes.get_legend() or _Nothing).get_texts()),
            )
            for axes in self.figure.axes
        )  # fmt: skip


class _Nothing:
    get_texts = staticmethod(tuple)
