"""`CrystalGraphs` is what users of PyTorch Geometric expect of a batch, and every way to cut and join it agrees."""

import copy

import numpy as np
import pytest
import torch
from torch_geometric import EdgeIndex
from torch_geometric.data import Batch
from torch_geometric.loader import DataLoader

from mat2spec.crystals.arrays import Crystals
from mat2spec.graphs.batch import CrystalGraphs
from mat2spec.graphs.building import build_graphs
from mat2spec.graphs.settings import GraphSettings
from mat2spec.models import build_model
from mat2spec.spectra.normalisation import Setting
from tests.mat2spec.conftest import SMALL_SIZES, low_symmetry, perovskite, rock_salt

CELLS = [rock_salt(), perovskite(), low_symmetry()]


@pytest.fixture(params=[True, False], ids=["merged sites", "all sites"])
def graphs(request):
    made, problems = build_graphs(Crystals.from_structures(CELLS), GraphSettings(merge_sites=request.param))
    assert not any(problems)
    return made


def assert_same(mine, theirs):
    assert mine.ptr.tolist() == theirs.ptr.tolist()
    assert set(mine.keys()) == set(theirs.keys())
    for name, value in theirs.to_dict().items():
        torch.testing.assert_close(torch.as_tensor(mine[name]), torch.as_tensor(value), rtol=0, atol=0, msg=name)
    for batch in (mine, theirs):
        assert batch.edge_index.is_sorted_by_col
        assert batch.edge_index.validate().get_sparse_size() == (batch.num_nodes, batch.num_nodes)
        assert batch.edge_ptr.tolist() == [0, *torch.bincount(batch.edges[1], minlength=batch.num_nodes).cumsum(0)]


def test_it_says_what_it_is(graphs):
    assert len(graphs) == graphs.num_graphs == 3
    assert graphs.n_nodes.sum() == graphs.num_nodes
    assert graphs.n_edges.sum() == graphs.num_edges
    assert graphs.validate()
    assert graphs.n_atoms.tolist() == [8, 5, 4]
    assert graphs.is_node_attr("multiplicity")
    assert graphs.is_edge_attr("edge_length")
    assert not graphs.is_node_attr("n_atoms")
    neighbour, centre = graphs.edge_index.as_tensor()
    assert (centre.diff() >= 0).all()
    assert (graphs.batch[neighbour] == graphs.batch[centre]).all()


def test_take_of_all_is_the_whole(graphs):
    assert_same(graphs.take(np.arange(3)), graphs)


def test_taken_apart_and_joined_again_it_is_the_same(graphs):
    parts = graphs.to_data_list()
    assert [len(part) for part in parts] == [1, 1, 1]
    assert_same(CrystalGraphs.concatenate(parts), graphs)
    assert_same(CrystalGraphs.concatenate([graphs[2], graphs[:2]]), graphs.take([2, 0, 1]))


def test_a_batch_of_pytorch_geometric_is_the_same(graphs):
    collected = Batch.from_data_list([graphs[2], graphs[0]])
    assert isinstance(collected, CrystalGraphs)
    assert_same(collected, graphs.take([2, 0]))
    assert_same(collected[1], graphs[0])


@pytest.mark.parametrize(
    ("index", "expected"),
    [
        (1, [1]),
        (-1, [2]),
        (slice(1, None), [1, 2]),
        ([2, 0], [2, 0]),
        (np.array([True, False, True]), [0, 2]),
        (torch.tensor([1, 1]), [1, 1]),
        ([], []),
    ],
)
def test_indices_are_those_of_crystals(graphs, index, expected):
    chosen = graphs[index]
    assert chosen.n_atoms.tolist() == graphs.n_atoms[expected].tolist()
    assert_same(chosen, graphs.take(expected))


def test_a_mask_is_taken_as_one(graphs):
    assert_same(graphs.take(np.array([False, True, True])), graphs[1:])


def test_an_index_beyond_the_last_is_refused(graphs):
    with pytest.raises(IndexError):
        graphs[3]


def test_custom_attributes_follow_their_crystal(graphs):
    graphs.y = torch.tensor([[0.0, 0.1], [1.0, 1.1], [2.0, 2.1]])
    graphs.edge_weight = graphs.edge_length * 2
    graphs.node_charge = graphs.atomic_numbers * 0.5
    chosen = graphs.take([2, 0])
    assert chosen.y[:, 0].tolist() == [2.0, 0.0]
    torch.testing.assert_close(chosen.edge_weight, 2 * chosen.edge_length)
    torch.testing.assert_close(chosen.node_charge, 0.5 * chosen.atomic_numbers)
    assert "y" not in CrystalGraphs.concatenate([chosen, copy.copy(graphs).update({"y": None})]).own_attributes()


@pytest.mark.parametrize("value", [torch.zeros(2), torch.tensor(1.0)])
def test_an_attribute_of_another_length_is_refused(graphs, value):
    graphs.y = value
    with pytest.raises(ValueError, match="attribute 'y' of 3 crystals has the shape"):
        graphs.take([0])


def test_an_attribute_that_is_no_tensor_is_refused(graphs):
    graphs.names = ["a", "b", "c"]
    with pytest.raises(TypeError, match="attribute 'names' is a list; only tensors"):
        graphs.take([0])


def test_a_batch_of_several_crystals_is_not_taken_for_one(graphs):
    with pytest.raises(ValueError, match=r"one item holds 2; join many with CrystalGraphs\.concatenate"):
        Batch.from_data_list([graphs[:2], graphs[2]])


@pytest.mark.parametrize("n_workers", [0, 1])
def test_a_data_loader_gives_batches_that_models_read(graphs, n_workers):
    model = build_model("gatgnn", SMALL_SIZES["gatgnn"], 128, Setting.SUMNORM_KL).eval()
    # Spawned: a fork of a process in which other tests have started threads may not live.
    context = "spawn" if n_workers else None
    loader = DataLoader(graphs, batch_size=2, num_workers=n_workers, multiprocessing_context=context)
    with torch.no_grad():
        rows = torch.cat([model(batch) for batch in loader])
        torch.testing.assert_close(rows, model(graphs), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("name", sorted(SMALL_SIZES.keys() - {"sitedos"}))
def test_inference_mode_neither_loses_the_edges_nor_spoils_them_for_training(name):
    model = build_model(name, SMALL_SIZES[name], 128, Setting.SUMNORM_KL)
    graphs, _ = build_graphs(Crystals.from_structures(CELLS), model.settings.adapt_graphs(GraphSettings()))
    with torch.inference_mode():
        model(graphs)
        assert isinstance(graphs.take([0, 1]).to("cpu").edge_index, EdgeIndex)
        assert isinstance(copy.copy(graphs).to("cpu").edge_index, EdgeIndex)
    torch.stack(list(model.losses(graphs, torch.full((3, 128), 1 / 128)).values())).sum().backward()


@pytest.mark.gpu
def test_it_moves_to_a_device_and_is_cut_there(graphs):
    there = copy.copy(graphs).to("cuda")
    assert there.edge_index.is_cuda
    assert_same(there.take([2, 1]).to("cpu"), graphs.take([2, 1]))


def test_it_is_stored_and_read(graphs, tmp_path):
    torch.save(graphs, tmp_path / "graphs.pt")
    assert_same(torch.load(tmp_path / "graphs.pt", weights_only=False), graphs)
