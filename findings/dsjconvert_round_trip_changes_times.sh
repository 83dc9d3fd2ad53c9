#!/usr/bin/env bash
# dsjconvert's round trip from SAS transport to Dataset-JSON and back changes datetimes from seconds to days.
#
# Guess: Dataset-JSON 1.1 holds dates and times as ISO 8601 text (with targetDataType integer
#   for ADaM), and "full XPT -> JSON -> XPT conversion cycle" gives back the variables.
# Seen: dates, datetimes and times become plain numbers of type double. A SAS datetime, seconds
#   since 1960, becomes days since 1960; a time of day becomes a fraction of a day. On the way
#   back nothing says what they were: the transport file has no format, and the numbers are
#   86,400 times smaller. A number that is missing in every row (an age that nobody gave)
#   comes back as text. No message; other readers find the JSON valid.
# Versions: dsjconvert 0.9.1 (with linkml 1.12.1, which it imports without asking for it).
# Who meets it: who converts ADTTE or ADSL with start and end as numeric dates.
# Way out: write Dataset-JSON from pyreadstat's table yourself, dates as ISO text; compare the
#   formats of both transport files (pyreadstat's original_variable_types).
set -euo pipefail
export PIP_DISABLE_PIP_VERSION_CHECK=1
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT; cd "$work"
python3 -m venv env
env/bin/pip install -q --no-compile "dsjconvert==0.9.1" "linkml==1.12.1" "pyreadstat==1.3.7" "pandas==2.3.3" "numpy==2.4.6"
cat > run.py <<'PY'
import datetime as dt
import json
import logging
from importlib.metadata import version
import numpy as np
import pandas as pd
import pyreadstat
from dsjconvert import XPTConverter
from dsjconvert.xpt_writer import write_dataset_json_to_xpt

logging.disable(logging.WARNING)
print({p: version(p) for p in ("dsjconvert", "linkml", "pyreadstat", "pandas")})
table = pd.DataFrame({
    "USUBJID": ["01", "02"],
    "STARTDT": [dt.date(2024, 1, 1), dt.date(2024, 2, 1)],
    "ADTM": pd.to_datetime(["2024-03-01 12:30:00", "2024-04-01 06:00:00"]),
    "ATM": [dt.time(12, 30), dt.time(6, 0)],
    "AVAL": [60.5, 60.25],
    "AGE": [np.nan, np.nan],
})
pyreadstat.write_xport(table, "adtte.xpt", file_format_version=5, table_name="ADTTE")
place = XPTConverter(output_format="json").convert_dataset("adtte.xpt", ".")
whole = json.load(open(place))
print("JSON types ", {c["name"]: c["dataType"] for c in whole["columns"]})
print("JSON row   ", whole["rows"][0])
write_dataset_json_to_xpt(place, "back.xpt")
numbers, formats, kinds = {}, {}, {}
for name in ("adtte.xpt", "back.xpt"):
    raw, about = pyreadstat.read_xport(name, disable_datetime_conversion=True)
    numbers[name], formats[name], kinds[name] = raw.iloc[0], about.original_variable_types, about.readstat_variable_types
    print(name, raw.iloc[0].to_dict(), formats[name])
was, now = numbers["adtte.xpt"], numbers["back.xpt"]
assert [formats["adtte.xpt"][c] for c in ("STARTDT", "ADTM", "ATM")] == ["DATE", "DATETIME", "TIME"]
assert [formats["back.xpt"][c] for c in ("STARTDT", "ADTM", "ATM")] == [None, None, None]
assert all("targetDataType" not in c for c in whole["columns"]) and isinstance(whole["rows"][0][1], int)
assert abs(was["ADTM"] / now["ADTM"] / 86400 - 1) < 1e-9 and abs(was["ATM"] / now["ATM"] / 86400 - 1) < 1e-9
assert was["STARTDT"] == now["STARTDT"] and was["AVAL"] == now["AVAL"]
assert (kinds["adtte.xpt"]["AGE"], kinds["back.xpt"]["AGE"]) == ("double", "string")
print("seen as described")
PY
env/bin/python run.py
