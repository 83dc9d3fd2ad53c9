"""Random command lines from the real grammar: groups, keys, values, sweeps, flags, in any order.

python -m tests.interface.fuzz [--lines 10000] [--seed 1]

Every line must end in a message of ours or in a run: no traceback, no words of Hydra's own, and no folder left by a
line that was refused. Runs themselves are left out: what is tested is the door. A line is drawn from the seed and its
number alone; `--only N` repeats one.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import random
import runpy
import shlex
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any
from unittest import mock

from hydra.core.global_hydra import GlobalHydra

from escape_abm.interface import composition, groups, launch
from escape_abm.runs import sweep, terminal

SCRIPTS = {
    "compare_products": "config", "trial": "published", "calibrate": "calibrate", "sensitivity": "sensitivity",
    "marrow": "marrow", "theory": "theory", "counterfactual": "config",
}  # fmt: skip
FOLDER = Path(__file__).parents[2] / "experiments"
NOT_OURS = ("Traceback", "full_key", "object_type", "HYDRA_FULL_ERROR", "in struct", "unrecognized arguments")
"""What no message says: words of Python's and Hydra's."""

NUMBERS = (
    "0", "1", "-1", "2", "3", "0.5", "1e-9", "1e400", "-1e400", "1e16", "99999999999999999999", "nan", "inf", "1_0",
    "0x1", "1e", "1,5", "1.", "-0", "0.1e-400",
)  # fmt: skip
TEXTS = (
    "a", "a b", '"a, b"', "'a'", "'", '"', "ä", "\U0001f600", "a\nb", "\t", "a:b", "a=b", "=", "a/b", "../a", "/",
    "~", "~/a", "$a", "${seed}", "${nope}", "${oc.env:HOME}", "${oc.decode:1}", "${", "???", "null", "true", "False",
    "%d", "{}", "a" * 300, "\\", "a\\", "#", "# a", "!!python/object:a", "&a", "*a", "<<", "[]", "a.b", "cd19", "None",
    "plausible", "@pd", "",
)  # fmt: skip
NESTS = (
    "{%s: %s}", "{%s:%s}", "[%s,%s]", "[%s]", "{%s}", "{%s: {%s: 1}}", "[[%s],%s]", "{a: [%s, %s]}", "{%s: [%s}", "[%s",
)  # fmt: skip
SWEEPS = (
    "%s,%s", "%s,", ",%s", "range(%s,%s)", "range(%s)", "range(1,4,%s)", "interval(%s,%s)", "choice(%s,%s)", "choice()",
    "glob(%s)", "glob(*)", "glob(zzz*)", "glob(*,exclude=%s)", "shuffle(%s,%s)", "sort(%s,%s)", "tag(%s,%s)",
    "tag(log,interval(%s,%s))", "str(%s)", "int(%s)", "range(5,5)", "shuffle(range(3))",
)  # fmt: skip
FLAGS = (
    "-m", "--multirun", "-q", "--quiet", "-v", "--cfg", "-c", "job", "hydra", "--resolve", "-p", "--package", "biology",
    "--info", "-i", "defaults", "--version", "--help", "-h", "-sc", "install=bash", "query=bash", "--run", "-r",
    "--config-dir", "-cd", "--config-dir=", "--config-dir=.", "--config-name", "x", "--nope", "-", "--", "-1", "-mq",
    "--cfg=job", "--quiet=1", "--experimental-rerun", "--hydra-help", "--config-path=..",
)  # fmt: skip
HYDRAS = (
    "hydra.run.dir", "hydra.sweep.dir", "hydra.sweep.subdir", "hydra.job.name", "hydra.job.chdir", "hydra.mode",
    "hydra.sweeper.params", "hydra.searchpath", "hydra.output_subdir", "hydra.verbose", "hydra/launcher", "hydra",
    "hydra/job_logging", "hydra.callbacks", "hydra.job.env_set", "hydra.launcher._target_", "hydra.job.num",
    "hydra.runtime.output_dir", "hydra.overrides.task", "hydra/callbacks", "hydra/sweeper", "hydra.job.env_copy",
)  # fmt: skip


@cache
def keys(config_name: str) -> tuple[dict[str, str], list[str]]:
    """Every key of a configuration with its value, and every one that is a node."""
    values: dict[str, str] = {}
    nodes: list[str] = []

    def walk(node: Any, at: str) -> None:
        if not isinstance(node, dict):
            values[at] = "null" if node is None else str(node).replace("'", "")
            return
        nodes.append(at)
        for key, below in node.items():
            walk(below, f"{at}.{key}")

    with composition.our_hydra():
        for name, node in composition.compose_words(["trial=none"], config_name).data.items():
            walk(node, name)
    return values, nodes


class Lines:
    """Draws the words of one command line."""

    def __init__(self, seed: int, number: int) -> None:
        """A line depends on the seed and its number alone."""
        self.r = random.Random(f"{seed}/{number}")
        self.script = self.r.choice(["compare_products"] * 6 + list(SCRIPTS))
        self.values, self.nodes = keys(SCRIPTS[self.script])
        self.choices = {name: list(found) for name, found in groups.choices().items()}

    def words(self) -> list[str]:
        """The words after the name of the script; most lines have one or two that are wrong."""
        r, out = self.r, ["comparators=none"] * (self.r.random() < 0.8)
        out += [self.override() for _ in range(r.choice((0, 1, 1, 1, 1, 2, 2, 3)))]
        out += [r.choice(FLAGS) for _ in range(r.choice((0, 0, 0, 0, 0, 1, 1, 2)))]
        out += ["-m"] * (r.random() < 0.3)
        r.shuffle(out)
        if r.random() < 0.05 and out:
            i = r.randrange(len(out))
            out[i : i + 1] = out[i].replace("=", r.choice((" = ", "= ", " ="))).split(" ")
        return out

    def override(self) -> str:
        r = self.r
        prefix = r.choice(("",) * 20 + ("+", "+", "++", "~", "~", "-", "+~"))
        key, value = r.choice(
            (self.of_group, self.of_group, self.of_value, self.of_value, self.of_node, self.of_hydra)
        )()
        if r.random() < 0.08:
            key = self.misspelt(key)
        if r.random() < 0.04:
            return prefix + key
        return f"{prefix}{key}={value}"

    def of_group(self) -> tuple[str, str]:
        r = self.r
        group = r.choice(list(self.choices))
        places = (
            "product.components.cd19.constructs.cd19",
            "comparators.b",
            "comparators.tandem",
            "",
            "_global_",
            "a b",
            "..",
        )
        key = group + (f"@{r.choice(places)}" if r.random() < 0.2 else "")
        value = r.choice(self.choices[group]) if r.random() < 0.7 else self.value()
        return key, (f"{value},{r.choice(self.choices[group])}" if r.random() < 0.15 else value)

    def of_value(self) -> tuple[str, str]:
        key = self.r.choice(list(self.values))
        return key, self.values[key] if self.r.random() < 0.6 else self.value()

    def of_node(self) -> tuple[str, str]:
        return self.r.choice(self.nodes) + self.r.choice(("", "", ".a", ".b.c")), self.value()

    def of_hydra(self) -> tuple[str, str]:
        return self.r.choice(HYDRAS), self.value()

    def value(self) -> str:
        r = self.r
        kind = r.random()
        if kind < 0.45:
            return r.choice(NUMBERS)
        if kind < 0.7:
            return r.choice(TEXTS)
        shape = r.choice(NESTS if kind < 0.82 else SWEEPS)
        return shape % tuple(r.choice((*NUMBERS[:8], *TEXTS[:12], "cd19", "tandem")) for _ in range(shape.count("%s")))

    def misspelt(self, key: str) -> str:
        i = self.r.randrange(len(key) + 1)
        return self.r.choice(
            (key[:i] + key[i + 1 :], key[:i] + "." + key[i:], key.upper(), f".{key}", f"{key}.", f"{key}[0]")
        )


@contextlib.contextmanager
def door_only() -> Iterator[None]:
    """What is accepted is not run; a run in twenty goes through Hydra to where its task would begin."""
    inner, count = launch._run_one, Counter[str]()

    def run_one(_task: Any, ask: Any, *more: Any) -> None:
        count["runs"] += 1
        if count["runs"] % 20 == 1:
            inner(lambda _settings, _run: None, ask, *more)

    def run_sweep(ask: Any, _gather: Any = None) -> int:
        folder = sweep.find_folder(ask)
        sweep.plan(ask, folder, sweep.in_recorded_order(folder, ask.jobs))
        return 0

    with mock.patch.object(launch, "_run_one", run_one), mock.patch.object(sweep, "run_sweep", run_sweep):
        yield


def end_of(script: str, words: list[str]) -> tuple[str, str]:
    """How a line ended in an empty folder (`ran`, `refused` or `wrong`), and what was said."""
    here, said, argv = Path.cwd(), io.StringIO(), sys.argv
    with tempfile.TemporaryDirectory() as place:
        os.chdir(place)
        GlobalHydra.instance().clear()
        sys.argv = [str(FOLDER / f"{script}.py"), *words]
        try:
            with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
                runpy.run_path(sys.argv[0], run_name="__main__")
            code: Any = None
        except SystemExit as stopped:
            code = stopped.code
        except BaseException:  # noqa: BLE001  (whatever it is, it is a traceback)
            return "wrong", traceback.format_exc()
        finally:
            os.chdir(here)
            sys.argv = argv
            terminal.hush(False)
            os.environ.pop("HYDRA_FULL_ERROR", None)
        text = f"{said.getvalue()}\n{code if isinstance(code, str) else ''}"
        left = [str(p.relative_to(place)) for p in Path(place).rglob("*")]
    if isinstance(code, int) and code:
        return "wrong", f"exit code {code}: {text}"
    if isinstance(code, str) and any(word in text for word in NOT_OURS):
        return "wrong", f"not our words: {text}"
    if isinstance(code, str) and left:
        return "wrong", f"left {left}: {text}"
    return ("refused" if isinstance(code, str) else "ran"), text


def main() -> int:
    """Try many lines, say which went wrong, and give the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lines", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--first", type=int, default=0, help="number of the first line")
    parser.add_argument("--only", type=int, help="one line by its number, with what it said")
    asked = parser.parse_args()
    numbers = range(asked.first, asked.lines) if asked.only is None else [asked.only]
    ends: Counter[str] = Counter()
    with door_only():
        for number in numbers:
            drawn = Lines(asked.seed, number)
            words = drawn.words()
            end, said = end_of(drawn.script, words)
            ends[end] += 1
            if end == "wrong" or asked.only is not None:
                sys.stdout.write(f"\n{number}: {drawn.script}.py {shlex.join(words)}\n{end}: {said[-1500:]}\n")
                sys.stdout.flush()
    sys.stdout.write(
        f"\n{len(numbers)} lines: {ends['ran']} ran, {ends['refused']} refused, {ends['wrong']} went wrong\n"
    )
    return 1 if ends["wrong"] else 0


if __name__ == "__main__":
    sys.exit(main())
