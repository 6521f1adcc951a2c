"""Small archives in the layout of the paper's authors."""

import csv
import json
import pickle

import numpy as np

from tests.mat2spec.conftest import low_symmetry, perovskite, rock_salt_primitive

CATIONS = ("Li", "Na", "K", "Rb", "Cs")
ANIONS = ("F", "Cl", "Br", "I")
SALTS = [rock_salt_primitive(5.0 + 0.1 * i, c, a) for i, c in enumerate(CATIONS) for a in ANIONS]


def write_ids(path, ids):
    with path.open("w", newline="") as stream:
        csv.writer(stream).writerows([["mpids"], *([i] for i in ids)])


def write_pickle(path, content, protocol=4):
    path.write_bytes(pickle.dumps(content, protocol=protocol))


def write_edos_archive(folder):
    """Twenty salts with flat spectra: 16 to train on, two to validate and two to test."""
    for name in ("label_edos", "materials_with_edos"):
        (folder / name).mkdir()
    ids = [f"mp-{i}" for i in range(len(SALTS))]
    write_ids(folder / "label_edos/mpids.csv", ids)
    np.save(folder / "label_edos/total_dos_128.npy", np.arange(1, 21)[:, None] * np.ones(128))
    for material_id, structure in zip(ids, SALTS, strict=True):
        path = folder / f"materials_with_edos/dos_{material_id}.json"
        path.write_text(json.dumps({"structure": structure.as_dict(), "other": None}))
    return folder


def write_phdos_archive(folder):
    """Six crystals: three to train on, two to validate and one to test."""
    phonons = folder / "phdos"
    phonons.mkdir()
    structures = [perovskite(), *SALTS[:4], low_symmetry()]
    write_pickle(phonons / "ph_structures.pkl", structures)
    np.save(phonons / "ph_dos.npy", np.exp(-(((np.arange(51) - np.arange(10, 16)[:, None]) / 3) ** 2)))
    write_pickle(phonons / "200801_trteva_indices.pkl", (np.array([0, 1, 5]), np.array([2, 4]), np.array([3])))
    return folder
