"""Candidates: prototypes, substitutions, identifiers."""

import pytest
from pydantic import ValidationError
from pymatgen.core import Composition

from scripts.catalogue.candidates import (
    charge_balanced,
    library,
    substitution_candidates,
    substitutions,
    template_prototype,
)
from scripts.catalogue.settings import CatalogueSettings
from scripts.catalogue.templates import REQUIRED, TEMPLATES, Template


@pytest.fixture(scope="module")
def few():
    return substitution_candidates(CatalogueSettings(sampling_fraction=0.01))


def test_the_library_holds_288_compounds():
    assert len(library()) == 288


def test_the_choice_is_deterministic_and_identifiers_are_unique(few):
    candidates, prototypes = few
    again, _ = substitution_candidates(CatalogueSettings(sampling_fraction=0.01))
    assert candidates == again
    assert len({c.material_id for c in candidates}) == len(candidates)
    assert {c.prototype for c in candidates} == set(prototypes)


def test_a_larger_quota_keeps_what_a_smaller_one_chose():
    template = next(t for t in TEMPLATES if t.prototype == "AB_hP4_194_c_a")
    small = set(substitutions(template, CatalogueSettings(sampling_fraction=0.1)))
    assert small < set(substitutions(template, CatalogueSettings(sampling_fraction=0.5)))


def test_required_crystals_are_taken_whatever_the_sample(few):
    chosen = {(c.prototype.split("-")[0], c.elements) for c in few[0]}
    assert set(REQUIRED) <= chosen


def test_interchangeable_species_are_taken_in_one_order():
    template = Template("AB_cP2_221_b_a", {"Cs": ("Al", "Ni"), "Cl": ("Al", "Ni")}, 10, interchangeable=True)
    assert list(substitutions(template, CatalogueSettings())) == [("Al", "Ni")]


def test_an_orbit_can_be_split_off_its_species():
    template = next(t for t in TEMPLATES if "Al1" in t.pools)
    prototype = template_prototype(template)
    assert prototype.species == ("Ba", "Al1", "Al2")
    assert sorted(prototype.cell.slots) == [0, 1, 1, 2, 2]


def test_an_unknown_prototype_is_named_in_a_sentence():
    with pytest.raises(ValueError, match="has no AB_xx of Na"):
        template_prototype(Template("AB_xx", {"Na": ("K",)}, 1))


@pytest.mark.parametrize(
    ("formula", "expected"),
    [("NaCl", True), ("KTaO3", True), ("SrTiO3", True), ("KTiO3", False), ("NaCl2", False), ("Al", True)],
)
def test_charge_balance_follows_common_oxidation_states(formula, expected):
    assert charge_balanced(Composition(formula)) is expected


def test_settings_refuse_unknown_keys_and_describe_every_field():
    with pytest.raises(ValidationError):
        CatalogueSettings(unknown=1)
    assert all(field.description for field in CatalogueSettings.model_fields.values())


def test_only_fields_that_change_a_relaxation_change_its_fingerprint():
    base = CatalogueSettings()
    assert CatalogueSettings(max_polymorphs=1).relaxation_fingerprint() == base.relaxation_fingerprint()
    assert CatalogueSettings(max_steps=5).relaxation_fingerprint() != base.relaxation_fingerprint()
