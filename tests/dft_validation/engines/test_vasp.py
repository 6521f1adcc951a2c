"""VASP without VASP: real inputs are written and read, real outputs (see vasp_outputs/README.md) are parsed."""

import gzip
import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure
from pymatgen.io.vasp import Incar, Kpoints, Vasprun

from dft_validation import DftSettings, EdosDocument, EdosMaker
from dft_validation.engines import vasp
from dft_validation.engines.magnetism import structure_of
from dft_validation.jobs import vasp_flow, vasp_makers
from dft_validation.jobs.calculation import document_of_result
from dft_validation.results.document import edos_of_dos
from dft_validation.results.outcomes import EngineError, JobStatus
from mat2spec.spectra.grids import EDOS_GRID

OUTPUTS = Path(__file__).parents[1] / "vasp_outputs"
LIKE_MP = {"engine": "vasp", "spin": "polarised", "hubbard_u": "mp"}
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture
def vanadate():
    positions = [[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]]
    return Structure(Lattice.cubic(3.85), ["Sr", "V", "O", "O", "O"], positions)


@pytest.fixture
def psp_dir(tmp_path, monkeypatch):
    """A folder of files that are named like POTCARs and empty."""
    from pymatgen.core import SETTINGS

    folder = tmp_path / "potcars" / "POT_GGA_PAW_PBE"
    folder.mkdir(parents=True)
    monkeypatch.setitem(SETTINGS, "PMG_VASP_PSP_DIR", str(folder.parent))
    for symbol in ("Sr_sv", "V_pv", "O", "Si"):
        (folder / f"POTCAR.{symbol}.gz").touch()
    return folder


def write_inputs(maker, structure, folder):
    inputs = maker.input_set_generator.get_input_set(structure, potcar_spec=True)
    inputs.write_input(folder)
    potcars = (folder / "POTCAR.spec").read_text().split()
    return Incar.from_file(folder / "INCAR"), Kpoints.from_file(folder / "KPOINTS"), potcars


class TestInputs:
    def test_both_runs_have_the_settings_and_potcars_of_the_materials_project(self, vanadate, tmp_path):
        flow = vasp_makers.vasp_maker(DftSettings(**LIKE_MP))
        static, mesh, potcars = write_inputs(flow.static_maker, vanadate, tmp_path / "static")
        uniform, dense, potcars_again = write_inputs(flow.bs_maker, vanadate, tmp_path / "uniform")
        assert potcars == potcars_again == ["Sr_sv", "V_pv", "O"]
        for incar in (static, uniform):
            assert (incar["ENCUT"], incar["ISPIN"], incar["ISMEAR"], incar["NSW"]) == (520, 2, -5, 0)
            assert incar["LORBIT"] == 11
            assert (incar["LDAUTYPE"], incar["LDAUU"]) == (2, [0, 3.25, 0])
        assert static["MAGMOM"] == [0.6, 5.0, 0.6, 0.6, 0.6]
        assert (static["LCHARG"], static.get("ICHARG")) == (True, None)
        assert (uniform["LCHARG"], uniform["ICHARG"]) == (False, 11)
        assert str(mesh.style) == str(dense.style) == "Gamma"
        assert mesh.kpts[0] == (7, 7, 7)
        assert dense.kpts[0] == (12, 12, 12)

    def test_without_spin_and_u_neither_is_in_the_inputs(self, vanadate, tmp_path):
        flow = vasp_makers.vasp_maker(DftSettings(engine="vasp"))
        for maker in (flow.static_maker, flow.bs_maker):
            incar, _, _ = write_inputs(maker, vanadate, tmp_path)
            assert incar["ISPIN"] == 1
            assert not incar["LDAU"]
            assert "LDAUU" not in incar

    def test_a_relaxation_has_the_potcars_and_the_level_of_the_runs_after_it(self, vanadate, tmp_path):
        maker = vasp_makers.relax_maker(DftSettings(**LIKE_MP))
        for part in (maker.relax_maker1, maker.relax_maker2):
            incar, _, potcars = write_inputs(part, vanadate, tmp_path)
            assert potcars == ["Sr_sv", "V_pv", "O"]
            assert (incar["ENCUT"], incar["ISPIN"], incar["ISIF"], incar["NSW"]) == (520, 2, 3, 99)
            assert incar["LDAUU"] == [0, 3.25, 0]
        unpolarised = vasp_makers.relax_maker(DftSettings(engine="vasp")).relax_maker2
        assert write_inputs(unpolarised, vanadate, tmp_path)[0]["ISPIN"] == 1

    def test_the_usual_non_scf_maker_would_change_the_potcars(self, vanadate, tmp_path):
        """Why the maker of this package replaces it; when this fails, atomate2 has changed."""
        from atomate2.vasp.jobs.core import NonSCFMaker

        _, _, potcars = write_inputs(NonSCFMaker(), vanadate, tmp_path)
        assert "V_sv" in potcars


class TestPotcars:
    def test_a_complete_library_is_fine(self, vanadate, psp_dir):
        assert vasp.find_potcar_problem(vanadate) == ""
        (psp_dir / "POTCAR.O.gz").unlink()
        (psp_dir / "O").mkdir()
        (psp_dir / "O" / "POTCAR").touch()
        assert vasp.find_potcar_problem(vanadate) == ""

    def test_a_missing_potcar_is_named(self, vanadate, psp_dir):
        (psp_dir / "POTCAR.V_pv.gz").unlink()
        assert "The POTCARs V_pv (PBE) are not in" in vasp.find_potcar_problem(vanadate)

    def test_a_missing_folder_says_what_to_do(self, vanadate, monkeypatch, tmp_path):
        from pymatgen.core import SETTINGS

        monkeypatch.setitem(SETTINGS, "PMG_VASP_PSP_DIR", None)
        assert "pmg config --add PMG_VASP_PSP_DIR" in vasp.find_potcar_problem(vanadate)
        monkeypatch.setitem(SETTINGS, "PMG_VASP_PSP_DIR", str(tmp_path / "nowhere"))
        assert "does not exist" in vasp.find_potcar_problem(vanadate)

    def test_elements_that_the_set_does_not_know_are_unsupported(self):
        assert vasp.VaspEngine().find_unsupported([8, 43, 84, 85]) == ["At", "Po"]

    def test_a_missing_program_is_a_sentence(self, monkeypatch):
        monkeypatch.setenv("PATH", "")
        assert "not found; set VASP_CMD" in vasp.VaspEngine().unavailable_reason()


def parse(name, **changes):
    cell, result = vasp.read_vasp_folder(OUTPUTS / name)
    settings = DftSettings(engine="vasp", **changes)
    return document_of_result(structure_of(cell), "x", settings, "vasp", cell, result)


class TestOutputs:
    def test_our_tetrahedra_agree_with_those_of_vasp_on_the_same_bands(self):
        document = parse("si_static", band_interpolation=1)
        own = Vasprun(OUTPUTS / "si_static" / "vasprun.xml.gz", parse_potcar_file=False).tdos
        expected = edos_of_dos(own, document.energy_zero_ev)
        assert np.abs(document.edos - expected).sum() / expected.sum() < 0.003
        assert document.kpoints == (8, 8, 8)
        assert 0.5 < document.band_gap < 0.66
        assert document.engine_version.startswith("5.4.4")

    def test_a_uniform_run_lists_its_points_one_by_one(self):
        document = parse("si_uniform", band_interpolation=1)
        assert document.kpoints == (18, 18, 18)
        assert document.n_irreducible_kpoints == 195
        assert document.band_gap == pytest.approx(0.623, abs=0.01)
        # The upper valence bands of silicon hold all but some tenths of 8 - 2 electrons within 4 eV... less below.
        assert 2.0 < EDOS_GRID.width * document.edos[EDOS_GRID.centers < 0].sum() < 6.0

    def test_projections_follow_the_partial_densities_of_vasp(self):
        document = parse("si_projected", band_interpolation=1)
        assert sorted(document.projections) == ["Si-p", "Si-s"]  # VASP projects silicon on no d
        own = Vasprun(OUTPUTS / "si_projected" / "vasprun.xml.gz", parse_potcar_file=False).complete_dos.get_spd_dos()
        by_name = {str(shell): dos for shell, dos in own.items()}
        for shell in "sp":
            expected = edos_of_dos(by_name[shell], document.energy_zero_ev)
            found = document.projections[f"Si-{shell}"]
            assert found.sum() == pytest.approx(expected.sum(), rel=0.1)
            # Shares come from the bands near a bin on 8x8x8 points, VASP's from tetrahedra.
            assert np.abs(found - expected).sum() / expected.sum() < 0.25
        assert parse("si_static").projections == {}

    def test_two_spin_channels_of_a_metal_without_moment(self):
        document = parse("mgb2_static", spin="polarised")
        assert document.is_metal
        assert document.kpoints == (8, 8, 7)
        assert document.magnetization == pytest.approx(0.0, abs=1e-4)
        np.testing.assert_allclose(document.edos_by_spin[0], document.edos_by_spin[1], atol=0.05)
        np.testing.assert_allclose(document.edos_by_spin.sum(axis=0), document.edos)
        # About 0.7 states/eV at the Fermi energy (J. Kortus et al., Phys. Rev. Lett. 86, 4656 (2001): 0.71).
        assert document.edos[np.abs(EDOS_GRID.centers) < 0.3].mean() == pytest.approx(0.71, abs=0.12)


class TestBadOutputs:
    @pytest.fixture
    def text(self):
        return gzip.decompress((OUTPUTS / "si_static" / "vasprun.xml.gz").read_bytes()).decode("latin-1")

    def read(self, folder, text):
        (folder / "vasprun.xml").write_text(text, encoding="latin-1")
        with pytest.raises(EngineError) as caught:
            vasp.read_vasp_folder(folder)
        return caught.value

    def test_a_missing_file(self, tmp_path):
        with pytest.raises(EngineError, match=r"no vasprun\.xml") as caught:
            vasp.read_vasp_folder(tmp_path)
        assert caught.value.status is JobStatus.CORRUPT_OUTPUT

    def test_a_truncated_file(self, tmp_path, text):
        error = self.read(tmp_path, text[: len(text) // 2])
        assert error.status is JobStatus.CORRUPT_OUTPUT
        assert "vasprun.xml cannot be read" in error.reason

    def test_an_unconverged_run(self, tmp_path, text):
        error = self.read(tmp_path, text.replace('name="NELM">   100', 'name="NELM">     1'))
        assert error.status is JobStatus.UNCONVERGED
        assert "in 1 steps" in error.reason

    def test_bands_that_reach_too_low_are_masked(self):
        document = parse("si_static", dropped_bands=7)
        assert document.is_covered.all()
        cell, result = vasp.read_vasp_folder(OUTPUTS / "si_static")
        few = result.__class__(**{**result.__dict__, "bands": result.bands.without_last(96 - 10)})
        document = document_of_result(structure_of(cell), "x", DftSettings(engine="vasp"), "vasp", cell, few)
        assert not document.is_covered.all()
        assert "Bands are missing above" in " ".join(document.notes)


class TestFlow:
    def test_the_flow_checks_runs_twice_and_makes_a_document(self, psp_dir, tmp_path, monkeypatch):
        """As atomate2 tests its flows: inputs are written by its jobs, outputs of a real run are put in their place."""
        written = run_flow(tmp_path, monkeypatch, psp_dir)
        document = next(iter(written["document"].values())).output
        assert isinstance(document, EdosDocument)
        assert (document.material_id, document.engine, document.kpoints) == ("mp-149", "vasp", (18, 18, 18))
        assert document.band_gap == pytest.approx(0.623, abs=0.01)
        assert [incar.get("ICHARG") for incar in written["incars"]] == [None, 11]

    def test_without_potcars_nothing_is_started(self, psp_dir, tmp_path, monkeypatch):
        (psp_dir / "POTCAR.Si.gz").unlink()
        written = run_flow(tmp_path, monkeypatch, psp_dir)
        assert written["incars"] == []
        assert written["document"] == {}

    def test_jobs_carry_the_material_and_survive_json(self):
        from monty.json import MontyDecoder, MontyEncoder

        flow = EdosMaker(settings=LIKE_MP).make(silicon(), "mp-149")
        assert [job.name for job, _ in flow.iterflow()] == [
            "check POTCARs",
            "MP GGA static",
            "non-scf uniform",
            "edos document",
        ]
        assert {job.metadata["material_id"] for job, _ in flow.iterflow()} == {"mp-149"}
        again = MontyDecoder().decode(MontyEncoder().encode(flow))
        assert again.output.uuid == flow.output.uuid

    def test_a_crystal_is_relaxed_first_if_wanted(self):
        flow = EdosMaker(settings={**LIKE_MP, "vasp_relax": True}).make(silicon(), "mp-149")
        names = [job.name for job, _ in flow.iterflow()]
        assert names[:4] == ["check POTCARs", "MP GGA relax 1", "MP GGA relax 2", "MP GGA static"]
        assert DftSettings(vasp_relax=True).settings_hash != DftSettings().settings_hash

    def test_folders_come_without_their_host(self):
        assert vasp_flow.local_path("node7:/scratch/x") == Path("/scratch/x")
        assert vasp_flow.local_path("/scratch/a:b") == Path("/scratch/a:b")


def silicon():
    return Vasprun(OUTPUTS / "si_uniform" / "vasprun.xml.gz", parse_potcar_file=False).final_structure


def run_flow(tmp_path, monkeypatch, psp_dir):
    """Run the flow with VASP and the parser of atomate2's own document replaced; the rest is real."""
    from atomate2.vasp.jobs import base
    from emmet.core.tasks import TaskDoc
    from emmet.core.types.enums import TaskState
    from jobflow import run_locally

    incars = []

    def stand_in(**_):
        incars.append(Incar.from_file("INCAR"))
        kind = "si_uniform" if "ICHARG" in incars[-1] else "si_static"
        shutil.copy(OUTPUTS / kind / "vasprun.xml.gz", "vasprun.xml.gz")

    def short_document(folder, **_):
        return TaskDoc.model_construct(
            structure=silicon(), dir_name=f"host:{folder}", state=TaskState.SUCCESS, calcs_reversed=[]
        )

    original = vasp_makers.vasp_maker

    def maker_without_potcars(settings):
        maker = original(settings)
        for part in (maker.static_maker, maker.bs_maker):
            part.write_input_set_kwargs = {"potcar_spec": True, "from_prev": False}
        return maker

    monkeypatch.setattr(base, "run_vasp", stand_in)
    monkeypatch.setattr(base, "get_vasp_task_document", short_document)
    monkeypatch.setattr(base, "copy_vasp_outputs", lambda *_, **__: None)
    monkeypatch.setattr(vasp_flow, "vasp_maker", maker_without_potcars)
    flow = EdosMaker(settings={**LIKE_MP, "band_interpolation": 1}).make(silicon(), "mp-149")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        responses = run_locally(flow, log=False, create_folders=True, root_dir=tmp_path, raise_immediately=False)
    return {"document": responses.get(flow.output.uuid, {}), "incars": incars}
