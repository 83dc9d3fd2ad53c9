"""A model, the figures that its parameters were judged by, and how to cite both, as files and as a COMBINE archive."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from html import escape
from pathlib import Path

import pandas as pd

from escape_abm.evidence.targets import targets_of
from escape_abm.exchange import sbml
from escape_abm.exchange.adam import definitions
from escape_abm.exchange.network import Network
from escape_abm.inputs.checks import InputError
from escape_abm.inputs.rows import references
from escape_abm.inputs.settings import Settings
from escape_abm.inputs.trial import MEDIANS
from escape_abm.trials.comparison import exact

COMBINE = "http://identifiers.org/combine.specifications/"
MEDIA = "http://purl.org/NET/mediatypes/"
FORMATS = {
    ".xml": f"{COMBINE}sbml.level-3.version-2",
    ".ant": f"{MEDIA}text/x-antimony",
    ".csv": f"{MEDIA}text/csv",
    ".cff": f"{MEDIA}text/yaml",
    ".rdf": f"{COMBINE}omex-metadata",
}
TARGETS = (
    "trial", "label", "endpoint", "definition", "stratum", "month", "k", "n", "estimate", "lower", "upper", "weight",
    "source", "citation", "url",
)  # fmt: skip
"""Columns of `targets.csv`."""
LONG_PAST = (1980, 1, 1, 0, 0, 0)  # so that the same model is the same archive


def targets(trials: Mapping[str, Settings]) -> pd.DataFrame:
    """The published figures that a calibration on these trials is judged by, with the columns `TARGETS`.

    `k` of `n` patients, whole where the paper gives a number of events, else the published share of `n`; empty for
    medians, of which `estimate` and its interval are given. `weight` is that in the likelihood.
    """
    said, lines = definitions(), []
    for target in targets_of(trials, ("transplanted",)):
        point = target.point
        of = references().get(point.source, {"citation": point.source, "url": ""})
        k = None if point.endpoint in MEDIANS or point.n is None else round(exact(point) * point.n, 6)
        line = point.model_dump() | {"trial": target.trial, "label": trials[target.trial].trial.label, "k": k}
        line |= {"definition": said.get(point.endpoint, ""), "weight": target.weight, "source": point.source}
        lines.append(line | {"citation": of["citation"], "url": of["url"]})
    table = pd.DataFrame(lines, columns=list(TARGETS))
    return table.astype({"n": "Int64"})


def write(network: Network, trials: Mapping[str, Settings], citation: str, into: Path) -> list[Path]:
    """Write NAME.xml (SBML), NAME.ant (Antimony), targets.csv, CITATION.cff, and NAME.omex, which holds them.

    Args:
        network: The model.
        trials: By which its parameters were judged.
        citation: Content of CITATION.cff.
        into: Folder; it is made.

    Raises:
        InputError: a library is not installed, or the place cannot be written to; nothing is written then.
    """
    model = sbml.text(sbml.document(network))
    files = {
        f"{network.id}.xml": model,
        f"{network.id}.ant": sbml.antimony(model),
        "targets.csv": targets(trials).to_csv(index=False, lineterminator="\n"),
        "CITATION.cff": citation,
    }
    packed = omex(network, files)
    try:
        into.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            (into / name).write_text(text, encoding="utf-8")
        (into / f"{network.id}.omex").write_bytes(packed)
    except OSError as error:
        raise InputError(f"--into {into}: {error.strerror}. Name a folder that can be written") from None
    return [into / name for name in (*files, f"{network.id}.omex")]


def omex(network: Network, files: Mapping[str, str]) -> bytes:
    """A COMBINE archive of texts by name, with its manifest and metadata; the SBML is what it is about."""
    inside = dict(files) | {"metadata.rdf": _metadata(network)}
    entries = [(".", f"{COMBINE}omex", ""), ("./manifest.xml", f"{COMBINE}omex-manifest", "")]
    for name in inside:
        kind = Path(name).suffix
        entries.append((f"./{name}", FORMATS[kind], ' master="true"' if kind == ".xml" else ""))
    lines = [f'  <content location="{at}" format="{form}"{master}/>' for at, form, master in entries]
    head = f'<?xml version="1.0" encoding="UTF-8"?>\n<omexManifest xmlns="{COMBINE}omex-manifest">'
    inside = {"manifest.xml": "\n".join([head, *lines, "</omexManifest>\n"])} | inside
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, text in inside.items():
            packed.writestr(zipfile.ZipInfo(name, LONG_PAST), text.encode(), zipfile.ZIP_DEFLATED)
    return out.getvalue()


def _metadata(network: Network) -> str:
    about = " ".join(network.notes)
    return f"""<?xml version="1.0" encoding="UTF-8"?>
<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#" xmlns:dcterms="http://purl.org/dc/terms/">
  <rdf:Description rdf:about=".">
    <dcterms:title>{escape(network.name)}</dcterms:title>
    <dcterms:description>{escape(about)}</dcterms:description>
    <dcterms:bibliographicCitation rdf:resource="./CITATION.cff"/>
  </rdf:Description>
</rdf:RDF>
"""
