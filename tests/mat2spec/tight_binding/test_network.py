from dataclasses import replace

import numpy as np
import pytest
import torch

from mat2spec.spectra.grids import EDOS_GRID
from mat2spec.tight_binding.network import CorrectionNetwork, SiteInputs, average_equivalent, hamiltonian_corrections
from mat2spec.tight_binding.problem import PreparationSettings, prepare
from tests.mat2spec.tight_binding.conftest import rock_salt, solid

COARSE = PreparationSettings(kpoints_per_atom=30)


@pytest.fixture
def site_inputs():
    return SiteInputs(4)


def features(cell):
    generator = torch.Generator().manual_seed(int(cell.atomic_numbers.sum()))
    return torch.randn(cell.n_atoms, 4, generator=generator)


def answer(network, site_inputs, cell, *, spin=False):
    inputs = site_inputs(features(cell), torch.from_numpy(cell.atomic_numbers))
    return network(prepare(cell, replace(COARSE, spin=spin)), inputs, EDOS_GRID)


def test_an_untrained_network_changes_nothing(site_inputs):
    network = CorrectionNetwork(site_inputs.width, EDOS_GRID.size).eval()
    result = answer(network, site_inputs, rock_salt())
    assert result.filling.gap_ev == pytest.approx(6.2, abs=0.3)
    assert float(result.spectra.min()) >= 0
    # Six p electrons of chlorine in the window; the floor of the logarithm adds a little everywhere.
    below = result.spectra[:, EDOS_GRID.centers < 0.8].sum() * EDOS_GRID.width
    assert float(below.detach()) == pytest.approx(6, abs=0.4)


@pytest.mark.parametrize("spin", [False, True])
def test_every_parameter_learns(site_inputs, spin):
    network = CorrectionNetwork(site_inputs.width, EDOS_GRID.size, spin=spin)
    for parameters in network.parameters():
        torch.nn.init.normal_(parameters, std=0.05)
    result = answer(network, site_inputs, rock_salt(4.2, ("Ni", "O")), spin=spin)
    (result.spectra.sum(dim=0) * torch.linspace(0, 1, EDOS_GRID.size)).sum().backward()
    for name, parameters in network.named_parameters():
        assert float(parameters.grad.abs().sum()) > 0, name


def test_inputs_are_standardised_by_the_training_sites(site_inputs):
    torch.manual_seed(0)
    descriptors, numbers = 3 + 2 * torch.randn(50, 4), torch.randint(1, 80, (50,))
    site_inputs.fit(descriptors, numbers)
    standard = site_inputs(descriptors, numbers)
    assert standard[:, :4].mean(dim=0).numpy() == pytest.approx(np.zeros(4), abs=1e-5)
    assert float(standard.abs().max()) <= 6


def test_equivalent_atoms_share_their_populations():
    problem = prepare(solid("Fd-3m", 5.47, ["Si"], [[0, 0, 0]]), COARSE)
    assert average_equivalent(torch.tensor([[1.0, 3.0]]), problem).tolist() == [[2.0, 2.0]]


def test_the_exchange_splitting_makes_states_of_either_spin(site_inputs):
    network = CorrectionNetwork(site_inputs.width, EDOS_GRID.size, spin=True).eval()
    cell = rock_salt(4.2, ("Ni", "O"))
    inputs = site_inputs(features(cell), torch.from_numpy(cell.atomic_numbers))
    numbers = torch.from_numpy(cell.atomic_numbers)
    sites = network.of_sites(inputs, numbers)
    shifts, _ = hamiltonian_corrections(sites.corrections, network.first_splittings_ev[numbers], 2)
    splitting = (shifts[1] - shifts[0]).reshape(cell.n_atoms, 3)[cell.atomic_numbers == 28][0]
    assert splitting.tolist() == pytest.approx([0.1, 0.1, 1.5])
    apart, alike = (answer(network, site_inputs, cell, spin=spin).spectra.sum(dim=0) for spin in (True, False))
    assert float((apart - alike).abs().max()) > 0.1
    assert float(apart.sum()) == pytest.approx(float(alike.sum()), rel=0.15)
