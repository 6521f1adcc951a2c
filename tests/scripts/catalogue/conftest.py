"""A short list of templates: the full one takes seconds to enumerate."""

import pytest
from pymatgen.util import provenance

from scripts.catalogue import candidates
from scripts.catalogue.templates import TEMPLATES

FEW = ("A_cF4_225_a", "A_cF8_227_a", "AB_cF8_225_a_b", "AB2_hP3_191_a_d", "AB3C_cP5_221_a_c_b", "A4B_tI10_139_de_a")


@pytest.fixture(scope="session")
def few_templates():
    seen = set()
    return tuple(t for t in TEMPLATES if t.prototype in FEW and not (t.prototype in seen or seen.add(t.prototype)))


@pytest.fixture(autouse=True, scope="session")
def _quick_library():
    """Load the prototypes without parsing their BibTeX entries, which takes nine tenths of the time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(provenance, "is_valid_bibtex", lambda reference: True)
        candidates.library()


@pytest.fixture(autouse=True, scope="session")
def _short_list(few_templates):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(candidates, "TEMPLATES", few_templates)
        yield
