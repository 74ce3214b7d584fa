"""Three questions at the end of a chapter, answered by a click."""

from __future__ import annotations

import html
import tomllib
from collections.abc import Sequence
from importlib import resources
from typing import NamedTuple

import ipywidgets as widgets

from mpkit.course import progress
from mpkit.lab.kit.front import heard


class Item(NamedTuple):
    """A question, its possible answers, the index of the right one, and why each is (not)."""

    text: str
    answers: Sequence[str]
    right: int
    why: Sequence[str]


class Quiz:
    """Radio buttons with an answer's reason shown as soon as it is picked. What was picked last is
    kept, by its words and not its place, and shown again when the quiz is."""

    def __init__(self, name: str, items: Sequence[Item]):
        for item in items:
            if len(item.why) != len(item.answers) or not 0 <= item.right < len(item.answers):
                raise ValueError(f"{name}: “{item.text}” needs one reason an answer")
        self.name, self.items, self.found = name, list(items), [None] * len(items)
        self.choices, self.words, rows = [], [], []
        for i, item in enumerate(items):
            choice = widgets.RadioButtons(
                options=[(a, k) for k, a in enumerate(item.answers)],
                value=None,
                layout=widgets.Layout(width="max-content", max_width="100%"),
            )
            words = widgets.HTML()
            choice.observe(lambda change, i=i: self.pick(i, change["new"]), "value")
            self.choices.append(choice)
            self.words.append(words)
            question = widgets.HTML(f"<b>{i + 1}. {html.escape(item.text)}</b>")
            rows.append(widgets.VBox([question, choice, words]))
        self.widget = heard(f"Questions of chapter {name}", rows)

    def pick(self, question: int, answer: int | None) -> None:
        """Answer a question (both counted from 0) and show why it is right or wrong."""
        if answer is None:
            return
        self._show(question, answer)
        item, name = self.items[question], f"{self.name}.chosen"
        chosen = progress.kept(name)
        if chosen.get(item.text) != item.answers[answer]:
            progress.keep(name, chosen | {item.text: item.answers[answer]})
        if all(self.found):
            progress.remember(f"{self.name}.quiz")

    def restore(self) -> None:
        """Show what was chosen before, where nothing has been chosen since."""
        chosen = progress.kept(f"{self.name}.chosen")
        for item, choice in zip(self.items, self.choices, strict=True):
            if choice.value is None and chosen.get(item.text) in item.answers:
                choice.value = item.answers.index(chosen[item.text])

    def _show(self, question: int, answer: int) -> None:
        item = self.items[question]
        self.found[question] = answer == item.right
        sign = "✓" if answer == item.right else "✗"
        self.words[
            question
        ].value = f'<span role="status">{sign} {html.escape(item.why[answer])}</span>'

    def _ipython_display_(self) -> None:
        from IPython.display import display

        self.restore()
        display(self.widget)


def load_quiz(chapter: str) -> Quiz:
    """The quiz of a chapter, from quizzes/NN.toml beside this file."""
    text = (resources.files("mpkit.course") / "quizzes" / f"{chapter}.toml").read_text("utf-8")
    items = [
        Item(
            item["text"],
            [answer["text"] for answer in item["answer"]],
            item["right"],
            [answer["why"] for answer in item["answer"]],
        )
        for item in tomllib.loads(text)["item"]
    ]
    return Quiz(chapter, items)
