"""Draw which package imports from which: `python -m docs.make_architecture FOLDER`."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import matplotlib as mpl
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from escape_abm.figures.style import BLUE, STYLE, WIDTH_INCHES, canvas, save

PACKAGE = Path(__file__).parents[1] / "escape_abm"


def imports() -> pd.DataFrame:
    """`from, to, modules`: how many modules of one package import from another."""
    users: dict[tuple[str, str], set[str]] = {}
    for file in PACKAGE.glob("*/*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("escape_abm."):
                users.setdefault((file.parent.name, str(node.module).split(".")[1]), set()).add(file.stem)
    lines = [(one, other, len(modules)) for (one, other), modules in users.items() if one != other]
    return pd.DataFrame(lines, columns=["from", "to", "modules"]).sort_values(["from", "to"], ignore_index=True)


def order(table: pd.DataFrame) -> list[str]:
    """Packages, each after all that it imports from."""
    out: list[str] = []
    left = {p.parent.name for p in PACKAGE.glob("*/__init__.py")}
    while left:
        ready = {p for p in left if not set(table.loc[table["from"] == p, "to"]) & left}
        if not ready:
            raise SystemExit(f"packages import one another in a circle: {', '.join(sorted(left))}")
        first = min(ready, key=lambda p: (-int((table["to"] == p).sum()), p))
        out.append(first)
        left.remove(first)
    return out


def draw(table: pd.DataFrame) -> Figure:
    """A row for each package: what it is for, and from how many of its modules it reaches into each other one."""
    names = order(table)
    faces = {n: ast.get_docstring(ast.parse((PACKAGE / n / "__init__.py").read_text(encoding="utf-8"))) for n in names}
    with mpl.rc_context(STYLE):
        figure, axes = canvas(3.5, width=WIDTH_INCHES)
        ax = axes[0, 0]
        for row, name in enumerate(names):
            ax.add_patch(Rectangle((row - 0.5, row - 0.5), 1, 1, color="#E8E8E8", lw=0))
            ax.text(-0.8, row - 0.17, name, ha="right", va="center", fontweight="bold")
            ax.text(-0.8, row + 0.2, (faces[name] or "").splitlines()[0], ha="right", va="center", fontsize=6.5)
        for line in table.to_dict("records"):
            x, y, n = names.index(line["to"]), names.index(line["from"]), line["modules"]
            ax.scatter(x, y, 70 + 22 * n, color=BLUE, lw=0)
            ax.annotate(str(n), (x, y), color="white", ha="center", va="center", fontsize=7)
        ax.set(xlim=(-11, len(names) - 0.5), ylim=(len(names) - 0.5, -0.5))
        ax.set_xticks(range(len(names)), names, rotation=30, ha="left", rotation_mode="anchor")
        ax.xaxis.tick_top()
        ax.set_yticks([])
        ax.tick_params(length=0)
        ax.spines[:].set_visible(False)
        ax.set_xlabel("Number of modules of the package at the left that import from the one above", loc="right")
    return figure


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    found = imports()
    found.to_csv(folder / "architecture.csv", index=False)
    save(draw(found), folder / "architecture")
