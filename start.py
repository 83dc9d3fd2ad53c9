#!/usr/bin/env python3
"""Run, test or document escape_abm; on first use make `.venv` beside this file and install into it.

    python3 start.py run [ARGUMENTS]     compare the products (also without `run`, if there are no arguments)
    python3 start.py test [ARGUMENTS]    run the tests
    python3 start.py dashboard           show a patient's marrow in a browser, served to this machine only
    python3 start.py docs                build the documentation into site/, to be read offline
    python3 start.py setup [EXTRA]       only install; extras: dashboard, docs, distributed (Dask), slurm

Arguments are passed on: `start.py run product=tandem`, `start.py test -k survival`. Whatever folder it is called from,
paths are taken from the folder of this file.
"""

import hashlib
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

# Annotations are quoted and newer syntax is avoided, so that an old Python gets as far as telling that it is too old.
ROOT = Path(__file__).resolve().parent
OLDEST_PYTHON = (3, 11)
EXTRAS = ["dashboard", "docs", "distributed", "slurm"]
# A file shares its runs; the slowest tests are named.
PROMPT_TESTS = ["-q", "-n", "2", "--dist", "loadfile", "--no-loadscope-reorder", "--durations", "12"]


def tool(name: str) -> str:
    """Path of a program of the environment."""
    folder, suffix = ("Scripts", ".exe") if os.name == "nt" else ("bin", "")
    return str(ROOT / ".venv" / folder / (name + suffix))


def stamp() -> str:
    """Changes with all that the environment depends on; a copied or moved one does not work either."""
    parts = [sys.version.encode(), str(ROOT).encode()]
    parts += [(ROOT / name).read_bytes() for name in ("pyproject.toml", "constraints.txt")]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()


def is_ready(extra: str = "") -> bool:
    """Whether the environment was made to the end, with this extra, for this Python and these requirements."""
    mark = ROOT / ".venv" / f"stamp{extra}"
    return mark.is_file() and mark.read_text() == stamp() and Path(tool("python")).exists()


def check_python() -> None:
    """Stop, saying why, where no environment can be made."""
    if sys.version_info < OLDEST_PYTHON:
        found, needed = (".".join(map(str, version[:2])) for version in (sys.version_info, OLDEST_PYTHON))
        raise SystemExit(f"escape_abm needs Python {needed} or newer, but this is Python {found} ({sys.executable}).")
    if not (importlib.util.find_spec("venv") and importlib.util.find_spec("ensurepip")):
        raise SystemExit(
            "This Python cannot make virtual environments. On Debian and Ubuntu: apt install python3-venv "
            "(on others, install Python's venv module), then try again."
        )


def works(*command: str, quiet: bool = False) -> bool:
    """Run a command in the project's folder."""
    output = subprocess.DEVNULL if quiet else None
    try:
        return subprocess.run(command, cwd=ROOT, stdout=output, stderr=output, check=False).returncode == 0
    except OSError:
        return False


def install(extra: str = "") -> None:
    """Make the environment from nothing, or add an extra to a whole one, and mark it as whole once it is."""
    check_python()
    doing = f"Adding the {extra} to" if is_ready() else "First use, or the requirements changed: installing into"
    print(f"{doing} {ROOT / '.venv'} (a minute or two) ...", flush=True)
    if not is_ready() and not works(sys.executable, "-m", "venv", "--clear", str(ROOT / ".venv")):
        raise SystemExit(f"Could not make {ROOT / '.venv'}; the reason is above.")
    wanted = ("-c", "constraints.txt", "-e", f".[dev,{extra}]" if extra else ".[dev]")
    python = tool("python")
    pip = (python, "-m", "pip", "--disable-pip-version-check", "install", "--quiet")
    # uv is several times faster, but does not read pip's settings, so it may fail where pip does not. Bytecode is
    # compiled here, as pip does, so that every later start is short.
    uv = (tool("uv"), "pip", "install", "--python", python)
    is_fast = works(*pip, "--retries", "1", "uv", quiet=True) and works(*uv, "--compile-bytecode", *wanted, quiet=True)
    if not is_fast and not works(*pip, *wanted):
        raise SystemExit("Could not install the packages; pip says why above. Is there a network connection?")
    for name in {"stamp", f"stamp{extra}"}:
        (ROOT / ".venv" / name).write_text(stamp())
    enter = r".venv\Scripts\activate" if os.name == "nt" else "source .venv/bin/activate"
    print(f"Installed. To enter the environment, in {ROOT}: {enter}", flush=True)


def run(command: "list[str]") -> int:
    """Become the command where the system can, so that a signal to this process reaches it."""
    if os.name == "posix":
        os.chdir(ROOT)
        sys.stdout.flush()
        os.execv(command[0], command)
    return subprocess.call(command, cwd=ROOT)


def main(arguments: "list[str]") -> int:
    """Do what the first argument names, and return the exit code."""
    verb, rest = (arguments[0], arguments[1:]) if arguments else ("run", [])
    commands = {
        "run": ["experiments/compare_products.py", *rest],
        "test": ["-m", "pytest", *(rest or PROMPT_TESTS)],
        "dashboard": ["-m", "escape_abm.interface.dashboard", *rest],
        "docs": ["-m", "mkdocs", "build", "--strict", *rest],
        "setup": [],
    }
    if verb == "-sc":  # the tab key, where a shell completes scripts: what `run` takes, and nothing is installed
        if os.environ.get("COMP_LINE", "").split()[2:3] != ["run"] or not is_ready():
            return 0
        return run([tool("python"), *commands["run"][:1], *arguments])
    if verb not in commands:
        asked = verb in ("-h", "--help", "help")
        if not asked:
            meant = f" Did you mean: python3 start.py run {' '.join(arguments)}" if "=" in verb else ""
            print(f"Unknown command {verb!r}.{meant}\n", file=sys.stderr)
        print(__doc__, file=sys.stdout if asked else sys.stderr)
        return 0 if asked else 2
    check_python()
    extra = verb if verb in EXTRAS else ""  # what only the dashboard (400 MB) or the documentation (200 MB) needs
    if verb == "setup" and rest and rest[0] in EXTRAS:
        extra = rest[0]
    if not is_ready(extra):
        install(extra)
    os.environ.setdefault("NO_MKDOCS_2_WARNING", "1")  # the theme would print news about itself
    return run([tool("python"), *commands[verb]]) if commands[verb] else 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:  # the program that was running has said what it had to
        sys.exit(130)
