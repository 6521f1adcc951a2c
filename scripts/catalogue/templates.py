"""Which elements may sit on which sites of which prototype.

A template names a prototype of pymatgen's AFLOW library by its label, says which pool of elements replaces
each of its species, and how many of the combinations to take. Where one species of the prototype occupies
several orbits of sites that should differ (ThCr2Si2 from BaAl4), the orbits are numbered: Al1, Al2.
"""

from __future__ import annotations

from dataclasses import dataclass

ALKALI = ("Li", "Na", "K", "Rb", "Cs")
ALKALINE_EARTH = ("Be", "Mg", "Ca", "Sr", "Ba")
RARE_EARTH = ("Sc", "Y", "La", "Ce", "Lu")
EARLY_TRANSITION = ("Ti", "Zr", "Hf", "V", "Nb", "Ta", "Cr", "Mo", "W", "Mn", "Re")
LATE_TRANSITION = ("Fe", "Ru", "Os", "Co", "Rh", "Ir", "Ni", "Pd", "Pt", "Cu", "Ag", "Au", "Zn", "Cd", "Hg")
POST_TRANSITION = ("Al", "Ga", "In", "Tl", "Sn", "Pb", "Bi")
METALLOIDS = ("B", "Si", "Ge", "As", "Sb", "Te")
HALOGENS = ("F", "Cl", "Br", "I")
CHALCOGENS = ("O", "S", "Se", "Te")
PNICTOGENS = ("N", "P", "As", "Sb")

TRANSITION = EARLY_TRANSITION + LATE_TRANSITION
METALS = ALKALI + ALKALINE_EARTH + RARE_EARTH + TRANSITION + POST_TRANSITION
ANIONS = (*HALOGENS, *CHALCOGENS, *PNICTOGENS, "C", "H", "B", "Si", "Ge")
LARGE_CATIONS = (*ALKALI, "Mg", "Ca", "Sr", "Ba", *RARE_EARTH, "Tl", "In", "Sn", "Pb", "Bi", "Ag", "Cd", "Hg")
SMALL_CATIONS = ("Li", "Na", "Mg", "Be", *RARE_EARTH, *TRANSITION, "Al", "Ga", "In", "Ge", "Sn", "Pb", "Sb", "Bi")
OCTAHEDRAL_CATIONS = (*SMALL_CATIONS, "Te", "I")
FRAMEWORK = ("B", "C", "Si", "Ge", "Sn", "N", "P", "As", "Sb", "Al", "Ga", "In", "Pb", "Bi")
HARD_ANIONS = ("O", "F", "N", "S", "Se", "Cl", "Br", "I", "H", "C")
ALL_ELEMENTS = tuple(sorted({*METALS, *ANIONS, *METALLOIDS}))
REFERENCE_ELEMENTS = (*(e for e in ALL_ELEMENTS if e != "H"), "Ho", "Sm", "Th", "U", "Np", "Pu", "Pa", "Po", "Pr")
"""With the elements that occur in known compounds only; hydrogen is a molecule."""
MOLECULAR = ("H", "N", "O", "F", "P", "S", "Cl", "As", "Se", "Br", "Te", "I")


@dataclass(frozen=True)
class Template:
    """A prototype with element pools.

    Attributes
    ----------
    prototype
        AFLOW label.
    pools
        Elements allowed in place of each species of the prototype.
    quota
        Number of combinations to take.
    interchangeable
        True when exchanging the two species gives the same crystal, so that only one order is taken.
    """

    prototype: str
    pools: dict[str, tuple[str, ...]]
    quota: int
    interchangeable: bool = False


TEMPLATES: tuple[Template, ...] = (
    # elements: the reference states of the hull, and simple metals
    Template("A_cF4_225_a", {"Cu": REFERENCE_ELEMENTS}, 100),
    Template("A_cI2_229_a", {"W": REFERENCE_ELEMENTS}, 100),
    Template("A_hP2_194_c", {"Mg": REFERENCE_ELEMENTS}, 100),
    Template("A_hP4_194_ac", {"La": REFERENCE_ELEMENTS}, 100),
    Template("A_cF8_227_a", {"C": REFERENCE_ELEMENTS}, 100),
    Template("A_cP1_221_a", {"Po": REFERENCE_ELEMENTS}, 100),
    Template("A_tI4_141_a", {"Sn": REFERENCE_ELEMENTS}, 100),
    Template("A_hR2_166_c", {"As": REFERENCE_ELEMENTS}, 100),
    Template("A_hR1_166_a", {"Hg": REFERENCE_ELEMENTS}, 100),
    Template("A_tI2_139_a", {"In": REFERENCE_ELEMENTS}, 100),
    Template("A_hR3_166_ac", {"Sm": REFERENCE_ELEMENTS}, 100),
    Template("A_oC8_64_f", {"Ga": REFERENCE_ELEMENTS}, 100),
    Template("A_oC8_64_f", {"I": MOLECULAR}, 100),
    Template("A_oC8_64_f", {"P": MOLECULAR}, 100),
    Template("A_hP3_152_a", {"Se": MOLECULAR}, 100),
    Template("A_mC4_12_i", {"O": MOLECULAR}, 100),
    Template("A_hR2_166_c", {"O": MOLECULAR}, 100),
    Template("A_tP4_136_f", {"N": MOLECULAR}, 100),
    Template("A_cP8_205_c", {"N": MOLECULAR}, 100),
    Template("A_hP4_194_bc", {"C": ("B", "C", "N", "Si")}, 100),
    # AB
    Template("AB_cF8_225_a_b", {"Na": METALS, "Cl": ANIONS}, 1200),
    Template("AB_cF8_216_c_a", {"Zn": (*METALS, "B", "Si"), "S": ANIONS}, 600),
    Template("AB_hP4_186_b_b", {"Zn": METALS, "S": ANIONS}, 500),
    Template("AB_cP2_221_b_a", {"Cs": METALS, "Cl": ANIONS}, 700),
    Template("AB_cP2_221_b_a", {"Cs": METALS, "Cl": METALS}, 1400, interchangeable=True),
    Template("AB_hP4_194_c_a", {"Ni": METALS, "As": ANIONS}, 800),
    Template("AB_hP2_187_d_a", {"W": METALS, "C": ANIONS}, 700),
    Template("AB_tP4_129_a_c", {"Pb": METALS, "O": ANIONS}, 600),
    Template("AB_tP4_131_c_e", {"Pt": METALS, "S": ANIONS}, 400),
    Template("AB_tP2_123_a_d", {"Cu": METALS, "Au": METALS}, 1200, interchangeable=True),
    Template("AB_cP6_221_c_d", {"Nb": METALS, "O": ANIONS}, 300),
    Template("AB_oC8_63_c_c", {"Cr": METALS, "B": (*ANIONS, *POST_TRANSITION)}, 300),
    Template("AB_oP4_51_e_f", {"Cd": METALS, "Au": METALS}, 200),
    Template("AB_tI8_141_a_b", {"Nb": METALS, "P": ANIONS}, 400),
    Template("AB_cP8_198_a_a", {"Fe": METALS, "Si": FRAMEWORK}, 400),
    Template("AB_oP8_62_c_c", {"Mn": METALS, "P": ANIONS}, 150),
    Template("AB_cF16_227_a_b", {"Na": METALS, "Tl": (*METALS, "Si", "Ge")}, 400),
    # AB2
    Template("AB2_cF12_225_a_c", {"Ca": METALS, "F": ANIONS}, 800),
    Template("AB2_cF12_225_a_c", {"Ca": (*ANIONS, *POST_TRANSITION), "F": METALS}, 800),
    Template("AB2_hP3_191_a_d", {"Al": METALS, "B": (*ANIONS, *METALS)}, 1000),
    Template("AB2_hP3_164_a_d", {"Cd": METALS, "I": ANIONS}, 600),
    Template("AB2_hP3_164_a_d", {"Cd": ANIONS, "I": METALS}, 200),
    Template("AB2_hP6_194_c_f", {"Mo": METALS, "S": ANIONS}, 450),
    Template("AB2_tI6_139_a_e", {"Mo": METALS, "Si": (*ANIONS, *METALS)}, 900),
    Template("A2B_tP6_136_f_a", {"Ti": METALS, "O": ANIONS}, 500),
    Template("A2B_cF24_227_d_a", {"Mg": METALS, "Cu": METALS}, 900),
    Template("A2B_cP6_224_b_a", {"Cu": METALS, "O": ANIONS}, 250),
    Template("AB2_hP6_194_c_ad", {"In": (*FRAMEWORK, "Tl"), "Ni": METALS}, 500),
    Template("A2B_tP6_129_ac_c", {"Cu": METALS, "Sb": (*ANIONS, *POST_TRANSITION)}, 300),
    Template("AB2_oI6_71_a_g", {"Mo": METALS, "Pt": METALS}, 100),
    Template("AB2_hP6_194_b_f", {"Ca": METALS, "In": FRAMEWORK}, 150),
    Template("A2B_tI12_140_h_a", {"Al": (*METALS, "B", "Si", "Ge"), "Cu": METALS}, 200),
    Template("AB2_cP12_205_a_c", {"Fe": METALS, "S": ANIONS}, 250),
    Template("A2B_oC12_63_2c_c", {"Zr": METALS, "Si": FRAMEWORK}, 100),
    # AB3, AB5, AB6, A2B3
    Template("AB3_cP4_221_a_c", {"Au": (*METALS, *ANIONS), "Cu": METALS}, 1500),
    Template("AB3_cF16_225_a_bc", {"Bi": METALS, "F": ANIONS}, 500),
    Template("AB3_cF16_225_a_bc", {"Bi": (*ANIONS, *METALS), "F": METALS}, 600),
    Template("A3B_cP4_221_d_a", {"Re": METALS, "O": ANIONS}, 600),
    Template("A3B_cP4_221_d_a", {"Re": ANIONS, "O": METALS}, 400),
    Template("A3B_hP4_191_bc_a", {"Li": METALS, "N": ANIONS}, 300),
    Template("AB3_hP8_194_c_bf", {"Na": METALS, "As": (*ANIONS, "Bi")}, 250),
    Template("A3B_tI8_139_bd_a", {"Ti": METALS, "Al": METALS}, 500),
    Template("A3B_hP8_194_h_c", {"Ni": METALS, "Sn": METALS}, 250),
    Template("A3B_cP8_223_c_a", {"Cr": METALS, "Si": (*ANIONS, *METALS)}, 800),
    Template("AB3_hR8_148_c_f", {"Bi": METALS, "I": (*HALOGENS, *CHALCOGENS, "H")}, 200),
    Template("AB5_hP6_191_a_cg", {"Ca": LARGE_CATIONS, "Cu": METALS}, 350),
    Template("A6B_cP7_221_f_a", {"Ca": LARGE_CATIONS, "B": ("B", "C", "Si")}, 60),
    Template("A3B2_hP5_164_ad_d", {"Al": ANIONS, "Ni": METALS}, 200),
    Template("A3B2_hP5_164_ad_d", {"Al": METALS, "Ni": METALS}, 100),
    Template("A2B3_hR5_166_c_ac", {"Bi": METALS, "Te": ANIONS}, 200),
    # three and four elements
    Template("ABC_cF12_216_b_c_a", {"Mg": METALS, "Ag": METALS, "As": (*ANIONS, *POST_TRANSITION)}, 2500),
    Template("AB2C_cF16_225_a_c_b", {"Cu": METALS, "Mn": METALS, "Al": (*METALS, *ANIONS)}, 2500),
    Template("AB3C_cP5_221_a_c_b", {"Ca": LARGE_CATIONS, "Ti": OCTAHEDRAL_CATIONS, "O": HARD_ANIONS}, 6500),
    Template(
        "AB3C_cP5_221_a_c_b",
        {
            "Ca": (*POST_TRANSITION, *ANIONS, "Zn", "Cd", "Pt", "Pd", "Au", "Ag"),
            "Ti": ("C", "N", "O", "B", "H", "S"),
            "O": METALS,
        },
        2000,
    ),
    Template("ABC2_hR4_166_a_b_c", {"Na": LARGE_CATIONS, "Cr": OCTAHEDRAL_CATIONS, "S": ANIONS}, 1500),
    Template("ABC_hP3_187_a_d_f", {"Ba": METALS, "Sb": FRAMEWORK, "Pt": METALS}, 350),
    Template("ABC2_tP4_123_d_a_f", {"Ca": LARGE_CATIONS, "Cu": METALS, "O": ANIONS}, 800),
    Template("ABC_hP6_194_c_d_a", {"Li": METALS, "B": METALS, "C": FRAMEWORK}, 350),
    Template("ABC_tP6_129_c_a_c", {"Pb": METALS, "Cl": ANIONS, "F": ANIONS}, 700),
    Template("AB2C4_tI14_139_a_e_ce", {"La": LARGE_CATIONS, "Cu": OCTAHEDRAL_CATIONS, "O": HARD_ANIONS}, 600),
    Template("A4B_tI10_139_de_a", {"Ba": LARGE_CATIONS, "Al1": METALS, "Al2": ANIONS}, 1200),
    Template("ABCD_tP8_129_c_b_a_c", {"Zr": LARGE_CATIONS, "Cu": TRANSITION, "Si": HARD_ANIONS, "As": ANIONS}, 600),
    Template("ABC2_tI16_122_a_b_d", {"Cu": METALS, "Fe": METALS, "S": ANIONS}, 250),
    Template("A3B4C_cP8_215_d_e_a", {"V": METALS, "Cu": METALS, "S": (*CHALCOGENS, *HALOGENS, "N")}, 250),
    Template(
        "ABC2_hP8_194_d_a_f",
        {"Al": (*POST_TRANSITION, "Si", "Ge", "P", "S", "As"), "Cr": TRANSITION, "C": ("C", "N", "B")},
        300,
    ),
    Template("A2BC_oC8_38_e_a_b", {"Ce": LARGE_CATIONS, "Ni": LATE_TRANSITION, "C": ("C", "B", "N")}, 120),
    Template("AB5C_tP7_123_b_ci_a", {"Ho": LARGE_CATIONS, "Co": LATE_TRANSITION, "Ga": POST_TRANSITION}, 150),
)

REQUIRED: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("AB3C_cP5_221_a_c_b", ("Sr", "V", "O")),
    ("AB3C_cP5_221_a_c_b", ("K", "Ta", "O")),
    ("AB3C_cP5_221_a_c_b", ("La", "Ni", "O")),
    ("AB_cF8_225_a_b", ("Na", "Cl")),
    ("AB2_hP3_191_a_d", ("Mg", "B")),
    ("A_cF8_227_a", ("Si",)),
    ("A_cF4_225_a", ("Al",)),
    ("A_cF4_225_a", ("Cu",)),
)
"""Crystals that are always taken: prototype, and elements in the order of the template's pools."""
