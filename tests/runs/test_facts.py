"""Failures made on purpose, by small runs that are real, and the reason that is given for each."""

from __future__ import annotations

from mpkit.evaluation.targets import Target
from mpkit.evaluation.why import why
from mpkit.metapoison import poisons_of
from mpkit.runs.attack import Attack, make_attack
from mpkit.runs.facts import differences, facts_of
from mpkit.runs.prepared import clean_margins, load_scenario, prepare

USUAL = {"data": "digits", "victims": 4}
# Small pictures of three classes, on which a network with batch norm learns in seconds.
ONE_LIFE = {
    "network": "convnet-bn", "size": 10, "n_train": 150, "n_test": 200, "epochs": 10, "batch": 25,
    "classes": ("1", "7", "3"), "models": 1, "stagger": False, "craft_steps": 9, "craft_rate": 0.3,
    "budget": 0.08, "unroll_steps": 2,
}  # fmt: skip


def farthest(**given) -> int:
    """The index of the target that has the most way to go."""
    attack = make_attack("ci", **USUAL | given | {"target_index": (0,)})
    scenario = load_scenario(attack, progress=False)
    found = clean_margins(attack, scenario, progress=False)
    pair = int(scenario.target_labels[0]), int(scenario.adversarial[0])
    return [t for t in found.targets(*pair) if t.third][-1].index


def judged(**given) -> tuple[str, Attack]:
    """Craft, train victims, and ask why it failed."""
    ready = prepare(make_attack("ci", **USUAL | given), progress=False)
    clean_margins(ready.attack, ready.scenario, progress=False)  # known, as a run has them
    steps = []
    for state, record in ready.craft():  # noqa: B007
        steps.append(record)
    poisons = poisons_of(ready.scenario, state, ready.attack.settings)
    *_, (_, victims) = ready.judge(poisons, arms=("poisoned",))
    return why(facts_of(ready.attack, steps, victims, ready.scenario)), ready.attack


def test_a_success_gets_no_sentence():
    assert judged()[0] == ""


def test_an_epsilon_of_two_levels_leaves_the_losses_where_they_are():
    said, _ = judged(epsilon=2 / 255)
    assert said.startswith("Why it failed: the losses did not fall. Grown surrogates end at +")
    assert "try a larger “ε (n/255)” (now ε = 2/255)" in said


def test_the_farthest_target_is_far():
    said, _ = judged(target_index=(farthest(),))
    assert said.startswith("Why it failed: the target is far. Its clean margin is +1")
    assert "(far third)" in said
    assert "try a nearer one under “The target's picture”" in said


def test_poisons_that_met_one_model_fit_that_one():
    # Which life is such a one, a processor's rounding decides: about half of them are.
    tried = (judged(**ONE_LIFE, seed=seed)[0] for seed in range(8))
    known = "Why it failed: too few models. It fell on surrogates (loss -"
    said = next((said for said in tried if said.startswith(known)), "")
    assert "met 1 from fresh weights: try more “surrogates”" in said


def test_victims_that_are_augmented_differ():
    said, attack = judged(victim_augment=True)
    assert said.startswith("Why it failed: the victim differs from the surrogates: augment yes and")
    assert differences(attack) == ("augment yes and not no",)


def test_what_differs_is_told_and_how_long_they_train_is_none_of_it():
    attack = make_attack(
        "ci", **USUAL, victim_epochs=99, victim_network="convnet", victim_flip=True
    )
    assert differences(attack) == ("network convnet and not mlp", "flip yes and not no")
    tuned = make_attack("laptop", victim_fine_tune="all")
    assert differences(tuned) == ("fine-tune all and not last",)
    assert differences(make_attack("laptop")) == ()


def test_margins_are_those_that_the_run_wrote_down_where_its_data_are_gone():
    attack = make_attack("ci", **USUAL)
    near, far = Target(0, 0, 1.0, "near", 1, 2), Target(1, 1, 3.0, "far", 2, 2)
    facts = facts_of(attack, [], [], None, [near, far, Target(2, 2, None)])
    assert (facts.margin, facts.third, facts.near) == (3.0, "far", None)


def test_a_defense_is_a_difference():
    attack = make_attack("ci", **USUAL, defense="jpeg")
    assert differences(attack) == ("defense jpeg and not none",)
