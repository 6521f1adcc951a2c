import numpy as np

from mat2spec.descriptors.edges_by_atom import EdgesByAtom


def test_every_edge_stands_once_at_its_atom():
    rng = np.random.default_rng(0)
    n_atoms, n_edges = 9, 60
    start, end = rng.integers(20, size=n_edges), rng.integers(n_atoms - 1, size=n_edges)
    # Lengths differ by less than 1e-6 Angstrom where they are the same.
    of_length = rng.integers(7, size=n_edges)
    edges = EdgesByAtom.of(start, end, 2 + of_length + 1e-9 * rng.random(n_edges), n_atoms, 16)
    assert len(edges.examples) == 7
    found = []
    by_place = [row.tolist() for piece in edges.pieces for row in piece.edge]
    for atom, place in enumerate(edges.place.tolist()):
        found.extend((atom, edge) for edge in by_place[place] if edge < n_edges)
    assert sorted(found) == sorted(zip(end.tolist(), range(n_edges), strict=True))
    for piece in edges.pieces:
        edge = piece.edge.flatten().numpy()
        there = edge < n_edges
        np.testing.assert_array_equal(piece.start.numpy()[there], start[edge[there]])
        examples = edges.examples.numpy()[piece.length.numpy()[there]]
        np.testing.assert_array_equal(of_length[examples], of_length[edge[there]])


def test_without_edges_there_are_no_pieces():
    none = np.empty(0, dtype=np.int64)
    assert EdgesByAtom.of(none, none, np.empty(0), 3, 16).pieces == []
