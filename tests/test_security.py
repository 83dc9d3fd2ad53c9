"""Folders and configurations of others are data: nothing that they bring is run."""

from __future__ import annotations

import ast
import pickle
from pathlib import Path

import pandas as pd
import pytest

from escape_abm import compose
from escape_abm.__main__ import main as tool
from escape_abm.runs.fingerprint import Experiment, identify
from escape_abm.runs.run_folder import Run
from escape_abm.trials import checkpoints
from tests.test_shape import TREES, imports

RUNS_CODE = {"pickle", "cPickle", "dill", "cloudpickle", "marshal", "shelve", "joblib.load", "pandas.read_pickle"}


def calls(tree: ast.Module) -> set[str]:
    """Names and attributes that are called."""
    called = [node.func for node in ast.walk(tree) if isinstance(node, ast.Call)]
    return {f.id if isinstance(f, ast.Name) else f.attr for f in called if isinstance(f, ast.Name | ast.Attribute)}


def unsafe(tree: ast.Module) -> set[str]:
    """What could run data as code; `load` of YAML is fine with a safe loader."""
    loose = {
        ast.unparse(node)
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("yaml.load", "yaml.unsafe_load", "yaml.full_load")
        if "loader" not in ast.unparse(node).lower()
    }
    return imports(tree) & RUNS_CODE | calls(tree) & {"exec", "read_pickle", "instantiate", "system"} | loose


@pytest.mark.parametrize("module", TREES)
def test_no_module_runs_data(module: str) -> None:
    assert unsafe(TREES[module]) == set()
    if module != "trials/comparison":  # which compares columns, and refuses all else first
        assert "eval" not in calls(TREES[module])


def test_what_would_run_data_is_noticed() -> None:
    for line in (
        "import pickle",
        "yaml.load(text)",
        "pd.read_pickle(place)",
        "from hydra.utils import x\nx.instantiate(c)",
    ):
        assert unsafe(ast.parse(line)), line


class Bomb:
    """Makes a folder when it is unpickled."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return Path.mkdir, (Path("made"),)  # type: ignore[return-value]


@pytest.mark.parametrize("name", ["0_1_2.pkl", "0_1_2.json.gz", "0_1_2.json"])
def test_what_is_kept_of_a_stopped_run_is_data(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / name).write_bytes(pickle.dumps(Bomb()))
    assert checkpoints.saved(tmp_path / "kept") == {}
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize("name", ["theirs", "../theirs", "{0}/theirs"])
def test_repeating_a_run_of_another_runs_none_of_its_scripts(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    script = tmp_path / "theirs.py"
    script.write_text(f"open({str(tmp_path / 'made')!r}, 'w')\n")
    run = tmp_path / "run"
    settings = compose(["trial=none", "comparators=none"])
    identity = identify(Experiment(name.format(tmp_path), script, "run"), settings)
    Run(settings, run, identity, quiet=True).write({"table.csv": pd.DataFrame({"a": [1]})}, {})
    assert tool(["verify", str(run)]) == 1
    assert "If you trust it: --script FILE" in capsys.readouterr().out
    assert not (tmp_path / "made").exists()
