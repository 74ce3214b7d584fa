"""Three questions at the end of a chapter, answered by a click."""

from __future__ import annotations

import html
import tomllib
from collections.abc import Sequence
from importlib import resources
from typing import NamedTuple

import ipywidgets as widgets

from mpkit.course import progress


class Item(NamedTuple):
    """A question, its possible answers, the index of the right one, and why each is (not)."""

    text: str
    answers: Sequence[str]
    right: int
    why: Sequence[str]


class Quiz:
    """Radio buttons with an answer's reason shown as soon as it is picked."""

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
        self.widget = widgets.VBox(rows)

    def pick(self, question: int, answer: int | None) -> None:
        """Answer a question (both counted from 0) and show why it is right or wrong."""
        if answer is None:
            return
        item = self.items[question]
        self.found[question] = answer == item.right
        sign = "✓" if answer == item.right else "✗"
        self.words[
            question
        ].value = f'<span role="status">{sign} {html.escape(item.why[answer])}</span>'
        if all(self.found):
            progress.remember(f"{self.name}.quiz")

    def _ipython_display_(self) -> None:
        from IPython.display import display

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
