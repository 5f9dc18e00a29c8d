"""Conditions against Python's own ``and`` and ``or``."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from argosy.lang import conditions

NAMES = ["n0", "n1", "n2", "n3", "n4"]

_texts = st.recursive(
    st.sampled_from(NAMES),
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from([" && ", "&&", " || ", "||"]), inner).map("".join),
        inner.map(lambda text: f"({text})"),
    ),
    max_leaves=12,
)


@given(text=_texts, present=st.sets(st.sampled_from(NAMES)))
def test_a_condition_means_what_python_means_by_and_and_or(text: str, present: set[str]) -> None:
    python = text.replace("&&", " and ").replace("||", " or ")
    expected = eval(python, {}, {name: name in present for name in NAMES})

    assert conditions.compile(text, NAMES).evaluate(present) is bool(expected)


@given(text=_texts, present=st.sets(st.sampled_from(NAMES)))
def test_what_it_waits_for_makes_it_true_and_the_normal_form_means_the_same(text: str, present: set[str]) -> None:
    condition = conditions.compile(text, NAMES)

    assert condition.evaluate(present | set(condition.waiting_for(present)))
    assert condition.evaluate(present) is (condition.waiting_for(present) == [])
    assert conditions.compile(str(condition), NAMES).evaluate(present) is condition.evaluate(present)
