"""A scenario's target and poisons on show, to be touched: enlarged, taken out, and put back."""

from __future__ import annotations

import html
import threading
from collections.abc import Callable, Sequence

import ipywidgets as widgets
import torch
from torch import Tensor

from mpkit.evaluation.rates import percent
from mpkit.lab.kit.controls import Number
from mpkit.lab.kit.gallery import Gallery, Pictures, levels
from mpkit.lab.kit.notes import Say
from mpkit.metapoison import Pull
from mpkit.scenario import Scenario

ENLARGED = 168
"""CSS pixels."""
UNTOUCHED = "Press a poison to see it large"
TO_TAKE_OUT = ", and to take it out of what the next victim trains on"


class Exhibit:
    """The pictures of a lab: a `Gallery`, and under it the poison that was picked.

    `out` holds the numbers (from 0) of those that are taken out: a victim that is trained next gets
    their base pictures instead (`now`). `told()` hears of every change of it; without it, nothing
    can be taken out.
    """

    def __init__(self, say: Say, told: Callable[[], object] | None = None, columns: int = 6):
        self.told, self.picked, self.out = told, -1, frozenset()
        self.gallery = Gallery(self.pick, columns)
        self.row = Pictures("the poison that was picked, enlarged", size=ENLARGED)
        self.words = widgets.HTML(layout=widgets.Layout(max_width="720px"))
        self.button = widgets.Button(layout=widgets.Layout(flex="0 0 auto", width="auto"))
        self.button.on_click(lambda _: self.toggle())
        self.page = Number("page of poisons", 1, 1, 1, lambda n: self._turn(n - 1), say)
        self.button.layout.display = "" if told else "none"
        self.touched = widgets.VBox([self.row, widgets.HBox([self.button, self.words])])
        self.hint = widgets.HTML(f"{UNTOUCHED}{TO_TAKE_OUT if told else ''}.")
        self.widget = widgets.VBox([self.gallery, self.page.widget, self.hint, self.touched])
        self._scenario: Scenario | None = None
        self._lock = threading.RLock()

    def lay_out(self, scenario: Scenario, name: str) -> None:
        """Another scenario, its target called `name`; nothing is changed yet. What is taken out
        stays so where the bases are the same."""
        before, classes = self._scenario, scenario.train.classes
        same = before is not None and torch.equal(before.bases.cpu(), scenario.bases.cpu())
        with self._lock:
            if not same:
                self.picked, self.out = -1, frozenset()
            self._scenario = scenario
            kinds = [classes[int(c)] for c in scenario.train.y[scenario.bases]]
            bases = scenario.base_images
            self.gallery.lay_out(scenario.targets[0], bases, name, kinds)
            pages, first = self.gallery.pages, self.gallery.first
            self.page.limit(1, pages, first // self.gallery.columns + 1)
            self.page.widget.layout.display = "" if pages > 1 else "none"
            self._shown = levels(bases), 0.0, None, ""
            self._draw()

    def show(self, poisons: Tensor, epsilon: float, pull: Pull | None = None, said: str = ""):
        """Poisons (P, C, H, W), 8-bit or in [0, 1], ε as black or white; what moved them last,
        where it is known; and what is said of the target now."""
        with self._lock:
            self._shown = levels(poisons), epsilon, pull, said
            self._draw()

    def pick(self, number: int) -> None:
        """Enlarge this one; the same again, and none is."""
        with self._lock:
            self.picked = -1 if number == self.picked else number
            self._draw()

    def toggle(self) -> None:
        """Take out the one that is picked, or put it back."""
        if self.picked < 0 or not self.told:
            return
        with self._lock:
            self.out = self.out ^ {self.picked}
            self._draw()
        self.told()

    def now(self) -> tuple[Callable[[Scenario, Tensor], Tensor], str]:
        """What a victim that begins now gets: a function that puts the bases into training pictures
        (N, C, H, W) in the place of what is taken out, and `left_out`."""
        out = sorted(self.out)

        def without(scenario: Scenario, pictures: Tensor) -> Tensor:
            rows = scenario.bases[out]
            return pictures.index_copy(0, rows, scenario.train.x[rows]) if out else pictures

        return without, self.left_out

    @property
    def left_out(self) -> str:
        """Which are taken out, in words to follow others; "" for none."""
        numbers = [str(i + 1) for i in sorted(self.out)]
        if not numbers:
            return ""
        listed = " and ".join(filter(None, [", ".join(numbers[:-1]), numbers[-1]]))
        return f", without poison{'s' * (len(numbers) > 1)} {listed}"

    def describe(self) -> str:
        """What the pictures tell, for those who cannot see them; "" as long as nothing changed."""
        if not self._shown[1]:
            return ""
        told = f" The mean change is like the target by {self.gallery.likeness:.2f} (1 the same)."
        if self.out:
            told += f" The next victim trains{self.left_out}, on the base picture instead."
        return told

    # ── inside ────────────────────────────────────────────────────────────────────────────────

    def _turn(self, page: int) -> None:
        with self._lock:
            self.gallery.turn(page)
            self._draw()

    def _draw(self) -> None:
        poisons, epsilon, pull, said = self._shown
        gallery = self.gallery
        rises = pull.influence[gallery.page].tolist() if pull else []
        with gallery.hold_sync():
            gallery.show(poisons, epsilon, [f"{rise + 0.0:+.2g}" for rise in rises], said)
            gallery.picked, gallery.out = self.picked, sorted(self.out)
            first, last = gallery.page.start + 1, gallery.page.stop
            some = f"poisons {first} to {last} of {gallery.total}"
            gallery.label = f"The target, {gallery.name}, and {some}.{self.describe()}"
        self.touched.layout.display = "none" if self.picked < 0 else ""
        self.hint.layout.display = "" if self.picked < 0 and epsilon else "none"
        if self.picked >= 0:
            self._enlarge(self.picked, poisons, epsilon, pull)

    def _enlarge(self, i: int, poisons: Tensor, epsilon: float, pull: Pull | None) -> None:
        scenario, out = self._scenario, i in self.out
        base, poison = scenario.base_images[i].cpu(), poisons[i].float() / 255
        factor = 0.5 / max(epsilon, 1 / 255)
        pictures = [base, 0.5 + factor * (poison - base), poison]
        captions = ["base", f"change ×{factor:.0f}", "poison" + ", taken out" * out]
        names = [f"{name} of poison {i + 1}" for name in ("base", "change", "picture")]
        if pull:
            gradient = filmed(pull).gradient[i].float()
            pictures.append(0.5 - 0.5 * gradient)
            captions.append("−∂L_adv/∂pixel")
            names.append(f"gradient of poison {i + 1}: where brighter pixels lower the loss")
        names[2] += ", taken out: the next victim trains on the base" * out
        self.row.show(torch.stack(pictures), captions, names)
        self.words.value = f'<span role="status">{html.escape(self._words(i, pull))}</span>'
        self.button.description = "Put it back" if out else "Take it out"
        self.button.icon = "undo" if out else "times"
        self.button.tooltip = "for the next victim, which trains on the base picture otherwise"

    def _words(self, i: int, pull: Pull | None) -> str:
        scenario = self._scenario
        kind = scenario.train.classes[int(scenario.train.y[scenario.bases[i]])]
        about = f"Poison {i + 1} of {len(scenario.bases)}, a {kind}. "
        if i in self.out:
            about += "Taken out: the next victim trains on its base picture instead. "
        if pull is None:
            return about + "Its gradient is known while poisons are crafted."
        rise = float(pull.influence[i])
        rank = 1 + int((pull.influence > rise).sum())
        return about + (
            f"Without its change L_adv would {'rise' if rise >= 0 else 'fall'} by about "
            f"{abs(rise):.2g} (−∇L_adv · δ, to first order): number {rank} of "
            f"{len(scenario.bases)}. Gradient: brighter where a brighter pixel lowers L_adv."
        )


def said_of(classes: Sequence[str], probabilities: Sequence[float]) -> str:
    """What a picture is called now, by its class probabilities."""
    p = max(probabilities)
    return f"called {classes[list(probabilities).index(p)]}, {percent(p, 0)}"


def filmed(pull: Pull) -> Pull:
    """The same, as a film keeps it: each gradient by its largest value, which is all that its
    picture needs, in float16."""
    largest = pull.gradient.abs().amax((1, 2, 3), keepdim=True).clamp(min=1e-30)
    return Pull((pull.gradient / largest).half().cpu(), pull.influence.cpu())
