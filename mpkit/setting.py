"""A setting, declared once: what it may be, what it is called, and whether a run may change it.

    @declared
    class Settings:
        epsilon: float = setting(
            26 / 255, "bound on δ, in pixel values of [0, 1]", (0, 1), Live("ε (n/255)", "ε", 1, 64)
        )

From this are made: the check of every value (`check`), the command line's flag and its help, the
labs' sliders and menus, the words of a plot's marks ("ε 26 → 13"), the keys of share codes and run
folders, and the list in the class's docstring. docs/extending.md adds one as an exercise.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Iterable, Mapping
from numbers import Integral, Real
from types import NoneType
from typing import Literal, get_args, get_origin, get_type_hints

PIXEL = 255
"""The unit of ε where it is shown, n/255: pictures are in [0, 1], and files have 255 steps."""


@dataclasses.dataclass(frozen=True)
class Dial:
    """How a setting is turned in a lab: the label of its control, its symbol in a plot's marks, and
    a slider from `low` to `high`, in units of 1/`unit`; choices and switches have no slider.

    A `Dial` acts at the next run, a `Live` one at the next step of this run.
    """

    label: str = ""
    symbol: str = ""
    low: float | None = None
    high: float | None = None
    step: float = 1
    unit: float = 1


class Live(Dial):
    """A dial that acts during a run."""


@dataclasses.dataclass(frozen=True)
class Setting:
    """What is declared of a field; `kind`, `item` and `optional` are read off its annotation.

    `low`, `high` (allowed themselves) and `above`, `below` (not) bound numbers; `choices` are all
    values there are, `words` what people call them, and `gone` how what was a choice once is said
    now. `only` says of which other setting it takes which values, or else this one does nothing.
    `live`: it may change during a run, and acts at the next step. `added`: it came later, so that
    runs written before lack it, and mean the default. Without a `dial` it has no control in labs.
    `group` is the heading that its flag stands under.
    """

    text: str = ""
    low: float | None = None
    high: float | None = None
    above: float | None = None
    below: float | None = None
    choices: tuple = ()
    words: Mapping[str, str] | None = None
    only: tuple[str, tuple[str, ...]] | None = None
    gone: Mapping[str, str] | None = None
    dial: Dial = Dial()
    live: bool = False
    added: bool = False
    group: str = ""
    name: str = ""
    default: object = None
    kind: type = str
    item: type | None = None
    optional: bool = False

    def check(self, value: object) -> None:
        """Raises ValueError naming the setting, the value and what is allowed."""
        if value is None and self.optional:
            return
        if self.choices and value not in self.choices:
            now = (self.gone or {}).get(str(value))
            raise ValueError(
                f"{self.name} {value!r} is unknown; there are: {', '.join(self.choices)}"
                + (f". {now}" if now else "")
            )
        if not _is(value, self.kind):
            raise ValueError(f"{self.name} must be {self.allowed}, not {value!r}")
        if self.kind is tuple and not all(_is(part, self.item) for part in value):
            raise ValueError(f"{self.name} must be {self.allowed}, not {value!r}")
        if self.kind in (int, float) and not self.holds(value):
            raise ValueError(f"{self.name} must {self.range}, not {value}")

    def holds(self, value: float) -> bool:
        """Whether a number is finite and within the bounds."""
        return (
            _finite(value)
            and (self.low is None or self.low <= value)
            and (self.high is None or value <= self.high)
            and (self.above is None or self.above < value)
            and (self.below is None or value < self.below)
        )

    @property
    def range(self) -> str:
        """The bounds in words, after "must"."""
        if self.low is not None and self.high is not None:
            return f"lie between {self.low} and {self.high}"
        parts = [f"at least {self.low}"] if self.low is not None else []
        parts += [f"more than {self.above}"] if self.above is not None else []
        parts += [f"at most {self.high}"] if self.high is not None else []
        parts += [f"less than {self.below}"] if self.below is not None else []
        parts += (
            ["finite"] if self.kind is float and (self.high, self.below) == (None, None) else []
        )
        return f"be {' and '.join(parts) or 'finite'}"

    @property
    def allowed(self) -> str:
        """What may stand there, in words."""
        if self.kind is tuple:
            return f"a tuple of {'whole numbers' if self.item is int else 'texts'}"
        if self.kind not in (int, float):
            return {bool: "True or False", str: "a text"}.get(self.kind, f"a {self.kind.__name__}")
        what = "a whole number" if self.kind is int else "a number"
        if self.low is not None and self.high is not None:
            return f"{what} from {self.low} to {self.high}"
        bounds = self.range.removeprefix("be ")
        return what if bounds == "finite" else f"{what}, {bounds}"

    def acts(self, holder: object) -> bool:
        """Whether it does anything beside the other settings of `holder`."""
        return self.only is None or getattr(holder, self.only[0]) in self.only[1]

    def why_idle(self, holder: object, spell: Callable[[str, object], str]) -> str:
        """Why it does nothing in `holder`, as words after "does nothing"; "" where it acts.
        ``spell(name, value)`` says how a setting with its value is written."""
        if self.acts(holder):
            return ""
        other, values = self.only
        return f"with {spell(other, getattr(holder, other))}, only with {' or '.join(values)}"

    def shown(self, value: object) -> object:
        """A value in the unit that people see, whole where it is."""
        if self.dial.unit == 1 or value is None:
            return value
        return round(self.dial.unit * value, 9)

    def taken(self, shown: object) -> object:
        """The way back from `shown`."""
        return shown if self.dial.unit == 1 or shown is None else shown / self.dial.unit

    def change(self, before: object, now: object) -> str:
        """A mark's words: ε 26 → 13."""
        old, new = (f"{v:.3g}" if _is(v, float) else v for v in map(self.shown, (before, now)))
        return f"{self.dial.symbol or self.name} {old} → {new}"


def setting(
    default: object,
    text: str = "",
    within: tuple[float, float] | None = None,
    dial: Dial | None = None,
    **about,
) -> dataclasses.Field:
    """A field of a `declared` class: what it is, for help; the least and the most that is allowed;
    its control; and `about`, further fields of `Setting`."""
    about["choices"] = tuple(about.get("choices", ()))
    about |= dict(zip(("low", "high"), within, strict=True)) if within else {}
    about |= {"dial": dial, "live": isinstance(dial, Live)} | about if dial else {}
    return dataclasses.field(default=default, metadata={"setting": Setting(text, **about)})


def declared(cls: type) -> type:
    """A frozen dataclass of settings, checked when one is made, and listed in its docstring."""
    own = getattr(cls, "__post_init__", lambda self: None)

    def made(self) -> None:
        check(self)
        own(self)

    cls.__post_init__ = made
    cls = dataclasses.dataclass(frozen=True)(cls)
    lines = [f"    {name}: {_told(s)}" for name, s in settings_of(cls).items() if s.text]
    cls.__doc__ = "\n".join([(cls.__doc__ or "").rstrip(), "", *lines, ""])
    return cls


@functools.cache
def settings_of(cls: type) -> dict[str, Setting]:
    """Name → what is declared of it, for every field of a class; what is not is a `Setting` too."""
    hints, found = get_type_hints(cls), {}
    for field in dataclasses.fields(cls):
        about = field.metadata.get("setting", Setting())
        kinds = [k for k in get_args(hints[field.name]) if k is not NoneType]
        optional = NoneType in get_args(hints[field.name])
        hint = kinds[0] if optional else hints[field.name]
        values = {"name": field.name, "default": field.default, "optional": optional}
        if get_origin(hint) is Literal:
            values |= {"kind": str, "choices": get_args(hint)}
        elif get_origin(hint) is tuple:
            values |= {"kind": tuple, "item": get_args(hint)[0]}
        else:
            values["kind"] = hint
        found[field.name] = dataclasses.replace(about, **values)
    return found


def check(value: object) -> None:
    """Check every setting of a `declared` value. Raises ValueError naming the first wrong one."""
    for name, about in settings_of(type(value)).items():
        about.check(getattr(value, name))


def changes(before: object, now: object, among: Iterable[Setting]) -> list[str]:
    """What changed from one record of a run to the next, in words: of the live settings that have
    a symbol, and that both records have."""
    return [
        s.change(getattr(before, s.name), getattr(now, s.name))
        for s in among
        if s.live and s.dial.symbol and hasattr(now, s.name)
        if getattr(before, s.name) != getattr(now, s.name)
    ]


def _is(value: object, kind: type) -> bool:
    """Whether a value is of a kind; True is no number, and a whole number is one."""
    number = {int: Integral, float: Real}.get(kind)
    if number:
        return isinstance(value, number) and not isinstance(value, bool)
    return isinstance(value, kind)


def _finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number beyond any float
        return False


def _told(s: Setting) -> str:
    """A line of a docstring."""
    what = " | ".join(map(repr, s.choices)) if s.choices else s.allowed
    return f"{s.text}; {what}{'; may change in mid-run' if s.live else ''}"
