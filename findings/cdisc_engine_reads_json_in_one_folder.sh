#!/usr/bin/env bash
# cdisc-rules-engine from PyPI: a valid Dataset-JSON file "could not be read", unless one stands in site-packages.
#
# Guess: the engine reads Dataset-JSON 1.1 as it reads transport files of version 5; its
#   package carries the schema for it (resources/schema/dataset.schema.json).
# Seen: the schema is looked for in the folder that the user stands in. From anywhere else the
#   same file, valid by that schema, ends in InvalidDatasetFormat, "Your data file could not
#   be read", which blames the file; the missing schema is only in the chain of causes.
#   Transport files are read from everywhere.
# Versions: cdisc-rules-engine 0.17.1 (Python 3.12).
# Who meets it: who checks Dataset-JSON, the format meant to follow XPT, in a pipeline built on
#   the package, as its own page describes.
# Way out: change to the folder that holds `resources` (site-packages), or check the XPT files.
set -euo pipefail
export PIP_DISABLE_PIP_VERSION_CHECK=1
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT; cd "$work"
python3.12 -m venv env
env/bin/pip install -q --no-compile "cdisc-rules-engine==0.17.1" "pandas==3.1.1" "pyreadstat==1.3.7" "jsonschema==4.26.0"
cat > run.py <<'PY'
import json
import logging
import os
import sysconfig
from importlib.metadata import version
from pathlib import Path
import jsonschema
import pandas as pd
import pyreadstat
from cdisc_rules_engine.config import config
from cdisc_rules_engine.models.library_metadata_container import LibraryMetadataContainer
from cdisc_rules_engine.rules_engine import RulesEngine
from cdisc_rules_engine.services.cache import InMemoryCacheService

logging.disable(logging.CRITICAL)
print({p: version(p) for p in ("cdisc-rules-engine", "pandas", "pyreadstat", "jsonschema")})
rows = pd.DataFrame({"STUDYID": ["ABC"], "USUBJID": ["ABC-01"], "AGE": [9.0]})
pyreadstat.write_xport(rows, "adsl.xpt", "Subject-Level Analysis Dataset", table_name="ADSL", file_format_version=5)
kinds = {"STUDYID": "string", "USUBJID": "string", "AGE": "double"}
columns = [{"itemOID": f"IT.ADSL.{n}", "name": n, "label": n, "dataType": kinds[n]} for n in rows]
Path("adsl.json").write_text(json.dumps({
    "datasetJSONCreationDateTime": "2026-01-01T00:00:00", "datasetJSONVersion": "1.1.0", "itemGroupOID": "IG.ADSL",
    "records": 1, "name": "ADSL", "label": "Subject-Level Analysis Dataset", "columns": columns,
    "rows": rows.to_numpy(dtype=object).tolist(),
}))
installed = Path(sysconfig.get_path("purelib"))
schema = json.loads((installed / "resources/schema/dataset.schema.json").read_text())
jsonschema.validate(json.loads(Path("adsl.json").read_text()), schema)
print("adsl.json is valid by the schema that the package carries")

def read(name):
    try:
        engine = RulesEngine(
            cache=InMemoryCacheService(), config_obj=config, standard="adamig", standard_version="1-3",
            library_metadata=LibraryMetadataContainer(), max_dataset_size=10**6, dataset_paths=[str(work / name)],
        )
        return [d.name for d in engine.data_service.get_datasets()], ""
    except Exception as problem:
        return f"{type(problem).__name__}: {problem}", str(problem.__cause__)

work = Path.cwd()
seen = {("work", name): read(name) for name in ("adsl.xpt", "adsl.json")}
os.chdir(installed)
seen["site-packages", "adsl.json"] = read("adsl.json")
for (place, name), (said, cause) in seen.items():
    print(f"in {place:<14} {name:<10} {str(said).replace(str(work), '.')}")
assert seen["work", "adsl.xpt"][0] == ["ADSL"] == seen["site-packages", "adsl.json"][0]
assert "could not be read" in seen["work", "adsl.json"][0]
assert "resources/schema/dataset.schema.json" in seen["work", "adsl.json"][1]
print("seen as described")
PY
env/bin/python run.py
