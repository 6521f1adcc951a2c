"""The page that accepts files, and who may use it."""

from __future__ import annotations

import http.client
import json
import threading

import pytest
from pymatgen.core import Lattice, Structure

from flows.serve import page_server as module
from flows.serve.page_server import FILE_HEADER, page_server

COPPER = Structure.from_spacegroup("Fm-3m", Lattice.cubic(3.6), ["Cu"], [[0, 0, 0]])


@pytest.fixture
def server():
    asked = []

    def predict(read):
        asked.append(read)
        if read[0].structure.reduced_formula == "He":
            raise RuntimeError("the model is broken")
        return {"picks": [entry.name for entry in read if entry.structure is not None]}

    with page_server("<body>the page</body>", predict) as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield running.server_address[1], asked
        running.shutdown()
        thread.join()


def ask(port, method="GET", path="/", body=None, **headers):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    names = {"file": FILE_HEADER, "host": "Host", "origin": "Origin"}
    connection.request(method, path, body, {names[name]: value for name, value in headers.items()})
    answer = connection.getresponse()
    return answer.status, answer.read().decode()


def test_the_page_and_the_spectra_of_a_file(server):
    port, asked = server
    assert ask(port) == (200, "<body>the page</body>")
    status, text = ask(port, "POST", "/predict", COPPER.to(fmt="cif"), file="..%2F..%2Fetc%2FCu%20one.cif")
    assert (status, json.loads(text)) == (200, {"picks": ["Cu one.cif"]}), "the name is that of the file alone"
    assert asked[0][0].structure.reduced_formula == "Cu"


@pytest.mark.parametrize(
    "headers",
    [{"host": "evil.example"}, {"host": "127.0.0.1:1"}, {"origin": "https://evil.example"}, {"origin": "null"}],
)
def test_other_sites_are_not_answered(server, headers):
    port, asked = server
    assert ask(port, "POST", "/predict", "data", file="a.cif", **headers)[0] == 403
    assert ask(port, **headers)[0] == 403
    assert asked == []


def test_what_is_not_a_file_of_the_page_is_refused(server, monkeypatch):
    port, asked = server
    assert ask(port, path="/../../etc/passwd")[0] == 404
    assert ask(port, "POST", "/predict", "data")[0] == 403
    assert ask(port, "POST", "/else", "data", file="a.cif")[0] == 403
    assert ask(port, "POST", "/predict", "", file="a.cif")[0] == 413
    monkeypatch.setattr(module, "MAX_UPLOAD_BYTES", 3)
    assert ask(port, "POST", "/predict", "data", file="a.cif")[0] == 413
    assert asked == []


def test_a_bad_file_is_reported_in_a_sentence_and_the_server_keeps_running(server, monkeypatch):
    port, _ = server
    status, text = ask(port, "POST", "/predict", "data_x\n_cell_length_a oops\n", file="a.cif")
    assert status == 422
    assert json.loads(text)["error"].endswith(".")
    monkeypatch.setattr(module, "MAX_CRYSTALS", 0)
    assert "more than 0" in ask(port, "POST", "/predict", COPPER.to(fmt="cif"), file="a.cif")[1]
    assert ask(port)[0] == 200


def test_an_internal_error_is_not_hidden(server):
    port, _ = server
    helium = Structure(Lattice.cubic(4), ["He"], [[0, 0, 0]])
    status, text = ask(port, "POST", "/predict", helium.to(fmt="cif"), file="He.cif")
    assert status == 500
    assert "terminal says why" in text
