import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from mat2spec.crystals.checks import find_problems
from mat2spec.crystals.primitive_cell import PrimitiveCell
from mat2spec.descriptors.kinds import SevenNetVersion
from mat2spec.descriptors.sevennet import site_scalars, unknown_elements
from mat2spec.descriptors.site_images import SiteImages
from screening.settings import SourceSettings
from screening.sources.opening import open_source
from tests.mat2spec.tight_binding.conftest import primitive, rock_salt, zinc_blende


def perovskite():
    sites = [[0.5] * 3, [0, 0, 0], [0.5, 0, 0], [0, 0.5, 0], [0, 0, 0.5]]
    return primitive(Structure(Lattice.cubic(3.84), ["Sr", "V", "O", "O", "O"], sites))


def chiral_pairs():
    """Pairs of atoms that only an inversion maps on each other."""
    places = np.array([[0.1, 0.2, 0.3], [0.4, 0.15, 0.25]])
    lattice = Lattice.from_parameters(5.1, 6.3, 6.9, 81, 97, 104)
    return primitive(Structure(lattice, ["Fe", "S"] * 2, [*places, *(-places)]))


def crystals_of_the_catalogue(n):
    """Symmetric crystals and others."""
    source = open_source(SourceSettings())
    table = source.properties()
    ids = np.random.default_rng(3).choice(table.material_id[table.nsites.between(2, 24)].to_numpy(), n, replace=False)
    crystals = source.crystals(ids.tolist())
    usable = [index for index, problem in enumerate(find_problems(crystals)) if problem is None]
    cells = [PrimitiveCell.of_crystal(crystals, index) for index in usable]
    return [cell for cell in cells if not unknown_elements(cell.atomic_numbers, SevenNetVersion.SEVENNET_0)]


@pytest.mark.parametrize(
    ("cell", "n_representatives"), [(rock_salt(), 2), (zinc_blende(), 2), (perovskite(), 3), (chiral_pairs(), 4)]
)
def test_only_proper_rotations_make_images(cell, n_representatives):
    images = SiteImages.of(cell)
    assert len(images.representatives) == n_representatives
    assert np.linalg.det(images.rotations) == pytest.approx(1)
    assert (cell.atomic_numbers[images.representatives[images.row]] == cell.atomic_numbers).all()
    assert images.row[images.representatives].tolist() == list(range(n_representatives))
    assert images.rotations[images.representatives] == pytest.approx(np.eye(3)[None].repeat(n_representatives, axis=0))


def test_surroundings_of_an_image_are_turned():
    cell = perovskite()
    images = SiteImages.of(cell)

    def nearest(atom):
        apart = cell.frac_coords - cell.frac_coords[atom]
        shifts = np.stack(np.meshgrid(*[[-1, 0, 1]] * 3, indexing="ij"), axis=-1).reshape(-1, 1, 3)
        vectors = ((apart + shifts) @ cell.lattice).reshape(-1, 3)
        near = vectors[np.linalg.norm(vectors, axis=1) < 3]
        return {tuple(vector) for vector in (near.round(6) + 0.0).tolist()}

    turned = [atom for atom in range(cell.n_atoms) if atom not in images.representatives]
    assert len(turned) == 2
    for atom in turned:
        vectors = np.array(sorted(nearest(images.representatives[images.row[atom]])))
        found = {tuple(vector) for vector in ((vectors @ images.rotations[atom].T).round(6) + 0.0).tolist()}
        assert found == nearest(atom)


@pytest.mark.parametrize("version", [SevenNetVersion.SEVENNET_0, SevenNetVersion.L3I5])
def test_descriptors_are_those_of_every_atom_described_for_itself(version, monkeypatch):
    few = version is SevenNetVersion.L3I5
    cells = [perovskite(), chiral_pairs(), zinc_blende(), *crystals_of_the_catalogue(0 if few else 8)]
    found = site_scalars(cells, version)
    monkeypatch.setattr(SiteImages, "of", lambda cell: SiteImages.each_its_own(cell.n_atoms))
    plain = site_scalars(cells, version)
    assert any(len(np.unique(cell.equivalent_atoms)) < cell.n_atoms for cell in cells)
    for ours, theirs in zip(found, plain, strict=True):
        assert ours == pytest.approx(theirs, abs=1e-5 * float(np.abs(theirs).max()))
