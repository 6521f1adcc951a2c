import numpy as np
import pytest
import scipy.linalg
import torch

from mat2spec.tight_binding.eigenproblem import orthogonalise, populations, solve


def random_hermitian(n_kpoints, n, rng):
    matrices = rng.normal(size=(n_kpoints, n, n)) + 1j * rng.normal(size=(n_kpoints, n, n))
    return matrices + matrices.conj().swapaxes(1, 2)


def with_eigenvalues(eigenvalues, rng):
    n = len(eigenvalues)
    vectors = np.linalg.qr(rng.normal(size=(n, n)) + 1j * rng.normal(size=(n, n)))[0]
    return (vectors * eigenvalues) @ vectors.conj().T


def test_energies_are_those_of_scipy():
    rng = np.random.default_rng(0)
    hamiltonian = random_hermitian(3, 7, rng)
    overlap = np.array([with_eigenvalues(rng.uniform(0.3, 2, 7), rng) for _ in range(3)])
    basis = orthogonalise(torch.from_numpy(overlap))
    assert basis.removed is None
    bands = solve(torch.from_numpy(hamiltonian), basis)
    for k in range(3):
        assert bands.energies[k].numpy() == pytest.approx(
            scipy.linalg.eigh(hamiltonian[k], overlap[k], eigvals_only=True)
        )


def test_cholesky_and_canonical_orthogonalisation_agree():
    rng = np.random.default_rng(1)
    hamiltonian = torch.from_numpy(random_hermitian(1, 6, rng))
    overlap = torch.from_numpy(with_eigenvalues(np.array([0.05, 0.4, 0.8, 1.2, 1.5, 2.0]), rng)[None])
    cholesky, canonical = orthogonalise(overlap, smallest=1e-4), orthogonalise(overlap, smallest=0.045)
    assert torch.allclose(cholesky.transform.tril(), cholesky.transform) or torch.allclose(
        cholesky.transform.triu(), cholesky.transform
    )
    assert solve(hamiltonian, cholesky).energies.numpy() == pytest.approx(
        solve(hamiltonian, canonical).energies.numpy()
    )


@pytest.mark.parametrize("smallest_eigenvalue", [1e-5, 0.0, -0.2])
def test_singular_and_indefinite_overlaps_lose_a_direction_and_nothing_else(smallest_eigenvalue):
    rng = np.random.default_rng(2)
    hamiltonian = torch.from_numpy(random_hermitian(1, 5, rng))
    overlap = torch.from_numpy(with_eigenvalues(np.array([smallest_eigenvalue, 0.5, 0.9, 1.1, 1.6]), rng)[None])
    basis = orthogonalise(overlap)
    assert basis.n_removed == 1
    energies = solve(hamiltonian, basis).energies
    assert torch.isfinite(energies).all()
    assert float(energies[0, -1]) == pytest.approx(60)
    assert float(energies[0, :-1].abs().max()) < 30


def test_populations_of_a_band_sum_to_one():
    rng = np.random.default_rng(3)
    overlap = torch.from_numpy(np.array([with_eigenvalues(rng.uniform(0.3, 2, 6), rng) for _ in range(2)]))
    bands = solve(torch.from_numpy(random_hermitian(2, 6, rng)), orthogonalise(overlap))
    groups = torch.eye(3, dtype=torch.float64)[torch.tensor([0, 0, 1, 1, 1, 2])]
    shares = populations(overlap, bands.coefficients, groups)
    assert shares.shape == (2, 6, 3)
    assert shares.sum(dim=2).numpy() == pytest.approx(np.ones((2, 6)))
