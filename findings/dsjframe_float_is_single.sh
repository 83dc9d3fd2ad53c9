#!/usr/bin/env bash
# dsjframe reads a Dataset-JSON column of data type "float" in single precision: seven digits are left.
#
# Guess: in Dataset-JSON 1.1 the types "float" and "double" are both a JSON number, and
#   "float" is the usual one (Define-XML's word for every number that is not whole). So the
#   number that is read is the number in the file, to the 15 digits of a SAS variable; R's
#   reader says of such a column that its values survive unchanged.
# Seen: the column becomes float32. A time of 450.8115026752405 days is 450.81149, 0.1 is not
#   0.1, and two SAS datetimes one second apart are the same and 31 seconds off. Written
#   again, the short numbers are in the file. validate_dataset finds nothing wrong. With
#   the type "double" the same file is read exactly.
# Versions: dsjframe 0.9.2.
# Who meets it: those who read times, dates or densities of another system and compare them
#   with what they came from, or join on them.
# Way out: change "float" to "double" in `columns` before reading, or take the numbers with a
#   JSON reader and use dsjframe to validate.
set -euo pipefail
export PIP_DISABLE_PIP_VERSION_CHECK=1
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT; cd "$work"
python3 -m venv env
env/bin/pip install -q --no-compile "dsjframe==0.9.2" "pandas==2.3.3" "pyarrow==26.0.1" "numpy==2.4.6"
cat > run.py <<'PY'
import json
from importlib.metadata import version
import dsjframe

print({p: version(p) for p in ("dsjframe", "pandas", "pyarrow")})
AVAL, FIRST, SECOND = 450.8115026752405, 2027570401.0, 2027570402.0     # days; SAS datetimes

def write(kind, place):
    columns = [{"itemOID": f"IT.{n}", "name": n, "label": n, "dataType": t}
               for n, t in (("USUBJID", "string"), ("AVAL", kind), ("ADTM", kind))]
    with open(place, "w") as file:
        json.dump({"datasetJSONCreationDateTime": "2026-01-01T00:00:00", "datasetJSONVersion": "1.1.0",
                   "itemGroupOID": "IG.ADTTE", "records": 2, "name": "ADTTE", "label": "Time to event",
                   "columns": columns, "rows": [["01", AVAL, FIRST], ["02", 0.1, SECOND]]}, file)

seen = {}
for kind in ("double", "float"):
    write(kind, f"{kind}.json")
    said = dsjframe.validate_dataset(f"{kind}.json")
    table = dsjframe.read_dataset(f"{kind}.json")
    seen[kind] = table.to_pydict()
    dsjframe.write_dataset(table, f"{kind}_again.json")
    again = json.load(open(f"{kind}_again.json"))["rows"]
    print(kind, "-> valid:", said["ok"], "| type:", table.schema.field("AVAL").type, "| AVAL:", seen[kind]["AVAL"],
          "| ADTM:", seen[kind]["ADTM"], "| written again:", again[0][1])
    assert said["ok"]
assert seen["double"]["AVAL"] == [AVAL, 0.1] and seen["double"]["ADTM"] == [FIRST, SECOND]
assert abs(seen["float"]["AVAL"][0] - AVAL) > 5e-6 and seen["float"]["AVAL"][1] != 0.1
assert seen["float"]["ADTM"][0] == seen["float"]["ADTM"][1] == FIRST + 31
assert again[0][1] == seen["float"]["AVAL"][0]
print("seen as described")
PY
env/bin/python run.py
