#!/usr/bin/env bash
# Readers take a file of FCS 3.2 with $PnDATATYPE as if all channels had one type, and give wrong numbers without a word.
#
# Guess: a reader of FCS 3.1 refuses a file whose header says FCS3.2, or follows $PnDATATYPE, with which version 3.2
#   gives a channel another type than $DATATYPE.
# Seen: PE as float, APC as 32-bit integer 250 and 20 ($P2DATATYPE I). FlowIO, FlowKit, fcsparser, fcsy and FlowCal open
#   the file and read the integers as floats: APC is 3.5e-43 and 2.8e-44, an antigen-negative population. No error, no
#   warning: both types have 32 bits, so the sizes agree.
# Versions: FlowIO 1.4.0, FlowKit 1.3.2, fcsparser 0.2.8, fcsy 0.10.0, FlowCal 1.3.1.
# Who meets it: users of instruments that write version 3.2; a column of zeros looks like a marker that is not there.
# Way out: look for $PnDATATYPE in the text, and export such a file as FCS 3.1.
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

import FlowCal
import fcsparser
import fcsy
import flowio
import flowkit
import numpy as np

print({p: version(p) for p in ("FlowIO", "FlowKit", "fcsparser", "fcsy", "FlowCal")})
events = np.array([(1000, 250), (10, 20)], dtype=[("PE-A", "<f4"), ("APC-A", "<u4")]).tobytes()
words = {"$BEGINANALYSIS": 0, "$ENDANALYSIS": 0, "$BEGINSTEXT": 0, "$ENDSTEXT": 0, "$BYTEORD": "1,2,3,4",
         "$CYT": "simulated", "$DATATYPE": "F", "$MODE": "L", "$NEXTDATA": 0, "$PAR": 2, "$TOT": 2}
for i, channel in enumerate(("PE-A", "APC-A"), 1):
    words |= {f"$P{i}N": channel, f"$P{i}B": 32, f"$P{i}E": "0,0", f"$P{i}R": 262144}
words["$P2DATATYPE"] = "I"


def text(start):
    all_words = words | {"$BEGINDATA": f"{start:010d}", "$ENDDATA": f"{start + len(events) - 1:010d}"}
    return ("|" + "|".join(f"{k}|{v}" for k, v in all_words.items()) + "|").encode()


start = 58 + len(text(0))
offsets = (58, start - 1, start, start + len(events) - 1, 0, 0)
Path("x.fcs").write_bytes(b"FCS3.2    " + "".join(f"{n:8d}" for n in offsets).encode() + text(start) + events)

readers = {
    "FlowIO": lambda: flowio.FlowData("x.fcs").as_array(),
    "FlowKit": lambda: flowkit.Sample("x.fcs").get_events("raw"),
    "fcsparser": lambda: fcsparser.parse("x.fcs")[1].to_numpy(),
    "fcsy": lambda: fcsy.read_fcs("x.fcs").to_numpy(),
    "FlowCal": lambda: np.asarray(FlowCal.io.FCSData("x.fcs")),
}
with warnings.catch_warnings():
    warnings.simplefilter("error", UserWarning)  # a reader that says something would stop here
    for name, read in readers.items():
        table = np.asarray(read(), dtype=float)
        print(f"{name:10} PE {table[:, 0]}  APC {table[:, 1]}  (true: 1000, 10 and 250, 20)")
        assert (table[:, 0] == [1000, 10]).all() and (table[:, 1] < 1e-40).all()
print("seen as described")
PY
env/bin/python run.py
