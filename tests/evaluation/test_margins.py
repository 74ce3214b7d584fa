"""Clean margins against a plain computation, what is kept of them, and what ships."""

from __future__ import annotations

import dataclasses
import threading
import warnings
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from mpkit.data import Dataset, load_dataset
from mpkit.ensemble import Ensemble
from mpkit.evaluation import margins, targets
from mpkit.evaluation.margins import (
    Clean,
    clean_margins,
    compute_margins,
    known_margins,
    measure,
    read_margins,
    write_margins,
)
from mpkit.evaluation.targets import MODELS, Margins, Target
from mpkit.evaluation.victims import predict, victim_seed
from mpkit.functional import State, logits
from mpkit.networks import network
from mpkit.recipe import Recipe
from mpkit.runs.attack import Attack, make_attack
from mpkit.runs.prepared import clean_setup, load_scenario
from mpkit.scenario import adversarial_loss, make_scenario
from mpkit.training import train
from tests.conftest import SMALL_DIGITS
from tests.forks import forking

pytestmark = pytest.mark.usefixtures("nothing_known")
RECIPE = Recipe(epochs=4, batch=20, lr=0.2)


@pytest.fixture
def clean(small_digits) -> Clean:
    return Clean(*small_digits, recipe=RECIPE)


def same(a: Margins, b: Margins) -> bool:
    return all(torch.equal(getattr(a, k), getattr(b, k)) for k in ("margin", "votes", "labels"))


# ── what is measured ────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", ["mlp", "convnet-bn"])
def test_margins_are_those_of_models_trained_one_by_one(small_digits, name):
    found = compute_margins(Clean(*small_digits, name, recipe=RECIPE))
    module = network(name, small_digits.train.shape, 10, fused=True)  # as `Clean` has it
    margin, votes = torch.zeros(100, 10), torch.zeros(100, 10, dtype=torch.long)
    for seed in margins.clean_seeds():
        *_, (state, _) = train(module, small_digits.train.x, small_digits.train.y, RECIPE, [seed])
        one = State(*({k: v[0] for k, v in part.items()} for part in state))
        z = logits(module, one, small_digits.test.x, train=False)[0].detach()
        for n in range(100):
            for c in range(10):
                others = [z[n, j].item() for j in range(10) if j != c]
                margin[n, c] += (max(others) - z[n, c].item()) / MODELS
            votes[n, max(range(10), key=z[n].tolist().__getitem__)] += 1
    assert torch.allclose(found.margin, margin, atol=1e-4)
    assert torch.equal(found.votes, votes)
    assert torch.equal(found.labels, small_digits.test.y)


def test_margins_of_fine_tuned_models_are_those_of_victims(small_digits):
    attack = make_attack(
        "ci", **SMALL_DIGITS, fine_tune="last", network="convnet-small", epochs=4, target_index=(0,)
    )
    scenario = load_scenario(attack)
    _, module = attack.networks(small_digits.train.shape, 10)
    seeds, recipe = margins.clean_seeds(), attack.victim_recipe
    *_, (state, _) = train(module, small_digits.train.x, small_digits.train.y, recipe, seeds)
    wanted = measure(predict(module, state, small_digits.test.x), small_digits.test.y)
    found = compute_margins(clean_setup(attack, scenario))
    assert torch.allclose(found.margin, wanted.margin, atol=1e-4)
    assert torch.equal(found.votes, wanted.votes)


@pytest.mark.parametrize("goal", ["targeted", "self-concealment", "multi-class"])
def test_a_margin_is_the_mean_adversarial_loss(small_digits, goal):
    draw = torch.Generator().manual_seed(1)
    z = torch.randn(MODELS, 100, 10, generator=draw)
    other = {"targeted": {"poison_class": 7}, "multi-class": {"adversarial_class": 7}}.get(goal, {})
    rows = small_digits.test.rows_of(1)
    chosen = list(range(len(rows)))
    scenario = make_scenario(*small_digits, 1, **other, goal=goal, target_index=chosen, budget=0.05)
    true, wanted = 1, int(scenario.adversarial[0])
    found = measure(z, small_digits.test.y).targets(true, wanted)
    assert len(found) == len(rows)
    for t in found:
        assert t.row == rows[t.index]
        alone = dataclasses.replace(scenario, adversarial=scenario.adversarial[:1])
        loss = adversarial_loss(z[:, t.row, None], alone).mean()
        assert t.margin == pytest.approx(loss.item(), abs=1e-5)


def test_the_clean_models_are_no_victim_twin_or_surrogate():
    own = margins.clean_seeds()
    assert len(set(own)) == MODELS
    others = set()
    for seed in (0, 1, 2, 17, 2**40):
        others |= {victim_seed(seed, v) for v in range(200)}  # twins have their victim's
        surrogates = Ensemble(24, Recipe(epochs=5), seed)
        others |= {s for step in range(60) for s in surrogates.seeds(step)}
    assert not others & set(own)


# ── what is kept ────────────────────────────────────────────────────────────────────────────────


def test_what_is_kept_is_what_was_computed(clean, tmp_path, trained, monkeypatch):
    first = clean_margins(clean, tmp_path)
    assert same(clean_margins(clean, tmp_path), first)
    monkeypatch.setattr(margins, "_kept", {})  # another process
    assert same(clean_margins(clean, tmp_path), first)
    assert len(trained) == 1
    (file,) = tmp_path.glob("margins-*")
    assert file.name == f"margins-{clean.key}.safetensors"


def one_pixel(data: Dataset) -> Dataset:
    x = data.x.clone()
    x[3, 0, 5, 5] = (x[3, 0, 5, 5] + 1 / 255) % 1
    return dataclasses.replace(data, x=x)


def one_label(data: Dataset) -> Dataset:
    y = data.y.clone()
    y[3] = (y[3] + 1) % 10
    return dataclasses.replace(data, y=y)


@pytest.mark.parametrize(
    "change",
    [
        lambda c: {"train": one_pixel(c.train)},
        lambda c: {"test": one_pixel(c.test)},
        lambda c: {"train": one_label(c.train)},
        lambda c: {"test": one_label(c.test)},
        lambda c: {"network": "convnet"},
        lambda c: {"batch_norm": "batch"},
        lambda c: {"network": "convnet-small"},
        lambda c: {"fine_tune": "last"},
        lambda c: {"fine_tune": "all"},
        *(
            lambda c, k=k, v=v: {"recipe": dataclasses.replace(c.recipe, **{k: v})}
            for k, v in {
                "epochs": 5, "batch": 21, "lr": 0.3, "warmup": 1, "decays": (2,), "flip": True,
                "weight_decay": 1e-4, "momentum": 0.5, "augment": True,
            }.items()
        ),
    ],
)  # fmt: skip
def test_whatever_matters_is_computed_anew(change, clean):
    other = dataclasses.replace(clean, **change(clean))
    assert other.key != clean.key
    assert dataclasses.replace(clean, device="cpu").key == clean.key


def test_a_changed_pixel_trains_again(clean, tmp_path, trained):
    clean_margins(clean, tmp_path)
    clean_margins(dataclasses.replace(clean, train=one_pixel(clean.train)), tmp_path)
    assert len(trained) == 2
    assert len(list(tmp_path.glob("margins-*"))) == 2


def test_another_procedure_is_not_taken_for_this_one(small_digits, monkeypatch):
    before = Clean(*small_digits, recipe=RECIPE).key
    monkeypatch.setattr(margins, "VERSION", margins.VERSION + 1)
    assert Clean(*small_digits, recipe=RECIPE).key != before


def foreign(path: Path, clean: Clean) -> None:
    """A sound file of other data, under this one's name."""
    other = dataclasses.replace(clean, train=one_pixel(clean.train))
    write_margins(path.parent, other, measure(torch.rand(MODELS, 100, 10), clean.test.y))
    path.with_name(f"margins-{other.key}.safetensors").replace(path)


def bare(path: Path, clean: Clean) -> None:
    save_file({"margin": torch.zeros(100, 10), "votes": torch.zeros(100, 10).byte()}, path)


def flipped(path: Path, _) -> None:
    content = bytearray(path.read_bytes())
    content[-7] ^= 1
    path.write_bytes(content)


def shaped(path: Path, clean: Clean) -> None:
    write_margins(path.parent, clean, measure(torch.rand(MODELS, 90, 10), clean.test.y))


def stuffed(path: Path, clean: Clean) -> None:
    found = measure(torch.rand(MODELS, 100, 10), clean.test.y)
    write_margins(path.parent, clean, dataclasses.replace(found, votes=found.votes + 1))


DAMAGE = {
    "empty": lambda path, _: path.write_bytes(b""),
    "cut": lambda path, _: path.write_bytes(path.read_bytes()[:-100]),
    "a text": lambda path, _: path.write_text("margins"),
    "a pickle": lambda path, _: torch.save({"margin": torch.zeros(1)}, path),
    "a folder": lambda path, _: (path.unlink(), path.mkdir()),
    "one bit": flipped,
    "no metadata": bare,
    "of other data": foreign,
    "of another shape": shaped,
    "too many votes": stuffed,
}


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.filterwarnings("ignore:cannot write")
def test_what_is_damaged_or_foreign_is_computed_anew(damage, clean, tmp_path, trained, monkeypatch):
    first = clean_margins(clean, tmp_path)
    monkeypatch.setattr(margins, "_kept", {})
    (path,) = tmp_path.glob("margins-*")
    DAMAGE[damage](path, clean)
    assert read_margins(tmp_path, clean) is None
    assert same(clean_margins(clean, tmp_path), first)
    assert len(trained) == 2
    if damage != "a folder":  # which is left alone
        assert same(read_margins(tmp_path, clean), first)


def test_a_folder_that_cannot_be_written_is_no_error(clean, tmp_path, trained):
    file = tmp_path / "file"
    file.touch()
    with pytest.warns(UserWarning, match="going on without it"):
        found = clean_margins(clean, file / "inside")
    assert same(found, compute_margins(clean))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert clean_margins(clean, file / "inside") is found  # in memory
    assert len(trained) == 1


def test_two_threads_train_once(clean, tmp_path, trained):
    found = []
    threads = [
        threading.Thread(target=lambda: found.append(clean_margins(clean, tmp_path)))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(trained) == 1
    assert all(one is found[0] for one in found)


def _in_a_process(folder: str, gate) -> None:
    splits = load_dataset("digits", cache=folder, n_train=60, n_test=100, size=10, noise=0)
    clean = Clean(*splits, recipe=RECIPE)
    gate.wait(60)
    found = clean_margins(clean, folder, progress=False)
    assert same(found, read_margins(Path(folder), clean))


def test_two_processes_at_once(clean, tmp_path):
    context = forking()
    gate = context.Barrier(2)
    both = [context.Process(target=_in_a_process, args=(str(tmp_path), gate)) for _ in range(2)]
    for process in both:
        process.start()
    for process in both:
        process.join(120)
    assert [process.exitcode for process in both] == [0, 0]
    assert same(read_margins(tmp_path, clean), compute_margins(clean))
    assert not list(tmp_path.glob("*.part"))


def test_what_the_listener_raises_ends_the_training(clean, tmp_path):
    seen = []

    def tell(epoch: int, epochs: int) -> None:
        seen.append((epoch, epochs))
        if epoch == 2:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        clean_margins(clean, tmp_path, tell=tell)
    assert seen == [(1, 4), (2, 4)]
    assert known_margins(clean, tmp_path) is None
    assert clean_margins(clean, tmp_path, progress=False) is not None  # and no lock is left


# ── what ships ──────────────────────────────────────────────────────────────────────────────────


SHIPPED = [
    (data, scale, "last" if data == "signs" else "no")
    for data in ("digits", "signs", "fashion")
    for scale in ("laptop", "ci")
] + [("signs", "laptop", "no"), ("signs", "ci", "no")]


def shipped(data: str, scale: str, tuning: str) -> Clean:
    attack = make_attack(scale, data=data, fine_tune=tuning)
    attack = dataclasses.replace(attack, target_index=(0,))
    return clean_setup(attack, load_scenario(attack, progress=False))


@pytest.mark.parametrize(("data", "scale", "tuning"), SHIPPED)
def test_the_margins_of_the_data_that_ship_ship_too(data, scale, tuning, trained):
    """Where this fails since data, recipe, or procedure changed: make margins."""
    clean = shipped(data, scale, tuning)
    assert read_margins(margins.SHIPPED, clean) is not None, "run make margins"
    gpu = shipped(data, "gpu", tuning) if scale == "laptop" else clean
    assert gpu.key == clean.key
    assert known_margins(clean) is not None
    assert not trained


def test_nothing_else_ships():
    names = {f"margins-{shipped(*one).key}.safetensors" for one in SHIPPED}
    assert {path.name for path in margins.SHIPPED.iterdir()} == names


@pytest.mark.parametrize("data", ["digits", "fashion"])
def test_what_ships_can_be_computed_again(data):
    """Other processors round otherwise: the models part a little, and the order hardly."""
    clean = shipped(data, "ci", "no")
    kept, anew = read_margins(margins.SHIPPED, clean), compute_margins(clean)
    assert torch.allclose(kept.margin, anew.margin, atol=0.05, rtol=0.01)
    assert (kept.votes - anew.votes).abs().float().mean() < 0.02


def test_the_defaults_are_near_targets():
    for data in ("digits", "signs", "fashion"):
        attack = make_attack("laptop", data=data)
        s = load_scenario(attack, progress=False)
        (found,) = targets.chosen(s, known_margins(clean_setup(attack, s)))
        assert isinstance(found, Target)
        assert found.third == "near"
    assert Attack().target_index is None
