from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from screening.choose.selection import drawable, rank_by_consensus, select_for_dft
from screening.classify.gapped_metals import skill_of
from screening.settings import SelectionSettings

FLAG = st.sampled_from([True, False, None])


def candidates(n, sites=2):
    return pd.DataFrame({"material_id": [f"mp-{index}" for index in range(n)], "nsites": sites})


@st.composite
def screens(draw):
    n = draw(st.integers(0, 25))
    rows = [
        (f"mp-{index}", model, draw(FLAG), draw(st.sampled_from([0.2, 0.5, 0.9])), draw(st.sampled_from([1.0, 2.0])))
        for index in range(n)
        for model in ("other", "one")
    ]
    return n, rows


@settings(max_examples=40)
@given(screens(), st.integers(0, 8), st.integers(0, 4), st.integers(0, 8), st.randoms(use_true_random=False))
def test_a_selection_keeps_its_promises(make_classifications, screen, most, others, negatives, shuffler):
    n, rows = screen
    limits = SelectionSettings(max_positives=most, n_random_positives=others, n_random_negatives=negatives)
    frame = make_classifications(*rows)
    chosen = select_for_dft(frame, candidates(n), limits)
    picks = chosen.picks
    assert picks.material_id.is_unique
    positive_ids = set(frame[frame.is_gapped_metal.fillna(value=False)].material_id)
    predicted_ids = set(frame[frame.is_gapped_metal.notna()].material_id)
    random = picks[picks.selected_as == "random_negative"]
    assert set(random.material_id) <= predicted_ids - positive_ids
    assert set(picks.material_id) - set(random.material_id) <= positive_ids
    sampled = picks[picks.selected_as == "random_positive"]
    ranked = len(picks) - len(random) - len(sampled)
    assert ranked == min(most, len(positive_ids)) == min(most, chosen.n_positives)
    assert len(sampled) == min(others, len(positive_ids) - ranked)
    assert (1 / sampled.inclusion_probability).sum() == pytest.approx(len(positive_ids) - ranked if len(sampled) else 0)
    assert len(random) == min(negatives, chosen.n_negatives)
    assert (1 / random.inclusion_probability).sum() == pytest.approx(chosen.n_negatives if len(random) else 0)
    assert chosen.n_unpredicted == n - len(predicted_ids)
    shuffler.shuffle(rows)
    again = select_for_dft(make_classifications(*rows), candidates(n).sample(frac=1, random_state=1), limits)
    pd.testing.assert_frame_equal(again.picks, picks)


def three_materials(make_classifications, **trust):
    frame = make_classifications(
        ("a", "one", True, 0.9, 1.0),
        ("b", "one", True, 0.8, 1.0),
        ("a", "other", True, 0.7, 1.0),
        ("c", "other", True, 0.6, 1.0),
        ("b", "other", False, 0.0, 1.0),
        ("c", "one", False, 0.1, 1.0),
    )
    frame["trust"] = [trust.get(f"{row.material_id}_{row.model}", "ok") for row in frame.itertuples()]
    return frame, pd.DataFrame({"material_id": ["a", "b", "c"], "nsites": 1, "chemsys": ["O-Sr", "Al-Ni", "Si"]})


LIMITS = SelectionSettings(n_random_negatives=0, n_random_positives=0)


def test_materials_are_chosen_by_their_consensus_and_named_once(make_classifications):
    frame, materials = three_materials(make_classifications)
    picks = select_for_dft(frame, materials, LIMITS).picks
    assert picks[["material_id", "selected_as", "rank"]].to_records(index=False).tolist() == [
        ("a", "positive:consensus", 1),
        ("b", "positive:consensus", 2),
        ("c", "positive:consensus", 3),
    ]
    assert picks.material_id.tolist() == rank_by_consensus(frame).material_id.tolist()


def test_a_model_counts_only_for_what_it_knows(make_classifications):
    frame, materials = three_materials(make_classifications, c_one="outside")
    assert select_for_dft(frame, materials, LIMITS).picks.material_id.tolist() == ["a", "c", "b"]
    assert rank_by_consensus(frame).consensus_confidence.tolist() == pytest.approx([0.8, 0.6, 0.4])


def test_what_no_model_knows_is_not_chosen_unless_it_is_asked_for(make_classifications):
    frame, materials = three_materials(make_classifications, a_one="outside", a_other="outside")
    chosen = select_for_dft(frame, materials, LIMITS)
    assert chosen.picks.material_id.tolist() == ["b", "c"]
    assert (chosen.n_outside, chosen.n_positives) == (1, 2)
    assert drawable(materials, LIMITS, frame) == ["b", "c"]
    assert rank_by_consensus(frame).material_id.tolist() == ["b", "c", "a"]
    asked = LIMITS.model_copy(update={"allow_outside": True})
    assert select_for_dft(frame, materials, asked).picks.material_id.tolist() == ["a", "b", "c"]


def test_what_the_engine_cannot_compute_takes_no_place(make_classifications):
    frame, materials = three_materials(make_classifications)
    one = SelectionSettings(max_positives=1, n_random_positives=0, n_random_negatives=0)
    chosen = select_for_dft(frame, materials, one, computable=[{"Al", "Ni"}, {"Si"}])
    assert chosen.picks.material_id.tolist() == ["b"]
    assert chosen.n_not_computable == 1
    assert drawable(materials, one, frame, [{"Al", "Ni"}, {"Si"}]) == ["b", "c"]
    refused = select_for_dft(frame, materials, one, refused={"a"})
    assert refused.picks.material_id.tolist() == ["b"]
    assert refused.n_positives == 3


def test_a_model_that_is_right_less_often_has_less_of_a_say(make_classifications):
    strong, weak = "tight-binding", "e3nn"
    assert skill_of(strong).average_precision > skill_of(weak).average_precision
    frame = make_classifications(
        ("a", strong, True, 0.6, 1.0),
        ("a", weak, True, 0.2, 1.0),
        ("b", strong, True, 0.2, 1.0),
        ("b", weak, True, 0.6, 1.0),
    )
    ranked = rank_by_consensus(frame)
    assert ranked.material_id.tolist() == ["a", "b"]
    shares = [skill_of(model).average_precision for model in (strong, weak)]
    assert ranked.consensus_confidence[0] == pytest.approx(np.average([0.6, 0.2], weights=shares))


def test_ties_go_to_the_wider_gap_then_by_identifier(make_classifications):
    frame = make_classifications(
        ("c", "m", True, 0.9, 1.0), ("b", "m", True, 0.9, 2.0), ("a", "m", True, 0.9, 1.0), ("d", "m", True, 1.0, 1.0)
    )
    materials = pd.DataFrame({"material_id": list("abcd"), "nsites": 1})
    assert select_for_dft(frame, materials).picks.material_id.tolist() == ["d", "b", "a", "c"]


def test_large_cells_are_left_out_before_drawing_and_counted(make_classifications):
    rows = [(f"mp-{index}", "m", index < 3, 0.5, 1.0) for index in range(10)]
    sites = [100 if index % 2 else 2 for index in range(10)]
    chosen = select_for_dft(
        make_classifications(*rows), candidates(10, sites), SelectionSettings(max_sites=8, n_random_negatives=2)
    )
    assert chosen.n_too_large == 5
    assert (chosen.n_positives, chosen.n_negatives) == (2, 3)
    assert chosen.picks.inclusion_probability.tolist() == [1.0, 1.0, pytest.approx(2 / 3), pytest.approx(2 / 3)]
    assert set(chosen.picks.material_id) <= {"mp-0", "mp-2", "mp-4", "mp-6", "mp-8"}
    everything = select_for_dft(make_classifications(*rows), candidates(10, sites), SelectionSettings(max_sites=None))
    assert everything.n_too_large == 0


def test_another_seed_draws_other_negatives(make_classifications):
    frame = make_classifications(*((f"mp-{index}", "m", False, 0.0, 1.0) for index in range(500)))
    one, other = (
        set(select_for_dft(frame, candidates(500), SelectionSettings(seed=seed)).picks.material_id) for seed in (1, 2)
    )
    assert one != other


def test_nothing_to_choose_from_is_not_an_error(make_classifications):
    picks = select_for_dft(make_classifications(), candidates(0)).picks
    assert len(picks) == 0
    assert picks["rank"].dtype == "int64"


@pytest.mark.parametrize(
    "values", [{"max_positives": -1}, {"n_random_positives": -1}, {"n_random_negatives": -2}, {"max_sites": 0}]
)
def test_negative_settings_are_refused(values):
    with pytest.raises(ValueError, match="greater than or equal"):
        SelectionSettings(**values)


def test_agreement_of_the_models_ranks_before_the_certainty_of_one(make_classifications):
    frame = make_classifications(
        ("mp-1", "other", False, 0.0, 1.0),
        ("mp-1", "one", True, 1.0, 2.0),
        ("mp-2", "other", True, 0.6, 1.0),
        ("mp-2", "one", True, 0.8, 1.0),
        ("mp-3", "other", False, 0.4, 1.0),
        ("mp-3", "one", False, 0.4, 1.0),
    )
    ranked = rank_by_consensus(frame)
    assert ranked.material_id.tolist() == ["mp-2", "mp-1"]
    assert ranked.gapped_metal_confidence.tolist() == pytest.approx([0.7, 0.5])
    assert ranked.model.tolist() == ["one", "one"]
