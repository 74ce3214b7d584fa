"""The house: what imports what, and how the library is written."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "mpkit"

# From the ground up: a module imports from the floors below, and from its own, without a circle.
FLOORS = {
    "pictures": ("data",),
    "networks": (
        "device", "setting", "recipe", "modes", "layers", "networks",
        "functional", "tracing", "ranks", "signs", "group", "streams", "telling",
    ),
    "training": ("scenario", "finetuning", "perturbation", "augmentation", "training"),
    "the attack": (
        "batches", "metagradient", "ensemble", "settings", "rivals", "steps", "metapoison",
    ),
    "what came of it": ("evaluation", "baselines", "defenses"),
    "runs": ("runs",),
    "the contest": ("contest",),
    "labs": ("lab",),
    "course": ("course",),
    "command line": ("cli", "__main__"),
}  # fmt: skip
LEVEL = {name: level for level, names in enumerate(FLOORS.values()) for name in names}
UPPER = LEVEL["lab"]  # from here on the notebooks' packages may be asked for
LONGEST = 300
"""Lines of a module."""

# Never to be loaded by the library below the lab.
FRONT_ENDS = ("ipywidgets", "matplotlib", "IPython")


# ── what imports what ───────────────────────────────────────────────────────────────────────────


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def dotted(path: Path) -> tuple[str, ...]:
    """mpkit/lab/runner.py → ("mpkit", "lab", "runner"); a package's __init__ is the package."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return parts[:-1] if parts[-1] == "__init__" else parts


def floor(path: Path) -> str:
    """The part of the house a file is in: its module, or its subpackage; "" for mpkit/__init__."""
    parts = dotted(path)
    return parts[1] if len(parts) > 1 else ""


def imports(path: Path) -> Iterator[str]:
    """The full names of what a file imports, wherever in it: at the top, in functions, for types.

    `from a.b import c` gives a.b.c, as c may be a module; relative imports are resolved.
    """
    package = dotted(path) if path.name == "__init__.py" else dotted(path)[:-1]
    for node in ast.walk(ast.parse(path.read_text("utf-8"), str(path))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else ()
            start = ".".join([*above, *([node.module] if node.module else [])])
            yield from (f"{start}.{alias.name}" for alias in node.names)


def misplaced(path: Path) -> list[str]:
    """What is wrong with a file's place in the house and with its imports from the house."""
    here, name = floor(path), path.relative_to(ROOT).as_posix()
    if here and here not in LEVEL:
        return [f"{name} is on no floor: put {here!r} in its place in FLOORS here"]
    # mpkit/__init__.py shows what the library has, so it stands on the library.
    top = LEVEL[here] if here else UPPER - 1
    wrong = []
    for target in imports(path):
        head, _, rest = target.partition(".")
        there = rest.partition(".")[0]
        if head != "mpkit" or there == here:
            continue
        if not rest and top >= UPPER:  # import mpkit, as any user would
            continue
        if there not in LEVEL:
            wrong.append(f"{name} imports {target}: name the module it comes from")
        elif LEVEL[there] > top:
            wrong.append(f"{name} imports {target}, and {there} stands above {here or 'mpkit'}")
    if ".kit" in ".".join(dotted(path)):
        labs = [t for t in imports(path) if t.startswith("mpkit.lab.")]
        wrong += [f"{name} imports {t}" for t in labs if not t.startswith("mpkit.lab.kit")]
    return wrong


def graph() -> dict[str, set[str]]:
    """Every module, and the modules it imports from, wherever in it."""
    names = {".".join(dotted(path)): path for path in modules()}

    def module(target: str) -> str | None:
        while target not in names:
            target, dot, _ = target.rpartition(".")
            if not dot:
                return None
        return target

    found = {name: {module(t) for t in imports(path)} for name, path in names.items()}
    return {name: there - {None, name, "mpkit"} for name, there in found.items()}


def circle(of: dict[str, set[str]]) -> list[str]:
    try:
        TopologicalSorter(of).prepare()
    except CycleError as error:
        return error.args[1]
    return []


@pytest.mark.parametrize("path", modules(), ids=lambda path: "/".join(dotted(path)))
def test_each_module_imports_only_from_its_own_floor_and_those_below(path: Path):
    assert not misplaced(path)


def test_no_imports_go_in_a_circle():
    assert not circle(graph())
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"a"}})


@pytest.mark.parametrize("path", modules(), ids=lambda path: "/".join(dotted(path)))
def test_no_module_is_longer_than_can_be_read_in_one_sitting(path: Path):
    assert len(path.read_text("utf-8").splitlines()) <= LONGEST


def test_the_floors_are_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys.modules[__name__], "ROOT", tmp_path)
    (tmp_path / "mpkit" / "lab" / "kit").mkdir(parents=True)

    def judged(name: str, text: str) -> bool:
        path = tmp_path / "mpkit" / name
        path.write_text(text, "utf-8")
        return not misplaced(path)

    assert judged("training.py", "import torch\nfrom mpkit.data import Dataset")
    assert judged("training.py", "from . import device\nfrom .networks import mlp")
    assert judged("training.py", "from mpkit.scenario import Scenario")
    assert not judged("training.py", "from mpkit.metapoison import craft")
    assert not judged("training.py", "def f():\n    from .metapoison import craft")
    assert not judged("training.py", "import mpkit.lab.craft")
    assert not judged("training.py", "from mpkit import Dataset")
    assert not judged("device.py", "from . import training")
    assert not judged("cupboard.py", "import torch")
    assert not judged("__init__.py", "from .lab import craft")
    assert judged("__init__.py", "from .runs.record import save")
    assert judged("lab/craft.py", "from ..metapoison import craft\nfrom .kit.panel import Lab")
    assert not judged("lab/craft.py", "from .. import __main__")
    assert judged("lab/kit/panel.py", "from mpkit.lab.kit import runner")
    assert not judged("lab/kit/panel.py", "from mpkit.lab import craft")


# ── how the library is written ──────────────────────────────────────────────────────────────────


def library() -> list[Path]:
    return sorted(PACKAGE.glob("*.py"))


def functions(path: Path) -> Iterator[ast.FunctionDef]:
    tree = ast.parse(path.read_text("utf-8"), str(path))
    yield from (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))


def crowded(path: Path, most: int = 6) -> list[str]:
    """The functions that take more positional arguments than can be told apart; self is none."""
    found = []
    for f in functions(path):
        names = [a.arg for a in (*f.args.posonlyargs, *f.args.args) if a.arg not in ("self", "cls")]
        if len(names) > most:
            found.append(f"{path.name}:{f.lineno} {f.name} takes {len(names)}")
    return found


def other_gradients(path: Path) -> list[str]:
    """The places where something else than torch.func differentiates."""
    text = path.read_text("utf-8")
    lines = enumerate(text.splitlines(), 1)
    other = re.compile(r"autograd\.grad\b|\.backward\(|requires_grad_\(|enable_grad")
    return [f"{path.name}:{i} {line.strip()}" for i, line in lines if other.search(line)]


@pytest.mark.parametrize("path", library(), ids=lambda path: path.stem)
def test_no_function_takes_more_than_six_positional_arguments(path: Path):
    assert not crowded(path)


@pytest.mark.parametrize("path", library(), ids=lambda path: path.stem)
def test_torch_func_is_the_only_way_to_differentiate(path: Path):
    assert not other_gradients(path)


@pytest.mark.parametrize("path", library(), ids=lambda path: path.stem)
def test_the_layout_is_left_to_the_formatter(path: Path):
    assert "fmt: skip" not in path.read_text("utf-8")


def test_crowded_functions_and_other_gradients_are_seen(tmp_path: Path):
    path = tmp_path / "some.py"
    path.write_text("class A:\n    def f(self, a, b, c, d, e, f, g):\n        pass\n", "utf-8")
    assert crowded(path)
    path.write_text("def f(a, b, c, d, e, f, *, g, h):\n    pass\n", "utf-8")
    assert not crowded(path)
    for line in ("torch.autograd.grad(y, x)", "loss.backward()", "x.requires_grad_()"):
        path.write_text(line, "utf-8")
        assert other_gradients(path)
    path.write_text("grad(f)(x)", "utf-8")
    assert not other_gradients(path)


def test_the_library_does_without_the_front_ends():
    below = [p for p in modules() if LEVEL.get(floor(p), 0) < UPPER] + [PACKAGE / "__main__.py"]
    names = sorted({".".join(dotted(path)) for path in below})
    script = (
        "import sys, importlib\n"
        f"sys.modules.update(dict.fromkeys({FRONT_ENDS!r}))\n"
        f"for name in {names!r}:\n    importlib.import_module(name)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_json_that_is_written_has_no_nan():
    for path in [*modules(), *(ROOT / "tests" / "benchmarks").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text("utf-8"), str(path))):
            if isinstance(node, ast.Call) and re.fullmatch(r"json\.dumps?", ast.unparse(node.func)):
                strict = any(ast.unparse(k) == "allow_nan=False" for k in node.keywords)
                assert strict, f"{path.name}:{node.lineno} writes JSON without allow_nan=False"


# ── how the library is tested ───────────────────────────────────────────────────────────────────

TESTS = ROOT / "tests"
LONGEST_TEST = 400


def untested(path: Path) -> bool:
    """Whether a module has no tests of its name (test_<module>….py) in the folder like its own."""
    folder = TESTS / path.parent.relative_to(PACKAGE)
    return not any(folder.glob(f"test_{path.stem}.py")) and not any(
        folder.glob(f"test_{path.stem}_*.py")
    )


def test_every_module_has_its_tests():
    own = [path for path in modules() if path.name not in ("__init__.py", "__main__.py")]
    lacking = [path.relative_to(ROOT).as_posix() for path in own if untested(path)]
    assert not lacking, "add a test_<module>.py for each in the same place under tests/"


def test_no_test_is_in_a_file_too_long_to_be_read():
    files = {path.relative_to(ROOT).as_posix(): path for path in TESTS.rglob("*.py")}
    lines = {name: len(path.read_text("utf-8").splitlines()) for name, path in files.items()}
    assert not {name: count for name, count in lines.items() if count > LONGEST_TEST}


def test_modules_without_tests_are_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys.modules[__name__], "TESTS", tmp_path)
    (tmp_path / "lab").mkdir()
    module = PACKAGE / "lab" / "craft.py"
    assert untested(module)
    (tmp_path / "test_craft.py").touch()
    (tmp_path / "lab" / "test_craftsman.py").touch()
    assert untested(module)
    (tmp_path / "lab" / "test_craft_resumed.py").touch()
    assert not untested(module)
