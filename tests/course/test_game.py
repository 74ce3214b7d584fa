"""The game: fair, repeatable, and silent about answers."""

from __future__ import annotations

import json
import re
from itertools import pairwise

import pytest
import torch

from mpkit.course.game import GUESSES, SIDE, SpotThePoison
from mpkit.evaluation.rates import rate


@pytest.fixture
def game(pictures, monkeypatch):
    monkeypatch.delenv("MPKIT_SYNC", raising=False)
    return SpotThePoison(*pictures, seed=3)


def sources(widget) -> list[str]:
    return re.findall(r'src="([^"]*)"', widget.value)


def test_a_round_shows_one_base_and_one_poison_of_another(game, pictures):
    bases, poisons = pictures
    for game.round in range(30):
        two, side = game.pair()
        (changed,) = [i for i in range(6) if torch.equal(two[side], poisons[i])]
        (other,) = [i for i in range(6) if torch.equal(two[1 - side], bases[i])]
        assert changed != other


def test_the_strength_multiplies_the_change_and_0_changes_nothing(game, pictures):
    game.turn(0)
    two, side = game.pair()
    assert any(torch.equal(two[side], base) for base in pictures[0])
    game.turn(2)
    two, side = game.pair()
    expected = (2 * pictures[1] - pictures[0]).clamp(0, 1)
    assert any(torch.allclose(two[side], p) for p in expected)


def test_the_side_tells_nothing(game):
    sides = []
    for game.round in range(400):
        sides.append(game.pair()[1])
    found = rate(sum(sides), len(sides))
    assert found.low < 0.5 < found.high
    same = rate(sum(a == b for a, b in pairwise(sides)), 399)
    assert same.low < 0.5 < same.high  # neither does the side before it


def test_the_same_seed_asks_the_same_whatever_was_answered(pictures):
    one, two, other = (SpotThePoison(*pictures, seed=s) for s in (1, 1, 2))
    asked = []
    for game, answers in ((one, [0] * 8), (two, [1, 0] * 4), (other, [0] * 8)):
        asked.append([])
        for side in answers:
            asked[-1].append(game.pair()[0])
            game.answer(side)
            game.go_on()
    assert all(torch.equal(a, b) for a, b in zip(asked[0], asked[1], strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(asked[0], asked[2], strict=True))


def test_a_pair_stays_while_its_answer_is_explained(game):
    poison = game.pair()[1]
    asked = [sources(w) for w in game.pictures]
    assert sources(game.change) == []
    game.buttons[poison].click()
    assert [sources(w) for w in game.pictures] == asked  # the same pixels
    assert len(sources(game.change)) == 1
    told = [w.value for w in game.pictures]
    assert "the poison" in told[poison]
    assert "not changed" in told[1 - poison]
    assert f"{'AB'[poison]} is the poison" in game.words.value
    assert [b.disabled for b in (*game.buttons, game.next)] == [True, True, False]
    game.next.click()
    assert (game.round, game.words.value, sources(game.change)) == (1, "", [])
    assert [b.disabled for b in (*game.buttons, game.next)] == [False, False, True]
    assert [sources(w) for w in game.pictures] != asked


def test_only_the_first_answer_to_a_pair_counts(game):
    poison = game.pair()[1]
    game.answer(1 - poison)
    game.answer(poison)  # the second half of a double click, or a student who knows by now
    assert (game.score().successes, game.score().n) == (0, 1)
    assert "✗" in game.words.value


def test_buttons_answer_and_the_score_counts(game):
    for n in range(1, 6):
        poison = game.pair()[1]
        game.buttons[poison if n < 5 else 1 - poison].click()
        assert ("✓" in game.words.value) == (n < 5)
        game.next.click()
    assert str(rate(4, 5)) in game.line.value
    assert "Guessing would explain it" in game.line.value
    assert game.round == 5


def test_pictures_are_large_enough_to_be_seen(game):
    game.answer(0)
    widths = re.findall(
        r"width:(\d+)px;image-rendering", "".join(w.value for w in (*game.pictures, game.change))
    )
    assert len(widths) == 3
    assert min(map(int, widths)) == SIDE >= 96


def test_each_strength_has_a_score_of_its_own(game):
    game.answer(game.pair()[1])
    game.knob.slider.value = 3.0
    assert game.strength == 3
    assert game.score() is None
    assert game.round == 1  # the pair before is explained: nobody can guess it any more
    game.answer(1 - game.pair()[1])
    assert (game.score().successes, game.score().n) == (0, 1)
    game.knob.slider.value = 1.0
    assert (game.score().successes, game.score().n) == (1, 1)
    game.again.click()
    assert game.scores == {}
    assert game.round == 0


def test_the_score_outlives_the_notebook(pictures, kept, monkeypatch):
    monkeypatch.delenv("MPKIT_SYNC", raising=False)
    game = SpotThePoison(*pictures, keep="09.game")
    for _ in range(3):
        game.answer(game.pair()[1])
        game.go_on()
    game.turn(2.5)
    game.answer(1 - game.pair()[1])
    assert json.loads(kept.read_text()) == {"09.game": {"1": [3, 3], "2.5": [0, 1]}}
    later = SpotThePoison(*pictures, keep="09.game")
    assert later.scores == {1: [3, 3], 2.5: [0, 1]}
    assert later.round == 4  # nobody is asked again what was explained
    assert str(rate(3, 3)) in later.line.value
    assert SpotThePoison(*pictures).scores == {}
    later.restart()
    assert SpotThePoison(*pictures, keep="09.game").scores == {}


@pytest.mark.parametrize(
    "damage",
    ['{"g": [1, 2]}', '{"g": {"1": [3, 2]}}', '{"g": {"1": [-1, 2]}}', '{"g": {"x": [1, 2]}}',
     '{"g": {"1": [1.5, 2]}}', '{"g": {"1": [true, 2]}}', '{"g": {"1": 5}}', "{"],
)  # fmt: skip
def test_a_score_that_is_none_is_left_out(pictures, kept, damage, monkeypatch):
    monkeypatch.delenv("MPKIT_SYNC", raising=False)
    kept.parent.mkdir()
    kept.write_text(damage)
    assert SpotThePoison(*pictures, keep="g").scores == {}


def test_a_coin_leaves_no_score_behind(pictures, kept, monkeypatch):
    monkeypatch.setenv("MPKIT_SYNC", "1")
    monkeypatch.setattr("IPython.display.display", lambda *a: None)
    SpotThePoison(*pictures, keep="09.game")._ipython_display_()
    assert not kept.exists()


def test_verdicts_follow_the_interval(game):
    for right, words in ((15, "Better"), (14, "explain"), (6, "explain"), (5, "Worse")):
        game.scores = {1.0: [right, 20]}
        assert words in game.describe()


def test_nothing_gives_the_answer_away_before_it_is_given(game):
    for game.round in range(20):
        game._ask()
        shown = " ".join(w.value for w in (*game.pictures, game.title))
        words = re.sub(r'src="[^"]*"', "", shown)
        n = game.round + 1
        assert f'alt="round {n}, picture A"' in words
        assert f'alt="round {n}, picture B"' in words
        assert "poison" not in words
        first, second = (re.sub('base64,[^"]*', "", w.value) for w in game.pictures)
        assert first.replace("picture A", "picture B").replace(">A<", ">B<") == second
    assert [b.description for b in game.buttons] == ["A is the poison", "B is the poison"]


def test_players_are_scored_apart_from_the_student(game, pictures):
    _, poisons = pictures
    game.answer(0)
    before = (dict(game.scores), game.round)

    def knows(two):
        return next(i for i in range(2) if any(torch.equal(two[i], p) for p in poisons))

    assert game.play(knows, 50).successes == 50
    assert game.play(lambda two: 1 - knows(two), 50).successes == 0
    assert (game.scores, game.round) == before

    with pytest.raises(ZeroDivisionError):
        game.play(lambda two: 1 / 0, 5)
    assert (game.scores, game.round) == before


def test_it_plays_itself_where_nobody_can_click(pictures, monkeypatch):
    monkeypatch.setenv("MPKIT_SYNC", "1")
    monkeypatch.setattr("IPython.display.display", lambda *a: None)
    game = SpotThePoison(*pictures)
    game._ipython_display_()
    assert game.score().n == GUESSES
    assert 0.35 < game.score().rate < 0.65
    game._ipython_display_()  # shown again it does not play again
    assert game.score().n == GUESSES


def test_without_sync_it_waits(game, monkeypatch):
    monkeypatch.setattr("IPython.display.display", lambda *a: None)
    game._ipython_display_()
    assert game.scores == {}


def test_pictures_that_do_not_fit_are_refused(pictures):
    bases, poisons = pictures
    for pair in ((bases, poisons[:3]), (bases[:1], poisons[:1]), (bases[0], poisons[0])):
        with pytest.raises(ValueError, match="of one shape"):
            SpotThePoison(*pair)
