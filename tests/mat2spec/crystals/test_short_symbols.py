"""Symbols of space groups are those that databases write."""

from pymatgen.symmetry.groups import sg_symbol_from_int_number

from mat2spec.crystals.space_groups import short_symbol

MONOCLINIC = ["P2", "P2_1", "C2", "Pm", "Pc", "Cm", "Cc", "P2/m", "P2_1/m", "C2/m", "P2/c", "P2_1/c", "C2/c"]


def test_monoclinic_groups_have_short_symbols_and_all_others_those_of_pymatgen():
    assert [short_symbol(number) for number in range(3, 16)] == MONOCLINIC
    others = [*range(1, 3), *range(16, 231)]
    assert [short_symbol(number) for number in others] == [sg_symbol_from_int_number(number) for number in others]
