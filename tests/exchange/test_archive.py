"""The published figures as a table, and the COMBINE archive."""

from __future__ import annotations

import io
import xml.etree.ElementTree as ET
import zipfile

import numpy as np
import pandas as pd
import pytest

from escape_abm.exchange import archive
from escape_abm.exchange.network import Network
from escape_abm.inputs.settings import Settings
from escape_abm.interface.composition import compose


@pytest.fixture(scope="module")
def trials() -> dict[str, Settings]:
    return {name: compose([f"trial={name}"], "published") for name in ("eliana", "tisagenlecleucel_kinetics")}


def test_targets_say_who_published_what(trials: dict[str, Settings]) -> None:
    table = pd.read_csv(io.StringIO(archive.targets(trials).to_csv(index=False)))
    assert tuple(table.columns) == archive.TARGETS
    assert set(table["trial"]) == set(trials)
    judged = [p for t in trials.values() for p in t.trial.published if not p.not_compared]
    assert len(table) == len([p for p in judged if p.endpoint != "transplanted"])
    share = table[~table["endpoint"].str.startswith("median_") & table["n"].notna()]
    np.testing.assert_allclose(share["k"] / share["n"], share["estimate"], atol=0.006)
    events = [float(p.events) for p in judged if p.events is not None and p.endpoint != "transplanted"]
    assert events
    assert set(events) <= set(share["k"])
    assert table["citation"].notna().all()
    said = table[table["endpoint"] == "event_free_survival"]["definition"]
    assert (said.str.contains("no CR")).all()


def test_the_archive_names_all_it_holds() -> None:
    files = {
        "model.xml": "<sbml/>",
        "model.ant": "model m\nend",
        "targets.csv": "trial\n",
        "CITATION.cff": "title: x\n",
    }
    net = Network("model", "A < B & C", ["It is & it < all."])
    packed = archive.omex(net, files)
    assert packed == archive.omex(net, files)
    with zipfile.ZipFile(io.BytesIO(packed)) as inside:
        assert set(inside.namelist()) == {*files, "manifest.xml", "metadata.rdf"}
        manifest = ET.fromstring(inside.read("manifest.xml"))
        named = {entry.attrib["location"]: entry.attrib for entry in manifest}
        assert set(named) == {".", *(f"./{name}" for name in inside.namelist())}
        assert [at for at, entry in named.items() if entry.get("master") == "true"] == ["./model.xml"]
        assert named["./model.xml"]["format"].endswith("sbml.level-3.version-2")
        assert "A < B & C" in "".join(ET.fromstring(inside.read("metadata.rdf")).itertext())
        assert inside.read("CITATION.cff").decode() == files["CITATION.cff"]
