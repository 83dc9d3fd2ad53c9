"""The answer's page is that of the tables of its figures."""

from __future__ import annotations

from docs import make_answer


def test_the_answer_is_that_of_its_figures() -> None:
    written = (make_answer.HERE / "answer.md").read_text(encoding="utf-8")
    assert written == make_answer.page(), "run python -m docs.make_answer"
