"""What the project declares, pins and keeps in its repository, and what it serves."""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from functools import cache
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

import mpkit
from tests.test_house import PACKAGE, ROOT, floor, imports, modules

# What conda-forge calls otherwise.
CONDA_NAMES = {
    "pytorch": "torch",
    "matplotlib-base": "matplotlib",
    "playwright-python": "playwright",
}

# Names under which the library's dependencies are imported.
IMPORT_NAMES = {"scikit-learn": "sklearn", "pillow": "PIL"}


# ── what is declared and pinned ─────────────────────────────────────────────────────────────────


@cache
def project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]


def bounds(lines: list[str], names: dict[str, str] | None = None) -> dict[str, str]:
    """Requirement lines as {canonical name: specifier}; `names` translates foreign ones."""
    found = {}
    for line in lines:
        requirement = Requirement(line)
        name = canonicalize_name(requirement.name)
        found[(names or {}).get(name, name)] = str(requirement.specifier)
    return found


def declared() -> dict[str, str]:
    """Every dependency of the project and its extras, without its references to itself."""
    extras = project()["optional-dependencies"].values()
    lines = [*project()["dependencies"], *(line for extra in extras for line in extra)]
    return {name: spec for name, spec in bounds(lines).items() if name != "mpkit"}


def pins() -> dict[str, Version]:
    found = {}
    for line in (ROOT / "constraints.txt").read_text("utf-8").splitlines():
        if line and not line.startswith("#"):
            match = re.fullmatch(r"([a-z0-9-]+)==([a-z0-9.]+)", line)
            assert match, f"constraints.txt pins with name==version alone, and this says {line!r}"
            found[canonicalize_name(match[1])] = Version(match[2])
    return found


def test_the_conda_environment_has_the_names_and_bounds_of_the_project():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text("utf-8"))
    conda = [line for line in environment["dependencies"] if isinstance(line, str)]
    (pip,) = [line["pip"] for line in environment["dependencies"] if isinstance(line, dict)]
    assert environment["name"] == "mpkit"
    assert pip[-1] == "-e ."

    found = bounds(conda, CONDA_NAMES) | bounds(pip[:-1])
    assert found.pop("pip") == ""
    assert found.pop("python") == project()["requires-python"]
    # The peers that benchmarks run against are nobody's need but a developer's.
    peers = bounds(project()["optional-dependencies"]["bench"])
    assert found == {name: spec for name, spec in declared().items() if name not in peers}


def test_no_dependency_is_declared_twice():
    lines = [*project()["dependencies"]]
    for extra in project()["optional-dependencies"].values():
        lines += [line for line in extra if not line.startswith("mpkit[")]
    names = [canonicalize_name(Requirement(line).name) for line in lines]
    assert len(names) == len(set(names))


def test_the_constraints_pin_every_dependency_within_its_bounds():
    pinned = pins()
    assert pinned["torch"] == Version("2.13.0")
    for name, spec in declared().items():
        assert name in pinned, f"{name} is declared and not pinned: run make constraints"
        inside = Requirement(f"{name}{spec}").specifier.contains(pinned[name])
        assert inside, f"constraints.txt has {name} {pinned[name]}, and pyproject.toml asks {spec}"


def test_the_constraints_are_dated():
    header = (ROOT / "constraints.txt").read_text("utf-8").partition("\n")[0]
    assert re.search(r"\b20\d\d-\d\d-\d\d\b", header)


def test_the_constraints_and_the_makefile_name_the_same_torch():
    makefile = (ROOT / "Makefile").read_text("utf-8")
    assert f"TORCH := {pins()['torch']}\n" in makefile


def test_the_hooks_run_the_versions_of_the_constraints():
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text("utf-8"))
    lines = [
        line
        for repo in config["repos"]
        for hook in repo["hooks"]
        for line in hook["additional_dependencies"]
    ]
    pinned = pins()
    for name, spec in bounds(lines).items():
        assert spec.startswith("=="), f"the hook package {name} is not pinned"
        if name in pinned:
            assert spec == f"=={pinned[name]}"


def test_the_library_imports_only_what_it_depends_on():
    allowed = {IMPORT_NAMES.get(n, n) for n in bounds(project()["dependencies"])} | {"mpkit"}
    extras = {"private.py": "privacy", "compare_picture.py": "notebooks"}
    some = project()["optional-dependencies"]
    extra = {file: bounds(some[name]).keys() for file, name in extras.items()}
    for path in modules():
        if floor(path) in ("course", "lab"):
            continue
        used = {target.partition(".")[0] for target in imports(path)} - sys.stdlib_module_names
        lent = allowed | extra.get(path.name, set())
        assert used <= lent, f"{path.name} imports {used - lent}, not among the dependencies"


# ── what lies in the repository ─────────────────────────────────────────────────────────────────


def repository() -> list[Path]:
    """The files git tracks or would track; without git, all files outside hidden folders."""
    git = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    if (ROOT / ".git").exists() and shutil.which("git"):
        done = subprocess.run(git, cwd=ROOT, capture_output=True, text=True)
        if done.returncode == 0:
            names = done.stdout.split("\0")[:-1]
            return [ROOT / name for name in names if (ROOT / name).is_file()]
    found = []
    for folder, folders, files in os.walk(ROOT):
        folders[:] = [n for n in folders if n == ".ci" or not (n[0] == "." or n == "__pycache__")]
        found += [Path(folder, name) for name in files]
    return found


def unclean(notebook: dict) -> list[str]:
    """What a run has left in a notebook: outputs, execution counts, widget state."""
    left = ["widget state"] if "widgets" in notebook.get("metadata", {}) else []
    for number, cell in enumerate(notebook["cells"]):
        if cell.get("outputs"):
            left.append(f"outputs in cell {number}")
        if cell.get("execution_count") is not None:
            left.append(f"an execution count in cell {number}")
    return left


def test_notebooks_are_kept_without_outputs():
    for path in repository():
        if path.suffix == ".ipynb":
            left = unclean(json.loads(path.read_text("utf-8")))
            assert not left, f"run nbstripout on {path.name}: it has {', '.join(left)}"


def test_what_a_run_leaves_is_seen():
    code = {"cell_type": "code", "execution_count": None, "outputs": []}
    assert not unclean({"metadata": {}, "cells": [code, {"cell_type": "markdown"}]})
    assert unclean({"metadata": {"widgets": {}}, "cells": []})
    assert unclean({"metadata": {}, "cells": [code | {"outputs": [{}]}]})
    assert unclean({"metadata": {}, "cells": [code | {"execution_count": 1}]})


def test_no_file_names_a_package_index():
    # Where packages come from is for each user's pip and conda to say.
    hosts = "pypi[.]org/simple|pythonhosted|download[.]pytorch|registry[.]npmjs|deb[.]debian"
    options = "--(extra-)?index-url(?! ADDRESS)|--find-links|trusted-host"
    pattern = re.compile(f"{hosts}|{options}".encode())
    for path in repository():
        if path != Path(__file__).resolve() and path.stat().st_size < 4_000_000:
            match = pattern.search(path.read_bytes())
            assert not match, f"{path.relative_to(ROOT)} names {match and match[0].decode()}"


@pytest.mark.skipif(os.name != "posix", reason="Windows has no executable bit and no bash")
def test_the_check_from_a_clean_checkout_can_be_run():
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    assert subprocess.run(["bash", "-n", script]).returncode == 0
    assert "\nmake test\n" in script.read_text("utf-8")


def test_the_readme_says_how_to_open_the_lab_and_how_to_test():
    readme = ROOT / "README.md"
    if not readme.exists():
        pytest.skip("there is no README.md yet")
    text = readme.read_text("utf-8")
    assert "make lab" in text
    assert "make test" in text


# ── the lecturer's pages ────────────────────────────────────────────────────────────────────────


def recipe_of(target: str) -> str:
    """The lines make would run for a target, variables and continued lines as they are written."""
    makefile = (ROOT / "Makefile").read_text("utf-8").replace("\\\n", " ")
    match = re.search(rf"^{target}:.*\n((?:\t.*\n)+)", makefile, re.MULTILINE)
    assert match, f"the Makefile has no target {target}"
    return match[1]


@pytest.mark.parametrize("target", ["lab", "lecture"])
def test_what_is_served_is_for_this_machine_and_wants_its_token(target: str):
    recipe = recipe_of(target)
    assert re.findall(r"\bip=(\S+)", recipe) == ["127.0.0.1"]
    # Jupyter draws a token by itself: only an option could set it, empty it, or let others in.
    doors = "token|password|allow_unauthenticated|allow_origin|allow_remote|disable_check_xsrf"
    assert not re.search(doors, recipe)


def test_the_lecture_is_served_by_jupyters_own_server():
    recipe = recipe_of("lecture")
    assert "-m jupyter_server " in recipe  # whose token Voilà then asks for
    assert "voila.server_extension=True" in recipe
    assert "root_dir=notebooks/lecture" in recipe
    assert "strip_sources=False" not in recipe  # no code on the pages


def labs() -> list[str]:
    """What mpkit.lab offers, read without importing it."""
    tree = ast.parse((PACKAGE / "lab" / "__init__.py").read_text("utf-8"))
    (names,) = [
        node.value
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
    ]
    return [name for name in ast.literal_eval(names) if name.endswith("Lab")]


def test_every_lab_has_its_page_in_the_lecture():
    shown = []
    for path in sorted((ROOT / "notebooks" / "lecture").glob("[0-9]*.ipynb")):
        cells = json.loads(path.read_text("utf-8"))["cells"]
        (code,) = ["".join(c["source"]) for c in cells if c["cell_type"] == "code"]
        last = ast.parse(code).body[-1]
        match = re.fullmatch(r"page\((\w+)\((?:data='\w+', )?large=True\)\)", ast.unparse(last))
        assert match, (
            f"{path.name} ends with {ast.unparse(last)}, and not with page(…Lab(large=True))"
        )
        shown.append(match[1])
        assert re.match(r"# .+\n\n.+", "".join(cells[0]["source"]))  # title and line, in the index
        assert (path.parent / "pictures" / f"{path.stem}.jpg").exists()
    assert sorted(shown) == sorted(labs())


# ── the front door ──────────────────────────────────────────────────────────────────────────────

SCRIPTS = {"Settings", "load_dataset", "make_scenario", "unroll"}
"""Names that no notebook takes, and that other people's scripts use."""


def test_the_front_door_holds_what_is_used_and_nothing_else():
    texts = [(ROOT / name).read_text("utf-8") for name in ("README.md", "docs/extending.md")]
    for path in (ROOT / "notebooks").rglob("*.ipynb"):
        cells = json.loads(path.read_text("utf-8"))["cells"]
        texts += ["".join(cell["source"]) for cell in cells]
    taken = " ".join(re.findall(r"from mpkit import (\([^)]*\)|[^\n]+)", "\n".join(texts)))
    unused = {name for name in mpkit.__all__ if not re.search(rf"\b{name}\b", taken)}
    assert unused == SCRIPTS
    assert all(hasattr(mpkit, name) for name in mpkit.__all__)


# ── the editable install ────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("above", ["plain", "Übung 1"])
def test_an_editable_install_is_found_from_the_folder_above_the_clone(above: str, tmp_path: Path):
    """In whatever locale, be it one that lacks a letter of the path."""
    clone, site = tmp_path / above / "mpkit", tmp_path / "site"
    (clone / "mpkit").mkdir(parents=True)
    for name in ("pyproject.toml", "setup.py", "LICENSE", "mpkit/__init__.py"):
        shutil.copy(ROOT / name, clone / name)
    build = "from setuptools import build_meta as b; import sys; b.build_editable(sys.argv[1])"
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | {"LC_ALL": "C"}
    how = {"env": environment, "capture_output": True, "text": True}
    done = subprocess.run([sys.executable, "-c", build, site], cwd=clone, **how)
    assert done.returncode == 0, done.stderr
    (wheel,) = site.glob("*.whl")
    shutil.unpack_archive(wheel, site, "zip")
    use = f"import site; site.addsitedir({str(site)!r}); import mpkit; print(mpkit.__version__)"
    for folder in (clone.parent, clone, clone / "mpkit"):
        # -S: nothing of this environment's packages
        done = subprocess.run([sys.executable, "-S", "-c", use], cwd=folder, **how)
        assert done.stdout == f"{mpkit.__version__}\n", done.stderr
