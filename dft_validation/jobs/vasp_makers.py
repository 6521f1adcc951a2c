"""Makers of VASP's runs with the Materials Project's sets: the same POTCARs in all of them."""

from __future__ import annotations

from typing import Any

from atomate2.vasp.flows.core import DoubleRelaxMaker, UniformBandStructureMaker
from atomate2.vasp.jobs.core import NonSCFMaker
from atomate2.vasp.jobs.mp import MPGGARelaxMaker, MPGGAStaticMaker
from pymatgen.io.vasp.sets import MPNonSCFSet, MPRelaxSet, MPStaticSet

from dft_validation.settings import DftSettings

# Twice the bands of the static run reach beyond +4 eV in all but very sparse crystals.
_NBANDS_FACTOR = 2.0


def relax_maker(settings: DftSettings) -> DoubleRelaxMaker:
    """The two relaxations of the Materials Project, with its POTCARs."""
    relaxation = MPRelaxSet(
        force_gamma=True,
        auto_metal_kpoints=True,
        inherit_incar=False,
        user_incar_settings=_incar_changes(settings),
    )
    maker = MPGGARelaxMaker(input_set_generator=relaxation)
    return DoubleRelaxMaker(relax_maker1=maker, relax_maker2=maker)


def vasp_maker(settings: DftSettings) -> UniformBandStructureMaker:
    """Static and uniform run with the Materials Project's sets, the same POTCARs in both.

    atomate2's own `NonSCFMaker` would read the charge density of the static run with other POTCARs.
    """
    incar = _incar_changes(settings)
    static = MPStaticSet(
        force_gamma=True, auto_metal_kpoints=True, inherit_incar=False, user_incar_settings={**incar, "LWAVE": False}
    )
    uniform = MPNonSCFSet(
        mode="uniform",
        force_gamma=True,
        reciprocal_density=settings.vasp_kpoint_density,
        nbands_factor=_NBANDS_FACTOR,
        user_incar_settings=incar,
    )
    return UniformBandStructureMaker(
        static_maker=MPGGAStaticMaker(input_set_generator=static),
        bs_maker=NonSCFMaker(input_set_generator=uniform),
    )


def _incar_changes(settings: DftSettings) -> dict[str, Any]:
    """Deviations from the Materials Project, which is spin-polarised and uses U."""
    changes: dict[str, Any] = {}
    if settings.spin == "unpolarised":
        changes["ISPIN"] = 1
    if settings.hubbard_u == "none":
        changes["LDAU"] = False
    return changes
