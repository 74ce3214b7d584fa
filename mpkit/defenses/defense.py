"""What a defender can be told, and what is refused."""

from __future__ import annotations

from mpkit.setting import PIXEL, Dial, declared, setting, settings_of

KINDS: dict[str, tuple[str, ...]] = {
    "none": ("none",),
    "filter": ("deep-knn", "spectral", "clustering", "epic", "loss"),
    "training": (
        "jpeg",
        "mixup",
        "cutout",
        "augment",
        "early-stopping",
        "dp-sgd",
        "friendly-noise",
        "adversarial",
        "epic-training",
    ),
    "certified": ("partition",),
}
"""The defenses by kind; the names of all of them are `DEFENSES`."""
DEFENSES = tuple(name for names in KINDS.values() for name in names)


def kind_of(name: str) -> str:
    """The kind of a defense, a key of `KINDS`."""
    return next(kind for kind, names in KINDS.items() if name in names)


@declared
class Defense:
    """A defense with its settings. What other defenses would read does nothing, and is refused by
    the command line. Raises ValueError naming the value and what is allowed."""

    defense: str = setting(
        "none", "what the defender does", dial=Dial("defense"), choices=DEFENSES, added=True
    )
    suspected: float = setting(
        0.1,
        "share of the training pictures that the defender suspects",
        dial=Dial("suspected", "", 0.005, 0.2, 0.005),
        above=0,
        below=0.5,
        only=("defense", ("spectral", "loss")),
        added=True,
    )
    looks_after: float = setting(
        1.0,
        "share of the epochs after which a filter's own model looks: early, before it knows wrong "
        "labels by heart, or late",
        dial=Dial("looks after", "", 0.05, 1, 0.05),
        above=0,
        high=1,
        only=("defense", KINDS["filter"]),
        added=True,
    )
    neighbours: float = setting(
        0.05,
        "k, how many neighbours vote, as a share of the training pictures",
        dial=Dial("neighbours", "k", 0.005, 0.2, 0.005),
        above=0,
        below=0.5,
        only=("defense", ("deep-knn",)),
        added=True,
    )
    separation: float = setting(
        0.3,
        "silhouette from which two clusters of a class are two kinds of pictures",
        (0, 1),
        Dial("separation", "", 0, 1, 0.05),
        only=("defense", ("clustering",)),
        added=True,
    )
    medoids: float = setting(
        0.15,
        "share of each class that stands for all of it, when gradients are compared",
        dial=Dial("medoids", "", 0.05, 0.5, 0.05),
        above=0,
        below=1,
        only=("defense", ("epic", "epic-training")),
        added=True,
    )
    jpeg_quality: int = setting(
        75,
        "quality at which pictures are compressed again",
        (1, 95),
        Dial("JPEG quality", "", 5, 95, 5),
        only=("defense", ("jpeg",)),
        added=True,
    )
    mixup_alpha: float = setting(
        1.0,
        "α of mixup: shares are drawn from Beta(α, α), at 1 all alike",
        dial=Dial("mixup α", "α", 0.1, 4, 0.1),
        above=0,
        only=("defense", ("mixup",)),
        added=True,
    )
    cutout_side: float = setting(
        0.25,
        "side of the square that cutout hides, as a share of the picture's",
        (0, 1),
        Dial("cutout side", "", 0.05, 1, 0.05),
        only=("defense", ("cutout",)),
        added=True,
    )
    mirrored: bool = setting(
        False,
        "yes: the defense mirrors half of the pictures too, for natural pictures",
        dial=Dial("mirror too"),
        only=("defense", ("augment",)),
        added=True,
    )
    stop_after: float = setting(
        0.5,
        "share of the epochs after which training stops",
        dial=Dial("stop after", "", 0.05, 1, 0.05),
        above=0,
        high=1,
        only=("defense", ("early-stopping",)),
        added=True,
    )
    clip_norm: float = setting(
        1.0,
        "C: length to which every picture's gradient is clipped",
        dial=Dial("clip", "C", 0.1, 10, 0.1),
        above=0,
        only=("defense", ("dp-sgd",)),
        added=True,
    )
    noise_multiplier: float = setting(
        1.0,
        "σ: noise added to the sum of a batch's clipped gradients, in units of C",
        dial=Dial("noise", "σ", 0.0, 4, 0.1),
        low=0,
        only=("defense", ("dp-sgd",)),
        added=True,
    )
    friendly_bound: float = setting(
        16 / 255,
        "bound on friendly noise, in pixel values of [0, 1]",
        (0, 0.4),
        Dial("friendly noise (n/255)", "", 0, 64, unit=PIXEL),
        only=("defense", ("friendly-noise",)),
        added=True,
    )
    random_noise: float = setting(
        8 / 255,
        "size of the random noise added beside friendly noise",
        (0, 1),
        Dial("random noise (n/255)", "", 0, 64, unit=PIXEL),
        only=("defense", ("friendly-noise",)),
        added=True,
    )
    adversarial_bound: float = setting(
        8 / 255,
        "ε of the poisons that the defender crafts",
        (0, 1),
        Dial("defender's ε (n/255)", "", 0, 64, unit=PIXEL),
        only=("defense", ("adversarial",)),
        added=True,
    )
    adversarial_steps: int = setting(
        3,
        "steps by which the defender crafts poisons, in each batch",
        dial=Dial("defender's steps", "", 1, 10),
        low=1,
        only=("defense", ("adversarial",)),
        added=True,
    )
    parts: int = setting(
        10,
        "k: models that vote, each of its own part of the pictures",
        dial=Dial("parts", "k", 2, 100),
        low=2,
        only=("defense", ("partition",)),
        added=True,
    )
    epic_every: int = setting(
        5,
        "epochs after which epic-training drops pictures, again and again",
        dial=Dial("drops every", "", 1, 20),
        low=1,
        only=("defense", ("epic-training",)),
        added=True,
    )

    @property
    def in_words(self) -> str:
        """Its name and the settings that it reads: "jpeg, jpeg_quality 75"."""
        mine = [name for name, s in settings_of(Defense).items() if s.only and s.acts(self)]
        return ", ".join([self.defense, *(f"{name} {getattr(self, name)}" for name in mine)])
