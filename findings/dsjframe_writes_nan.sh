#!/usr/bin/env bash
# dsjframe writes a missing float of an Arrow table as NaN, which is no JSON, and calls the file valid.
#
# Guess: a missing value is null in Dataset-JSON, so NaN is written as null (as it is from a
#   pandas table), or refused.
# Seen: NaN in an Arrow table (what NumPy and polars hand over) is written as the bare word
#   NaN. write_dataset and validate_dataset find nothing wrong, and dsjframe itself reads it
#   back; a reader that keeps to JSON (orjson, JSON.parse of a browser) refuses the
#   whole file. The same numbers from a pandas table are written as null.
# Versions: dsjframe 0.9.2.
# Who meets it: those who write ADSL or ADTTE from polars, Arrow or NumPy columns with a
#   missing age or time; the receiver finds out.
# Way out: pass pandas tables, or turn NaN into null first (polars: fill_nan(None)).
set -euo pipefail
export PIP_DISABLE_PIP_VERSION_CHECK=1
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT; cd "$work"
python3 -m venv env
env/bin/pip install -q --no-compile "dsjframe==0.9.2" "pandas==2.3.3" "pyarrow==26.0.1" "numpy==2.4.6" "orjson==3.13.0"
cat > run.py <<'PY'
from importlib.metadata import version
from pathlib import Path
import dsjframe
import numpy as np
import orjson
import pandas as pd
import pyarrow as pa

print({p: version(p) for p in ("dsjframe", "pandas", "pyarrow", "orjson")})
age = np.array([61.0, np.nan])
tables = {"pandas": pd.DataFrame({"USUBJID": ["01", "02"], "AGE": age}),
          "arrow": pa.table({"USUBJID": ["01", "02"], "AGE": age})}
refused = {}
for name, table in tables.items():
    place = Path(f"{name}.json")
    dsjframe.write_dataset(table, place, metadata={"name": "ADSL", "label": "Subjects"}, json_indent=None)
    text = place.read_text()
    said = dsjframe.validate_dataset(place)
    try:
        orjson.loads(text)
        refused[name] = None
    except orjson.JSONDecodeError as error:
        refused[name] = str(error)
    print(name, "->", text[text.index('"rows"'):].strip(), "| dsjframe: valid:", said["ok"], "| orjson:", refused[name] or "read")
    assert said["ok"]
assert refused["pandas"] is None and '["02",null]' in Path("pandas.json").read_text()
assert refused["arrow"] and '["02",NaN]' in Path("arrow.json").read_text()
print("seen as described")
PY
env/bin/python run.py
