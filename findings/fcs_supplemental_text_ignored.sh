#!/usr/bin/env bash
# flowio, FlowKit, fcsparser and fcsy leave out the supplemental text of an FCS file: gain, names and matrix are gone.
#
# Guess: optional keywords ($PnS, $PnG, $SPILLOVER) may lie in the primary text or in the supplemental text that
#   $BEGINSTEXT and $ENDSTEXT name (FCS 3.0, 3.1, 3.2), so a reader finds them in either.
# Seen: the same file, once with these keywords in the primary text and once in the supplemental one. flowio, FlowKit,
#   fcsparser and fcsy say nothing of it: PE stored as 1000 with gain 2 is 500 in the first file and 1000 in the second
#   (flowio, FlowKit), stains have no names, and there is no matrix, as in a file that needs no compensation.
#   FlowCal reads both alike.
# Versions: FlowIO 1.4.0, FlowKit 1.3.2, fcsparser 0.2.8, fcsy 0.10.0; FlowCal 1.3.1 reads it.
# Who meets it: readers of files whose program puts long or optional text behind the data; densities are off by the gain
#   and by the spill, and nobody is told.
# Way out: look at $BEGINSTEXT first; if it is not 0, export the file anew, or read the keywords with FlowCal.
set -euo pipefail
export PIP_DISABLE_PIP_VERSION_CHECK=1
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT; cd "$work"
python3 -m venv env
env/bin/pip install -q --no-compile "FlowIO==1.4.0" "FlowKit==1.3.2" "FlowCal==1.3.1" "fcsy==0.10.0" "numpy==2.4.6" "pandas==2.3.3"
env/bin/pip install -q --no-compile --no-deps "fcsparser==0.2.8"  # which asks for an older numpy, and works with this one
cat > run.py <<'PY'
import warnings
from importlib.metadata import version
from pathlib import Path

import numpy as np

OPTIONAL = {"$P1G": "2.0", "$P1S": "CD19", "$P2S": "CD22", "$SPILLOVER": "2,PE-A,APC-A,1,0.25,0,1"}
DATA = np.array([[1000, 250], [10, 20]], "<f4").tobytes()


def write(name, primary, supplement):
    words = {"$BEGINANALYSIS": 0, "$ENDANALYSIS": 0, "$BYTEORD": "1,2,3,4", "$DATATYPE": "F", "$MODE": "L",
             "$NEXTDATA": 0, "$PAR": 2, "$TOT": 2}
    for i, channel in enumerate(("PE-A", "APC-A"), 1):
        words |= {f"$P{i}N": channel, f"$P{i}B": 32, f"$P{i}E": "0,0", f"$P{i}R": 262144}
    segment = lambda w: ("|" + "|".join(f"{k}|{v}" for k, v in w.items()) + "|").encode()
    extra = segment(supplement) if supplement else b""

    def text(start):
        end = start + len(DATA) - 1
        places = (start, end, end + 1, end + len(extra)) if extra else (start, end, 0, 0)
        keys = ("$BEGINDATA", "$ENDDATA", "$BEGINSTEXT", "$ENDSTEXT")
        return segment(words | primary | {k: f"{p:010d}" for k, p in zip(keys, places)})

    start = 58 + len(text(0))
    offsets = (58, start - 1, start, start + len(DATA) - 1, 0, 0)
    head = b"FCS3.1    " + "".join(f"{n:8d}" for n in offsets).encode()
    Path(name).write_bytes(head + text(start) + DATA + extra)
    return name


warnings.simplefilter("error", UserWarning)  # a reader that says something would stop here
import FlowCal
import fcsparser
import fcsy
import flowio
import flowkit

print({p: version(p) for p in ("FlowIO", "FlowKit", "fcsparser", "fcsy", "FlowCal")})
primary, supplement = write("primary.fcs", OPTIONAL, {}), write("supplement.fcs", {}, OPTIONAL)


def seen(place):
    flow = flowio.FlowData(place)
    sample = flowkit.Sample(place, sample_id="x")
    meta, table = fcsparser.parse(place)
    return {
        "flowio": (float(flow.as_array()[0, 0]), flow.pns_labels[0], "spillover" in flow.text),
        "FlowKit": (float(sample.get_events("raw")[0, 0]), sample.pns_labels[0], "spillover" in sample.get_metadata()),
        "fcsparser": (float(table.iloc[0, 0]), meta.get("$P1S", ""), "$SPILLOVER" in meta),
        "fcsy": (float(fcsy.read_fcs(place).iloc[0, 0]), fcsy.read_fcs(place, name_type="long").columns[0], None),
    }


first, second = seen(primary), seen(supplement)
cal = [FlowCal.io.FCSData(place) for place in (primary, supplement)]
for name in first:
    print(f"{name:10} (PE, stain, matrix there)  primary {first[name]}  supplemental {second[name]}")
print("FlowCal   ", [(c.amplifier_gain("PE-A"), c.text.get("$P1S"), "$SPILLOVER" in c.text) for c in cal])
assert first["flowio"] == first["FlowKit"] == (500.0, "CD19", True)
assert second["flowio"] == second["FlowKit"] == (1000.0, "", False)
assert first["fcsparser"][1:] == ("CD19", True) and second["fcsparser"][1:] == ("", False)
assert first["fcsy"][1] == "CD19" and second["fcsy"][1] != "CD19"
assert [c.amplifier_gain("PE-A") for c in cal] == [2, 2]
print("seen as described")
PY
env/bin/python run.py
