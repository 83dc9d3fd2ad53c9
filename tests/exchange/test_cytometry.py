"""FCS files in: each trap that other readers fall into, on files written byte by byte."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from escape_abm.exchange import cytometry
from escape_abm.exchange.gates import Gate, gate, inside
from escape_abm.inputs.checks import InputError
from tests.exchange import fcs
from tests.exchange.fcs import Detector

flowio = pytest.importorskip("flowio")


def one(place: Path, stored: float, detector: Detector, kind: str = "F") -> cytometry.Tube:
    """A file of one event, stored as it is."""
    plain = detector._replace(gain=1.0, log="0,0")
    fcs.write(place, [plain], [[stored]], kind)
    words = place.read_bytes().decode("latin-1").replace("|$P1E|0,0", f"|$P1E|{detector.log}")
    place.write_bytes(words.replace("|$P1G|1", f"|$P1G|{detector.gain:g}").encode("latin-1"))
    return cytometry.read(place)


def test_gain_and_log_scale_are_undone(tmp_path: Path) -> None:
    """PE stored as 1000 with gain 2 is 500; channel 512 of 1024 in four decades is 100."""
    tube = one(tmp_path / "gain.fcs", 1000, Detector("PE-A", gain=2))
    assert (tube.linear[0, 0], tube.stored[0, 0], tube.channels[0].gain) == (500, 1000, 2)
    for log in ("4,1", "4,0"):  # the standard reads an offset of 0 as 1
        tube = one(tmp_path / "log.fcs", 512, Detector("PE-A", log=log, top=1024), kind="I")
        assert tube.linear[0, 0] == pytest.approx(100)
        assert tube.channels[0].decades == 4


def test_a_copy_that_lost_its_gain_shows_it(tmp_path: Path) -> None:
    """What flowio itself writes says gain 1 in our tables, so that 1000 in place of 500 is seen."""
    place = fcs.write(tmp_path / "one.fcs", [Detector("PE-A", gain=2.0)], [[500.0]])
    flowio.FlowData(place).write_fcs(tmp_path / "copy.fcs")
    first, copy = cytometry.read(place), cytometry.read(tmp_path / "copy.fcs")
    assert [t.linear[0, 0] for t in (first, copy)] == [500, 1000]
    assert [t.channels[0].gain for t in (first, copy)] == [2, 1]


def test_compensation_is_by_name(tmp_path: Path) -> None:
    """Whatever the order of the matrix, a CD22-negative blast has no CD22; by position it would have."""
    known = fcs.Blasts(*(np.array([m]) for m in (20000.0, 0.0, 500.0)))
    true = (np.column_stack(known) + fcs.BACKGROUND) / fcs.PER_UNIT
    seen = fcs.light(known)
    for order in ([0, 1, 2], [2, 0, 1], [1, 2, 0]):
        names, matrix = [fcs.NAMES[i] for i in order], fcs.SPILT[np.ix_(order, order)]
        place = fcs.write(tmp_path / "x.fcs", [Detector(n) for n in fcs.NAMES], seen, spillover=(names, matrix))
        tube = cytometry.read(place)
        np.testing.assert_allclose(tube.linear, true, rtol=1e-5)
        assert tube.compensation == "by the file's matrix of 3 channels, by name"
        by_position = np.linalg.solve(matrix.T, tube.stored.T).T
        assert np.allclose(by_position, true, rtol=0.01) == (order == [0, 1, 2])
    np.testing.assert_allclose(cytometry.read(place, compensate=False).linear, seen.T, rtol=1e-5)


def test_a_matrix_that_does_nothing_is_told(tmp_path: Path) -> None:
    detectors = [Detector(n) for n in fcs.NAMES]
    place = fcs.write(tmp_path / "x.fcs", detectors, np.ones((3, 2)), spillover=(fcs.NAMES, np.eye(3)))
    tube = cytometry.read(place)
    assert (tube.compensated, tube.compensation) == ((), "none: the file's matrix of 3 channels is the identity")
    assert cytometry.read(fcs.write(place, detectors, np.ones((3, 2)))).compensation == "none: the file has no matrix"


def test_clones_of_one_marker_are_asked_for(tmp_path: Path) -> None:
    """Two clones of CD19: by `$PnS` refused with both named, by `$PnN` found."""
    detectors = [Detector("PE-A", "CD19"), Detector("APC-A", "CD19"), Detector("FITC-A", "CD22")]
    tube = cytometry.read(fcs.write(tmp_path / "x.fcs", detectors, [[1.0], [2.0], [3.0]]))
    with pytest.raises(InputError, match=r"CD19: is the name of 2 channels; say which: PE-A \(CD19\), APC-A \(CD19\)"):
        tube.channel("CD19")
    assert [tube.channel(word).column for word in ("PE-A", "APC-A", "CD22", "FITC-A")] == [0, 1, 2, 2]
    with pytest.raises(InputError, match=r"'CD20': no such channel. Did you mean 'CD22'\? Channels: PE-A \(CD19\)"):
        tube.channel("CD20")


def test_events_at_the_ends_are_counted_and_kept(tmp_path: Path) -> None:
    detector = Detector("PE-A", top=1024)
    tube = cytometry.read(fcs.write(tmp_path / "x.fcs", [detector], [[0, 0, 5, 1022, 1023, 1023]], kind="I"))
    top, bottom = tube.saturated(tube.channels[0])
    assert (len(tube.linear), top.sum(), bottom.sum()) == (6, 2, 2)


def test_gates_are_ranges() -> None:
    assert gate("SSC-A=0:40000") == Gate("SSC-A", 0, 40000)
    assert gate("CD45=:300") == Gate("CD45", -np.inf, 300)
    for word, said in (
        ("SSC-A", "must be CHANNEL=low:high"),
        ("SSC-A=:", "one bound may be left out"),
        ("SSC-A=a:b", "must be CHANNEL=low:high"),
        ("SSC-A=5:5", "low must be below high"),
    ):
        with pytest.raises(InputError, match=said):
            gate(word)


def test_an_empty_gate_says_what_there_is(tmp_path: Path) -> None:
    tube = cytometry.read(fcs.write(tmp_path / "x.fcs", [Detector("PE-A", gain=2.0)], [[1.0, 2.0, 3.0]]))
    assert inside(tube, [Gate("PE-A", 2, 3)]).tolist() == [False, True, True]
    with pytest.raises(InputError, match="PE-A=7:9 is empty: of 3 events before it the values are 1 to 3, linear"):
        inside(tube, [Gate("PE-A", 7, 9)])


TWO = [Detector("PE-A"), Detector("APC-A")]


@pytest.mark.parametrize(
    ("detectors", "matrix", "also", "said"),
    [
        (
            [Detector("PE-A", log="4,1"), TWO[1]],
            None,
            {},
            r"PE-A: \$PnE says log scale of numbers that are not integers",
        ),
        (TWO, (("PE-A", "FITC-A"), np.eye(2)), {}, "'FITC-A': no such channel"),
        (TWO, (("PE-A", "PE-A"), np.eye(2)), {}, "names PE-A twice"),
        (TWO, (("PE-A", "APC-A"), np.ones((2, 2))), {}, "cannot be solved"),
        (TWO, (("PE-A", "APC-A"), np.ones(3)), {}, "is not n, n names and n × n numbers"),
        (TWO, (("PE-A", "APC-A"), np.eye(2)), {"SPILL": "1,PE-A,1"}, r"\$SPILLOVER and SPILL differ"),
        (TWO, None, {"$P2DATATYPE": "I"}, r"\$PnDATATYPE I beside \$DATATYPE F"),
        (TWO, None, {"$NEXTDATA": "5000"}, "one data set of events"),
        (
            TWO,
            None,
            {"$BEGINSTEXT": "700", "$ENDSTEXT": "760"},
            r"supplemental text \(\$BEGINSTEXT 700\), which is not read",
        ),
    ],
)
def test_what_would_be_read_wrongly_is_refused(
    tmp_path: Path, detectors: list[Detector], matrix: tuple[tuple[str, ...], np.ndarray] | None,
    also: dict[str, str], said: str,
) -> None:  # fmt: skip
    place = fcs.write(tmp_path / "x.fcs", detectors, [[1.0], [2.0]], spillover=matrix, also=also)
    with pytest.raises(InputError, match=said):
        cytometry.read(place)


def test_a_gain_of_a_log_channel_is_refused_where_it_is_used(tmp_path: Path) -> None:
    tube = one(tmp_path / "x.fcs", 512, Detector("PE-A", gain=2, log="4,1", top=1024), kind="I")
    with pytest.raises(InputError, match="exclude each other"):
        tube.channel("PE-A")


def test_other_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "x.fcs").write_text("PE-A,APC-A\n1,2\n")
    with pytest.raises(InputError, match="is no FCS file: it must begin with FCS, not b'PE-A,A'"):
        cytometry.read(tmp_path / "x.fcs")
    whole = fcs.write(tmp_path / "y.fcs", TWO, np.ones((2, 100))).read_bytes()
    (tmp_path / "y.fcs").write_bytes(whole[:-50])
    with pytest.raises(InputError, match="cannot be read"):
        cytometry.read(tmp_path / "y.fcs")
    with pytest.raises(InputError, match="has no events"):
        cytometry.read(fcs.write(tmp_path / "z.fcs", TWO, np.ones((2, 0))))
    with pytest.raises(InputError, match="there is no such file"):
        cytometry.read(tmp_path / "none.fcs")
