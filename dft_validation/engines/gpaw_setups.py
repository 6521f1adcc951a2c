"""The elements covered by GPAW's PBE data sets, and the number of electrons of each.

GPAW itself is never imported here: the numbers are those of gpaw-data 1.2.1 (attribute `Nv` of each
default PBE data set). They determine the number of bands and the estimated cost of a job before it starts; a
job reads the actual number from GPAW.
"""

from __future__ import annotations

# fmt: off
VALENCE_ELECTRONS: dict[str, int] = {
    "H": 1, "He": 2, "Li": 1, "Be": 2, "B": 3, "C": 4, "N": 5, "O": 6, "F": 7, "Ne": 8,
    "Na": 7, "Mg": 10, "Al": 3, "Si": 4, "P": 5, "S": 6, "Cl": 7, "Ar": 8,
    "K": 9, "Ca": 10, "Sc": 11, "Ti": 12, "V": 13, "Cr": 6, "Mn": 15, "Fe": 8, "Co": 9, "Ni": 16, "Cu": 11, "Zn": 12,
    "Ga": 3, "Ge": 4, "As": 5, "Se": 6, "Br": 7, "Kr": 8,
    "Rb": 9, "Sr": 10, "Y": 11, "Zr": 12, "Nb": 13, "Mo": 14, "Ru": 16, "Rh": 15, "Pd": 16, "Ag": 17, "Cd": 12,
    "In": 13, "Sn": 14, "Sb": 15, "Te": 6, "I": 7, "Xe": 8,
    "Cs": 9, "Ba": 10, "La": 11, "Ce": 12, "Pr": 13, "Nd": 14, "Pm": 15, "Sm": 16, "Eu": 17, "Gd": 18, "Tb": 19,
    "Dy": 20, "Ho": 21, "Er": 22, "Tm": 23, "Yb": 24, "Lu": 25, "Hf": 12, "Ta": 13, "W": 14, "Re": 13, "Os": 14,
    "Ir": 15, "Pt": 16, "Au": 11, "Hg": 18, "Tl": 13, "Pb": 14, "Bi": 15, "Rn": 8,
}
# fmt: on
