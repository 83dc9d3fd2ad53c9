"""The architecture, tested: who may import whom, and what must stay out of the core."""

from __future__ import annotations

import ast
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "escape_abm"
# Data flows one way: a module imports only from its left.
ORDER = (
    "interrupt", "exact", "parameters", "products", "regimen", "clinic", "cohort", "settings", "states", "law",
    "chance", "counts", "cells", "marrow", "engines", "leukaemia", "simulation", "endpoints", "survival", "analysis",
    "comparison", "kept", "trial", "targets", "emulator", "calibration", "branching", "sensitivity", "figures",
    "trial_figures", "fit_figures", "check_figures", "diagrams", "bedside", "micrograph", "report", "identity",
    "results", "notebook", "runs", "designs", "executors", "sweep", "usage", "faults", "config", "gallery",
    "choices", "dashboard", "__main__",
)  # fmt: skip
PICTURES = {
    "figures", "trial_figures", "fit_figures", "check_figures", "diagrams", "gallery", "micrograph", "results",
    "notebook", "runs", "dashboard",
}  # fmt: skip
MODULES = sorted(p.stem for p in PACKAGE.glob("*.py") if p.stem != "__init__")


@cache
def tree_of(module: str) -> ast.Module:
    return ast.parse((PACKAGE / f"{module}.py").read_text())


@cache
def imports(module: str) -> set[str]:
    tree = tree_of(module)
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
            if node.module == "escape_abm":
                names |= {f"escape_abm.{a.name}" for a in node.names}
        elif isinstance(node, ast.Import):
            names |= {a.name for a in node.names}
    return names


def test_order_names_every_module() -> None:
    assert sorted(ORDER) == MODULES


@pytest.mark.parametrize("module", ORDER)
def test_imports_go_one_way(module: str) -> None:
    ours = {n.split(".")[1] for n in imports(module) if n.startswith("escape_abm.")} - {"__version__"}
    assert ours <= set(ORDER[: ORDER.index(module)])


@pytest.mark.parametrize(
    ("library", "allowed"),
    [
        ("hydra", {"config", "faults"}),
        ("omegaconf", {"config", "faults"}),
        ("matplotlib", PICTURES),
        ("seaborn", {"figures", "trial_figures"}),
        ("rich", {"report"}),
        ("joblib", {"trial", "calibration", "emulator"}),
        ("sklearn", {"emulator"}),
        ("emcee", {"calibration"}),
        ("filelock", {"results"}),
        ("duckdb", {"runs"}),
        ("distributed", {"executors"}),
        ("submitit", {"executors"}),
        ("numba", {"law", "chance", "counts", "cells", "marrow"}),
        ("mesa", {"cells", "marrow", "dashboard"}),
        ("solara", {"dashboard"}),
    ],
)
def test_libraries_stay_in_their_rooms(library: str, allowed: set[str]) -> None:
    users = {m for m in MODULES if any(n.split(".")[0] == library for n in imports(m))}
    assert users == allowed


def test_what_results_depend_on_is_part_of_their_identity() -> None:
    """A module that moves tables must not be among those whose changes are not seen."""
    from escape_abm.identity import BESIDE

    for module in set(MODULES) - BESIDE - {"micrograph"}:  # which draws in the colours of `figures`
        ours = {n.split(".")[1] for n in imports(module) if n.startswith("escape_abm.")} - {"__version__"}
        assert not ours & BESIDE, module


def test_no_global_randomness() -> None:
    for module in MODULES:
        text = (PACKAGE / f"{module}.py").read_text()
        assert "np.random.seed" not in text
        assert "import random" not in text
        assert "numpy.random import" not in text


def test_the_law_draws_nothing() -> None:
    assert "rng" not in (PACKAGE / "law.py").read_text()


def test_the_core_needs_no_hydra() -> None:
    code = (
        "import sys; sys.modules['hydra'] = sys.modules['omegaconf'] = None\n"
        "import escape_abm\n"
        "escape_abm.run_trial, escape_abm.simulate, escape_abm.Settings\n"
        "assert not any(m.split('.')[0] in ('mesa', 'matplotlib', 'seaborn') for m in sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_law_is_part_of_the_cache_key() -> None:
    """A changed law, or chance, must never meet a kernel compiled from the old one."""
    from escape_abm import chance, counts, law

    cells = [c.cell_contents for c in counts.advance.py_func.__closure__ or ()]  # type: ignore[attr-defined]
    assert law.FINGERPRINT in cells
    assert chance.FINGERPRINT in cells


def test_nothing_that_calls_the_law_is_cached_on_its_own() -> None:
    """numba's cache of a function sees only its own file: callers of others are compiled with the kernel."""
    for module in ("counts", "cells", "marrow"):
        for node in tree_of(module).body:
            if isinstance(node, ast.FunctionDef):
                names = {n.id for s in node.body for n in ast.walk(s) if isinstance(n, ast.Name)}
                cached = any("cache" in ast.dump(d) for d in node.decorator_list)
                assert not (names & {"law", "chance"} and cached), node.name


def test_the_grid_compiles_nothing_stale() -> None:
    """What `_compile` caches has the fingerprint of the law in its key."""
    from escape_abm import cells, law, marrow

    for function in (*cells.compiled, *marrow.compiled):
        free = [c.cell_contents for c in function.py_func.__closure__ or ()]  # type: ignore[attr-defined]
        assert law.FINGERPRINT in free


@pytest.mark.parametrize("module", MODULES)
def test_functions_stay_readable(module: str) -> None:
    """No file over 600 lines; no function over 75 (the kernel and the table of rates are the longest)."""
    text = (PACKAGE / f"{module}.py").read_text()
    assert len(text.splitlines()) <= 600
    for node in ast.walk(tree_of(module)):
        if isinstance(node, ast.FunctionDef) and node.name != "_compile":
            first = node.body[1] if ast.get_docstring(node) and len(node.body) > 1 else node.body[0]
            assert (node.end_lineno or 0) - first.lineno <= 75, f"{module}.{node.name}"
