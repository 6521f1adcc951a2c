"""The program `mat2spec`: help, exit codes, sentences, and what the commands write."""

import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from pymatgen.core import Lattice, Structure
from pymatgen.electronic_structure.bandstructure import BandStructureSymmLine

from flows.cli.program import run
from flows.commands.exits import ExitCode
from flows.commands.screen import screen

ROOT = Path(__file__).parents[3]
pytestmark = pytest.mark.usefixtures("wide_and_apart")

PROGRAM = [sys.executable, "-c", "from flows.cli.program import main; main()"]


@pytest.fixture
def set_options(assignments):
    return [word for assignment in assignments for word in ("--set", assignment)]


@pytest.fixture
def finished_run(settings, fake_engine):
    return screen(settings)


def say(capfd, *arguments):
    """Exit code, standard output and standard error of a command."""
    capfd.readouterr()
    code = run(list(arguments))
    captured = capfd.readouterr()
    return code, captured.out, captured.err


def test_help_starts_at_once_and_teaches():
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    answer = subprocess.run([*PROGRAM, "--help"], cwd=ROOT, capture_output=True, text=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert "mat2spec screen" in answer.stdout
    # Processor time: the same on a busy machine.
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 0.6


def test_help_imports_nothing_heavy():
    code = (
        "import sys; from flows.cli.program import run; run(['--help']); run(['screen', '--help']);"
        "heavy = {'torch', 'pymatgen', 'prefect', 'pandas', 'plotly', 'numpy', 'pyarrow', 'duckdb', 'jobflow'};"
        "print('imported', sorted(heavy & sys.modules.keys()))"
    )
    answer = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert answer.stdout.splitlines()[-1] == "imported []"


def test_a_screen_starts_within_three_seconds():
    code = (
        "import sys; import flows.commands.screen;"
        "heavy = {'torch', 'prefect', 'matplotlib', 'networkx', 'scipy.signal', 'pymatgen.io.vasp', 'atomate2'};"
        "print('imported', sorted(heavy & sys.modules.keys()))"
    )
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    answer = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert answer.stdout.splitlines()[-1] == "imported []"
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 3


@pytest.mark.parametrize(
    "command",
    ["screen", "predict", "tables", "settings", "serve", "train phdos", "train edos"],
)
def test_every_command_shows_examples(capfd, command):
    code, out, _ = say(capfd, *command.split(), "--help")
    assert code == ExitCode.DONE
    assert f"mat2spec {command}" in out.replace("\n", " ")


def test_screen_prints_tables_and_where_they_lie(capfd, set_options, fake_engine):
    code, out, _ = say(capfd, "screen", *set_options)
    assert code == ExitCode.DONE
    for text in ("Predict spectra", "number of elements", "Precision and recall", "Checked by DFT", "Tables:"):
        assert text in out
    assert (Path("results") / "latest" / "precision_recall.parquet").exists()


def test_short_options_are_settings(capfd, crystals_path, fake_engine):
    code, out, _ = say(
        capfd, "screen", "--source", str(crystals_path), "--limit", "4", "--no-dft", "-m", "gatgnn", "--results-dir", "r",
        "--set", "dft.engine=fake",
    )  # fmt: skip
    assert code == ExitCode.DONE
    info = json.loads(Path("r/latest/run.json").read_text())
    assert info["settings"]["prediction"]["models"] == ["gatgnn"]
    assert info["settings"]["source"]["limit"] == 4
    assert info["settings"]["run_dft"] is False
    assert "DFT jobs are queued and were not run; `mat2spec dft run" in out


def test_a_dry_run_writes_nothing(capfd, set_options, fake_engine):
    code, out, _ = say(capfd, "screen", "--dry-run", *set_options)
    assert code == ExitCode.DONE
    assert "17 candidates would be predicted in 4 shards" in out
    assert "mat2spec leads, beside gatgnn." in out
    assert "selection.max_positives = 2   (command line)" in out
    assert not Path("results").exists()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["screen", "--set", "gap.min_widht_ev=1"], "did you mean 'gap.min_width_ev'?"),
        (["screen", "--source", "nowhere.parquet"], "nowhere.parquet"),
        (["screen", "--set", "source.kind=parquet"], "needs a path"),
        (["screen", "--set", "prediction.weights_dir=nowhere", "--source", "{source}"], "nowhere"),
        (["tables"], "Run `mat2spec screen` first"),
        (["predict", "a.cif", "--table", "a.xlsx"], "must end in .parquet or .csv"),
        (["predict", "a.cif", "--plot", "a.doc"], "must end in .html"),
        (["predict", "a.cif", "--spectrum", "ir"], "Unknown spectrum 'ir'; choose from edos, phdos"),
        (["settings", "xyzzy"], "No setting has 'xyzzy'"),
        (["train", "edos", "--data", "nowhere"], "nowhere"),
    ],
)
def test_errors_are_sentences_and_no_tracebacks(capfd, crystals_path, arguments, sentence):
    code, out, err = say(capfd, *[word.format(source=crystals_path) for word in arguments])
    assert code == ExitCode.FAILED
    assert sentence in err
    assert "Traceback" not in out + err
    assert len(err.strip().splitlines()) == 1


def test_debug_shows_the_traceback_wherever_it_stands():
    for arguments in (["--debug", "tables"], ["tables", "--debug"]):
        with pytest.raises(RuntimeError, match="mat2spec screen"):
            run(arguments)


def test_an_error_of_the_program_itself_is_not_hidden(monkeypatch):
    monkeypatch.setattr("flows.commands.engines.print_engines", lambda: {}["a bug"])
    with pytest.raises(KeyError):
        run(["engines"])


def test_wrong_use_exits_with_2(capfd):
    code, _, err = say(capfd, "screen", "--nonsense")
    assert code == ExitCode.WRONG_USE
    assert "--nonsense" in err


def test_a_corrupt_source_is_a_sentence(capfd):
    Path("broken.parquet").write_bytes(b"PAR1 nothing of the kind")
    code, _, err = say(capfd, "screen", "--source", "broken.parquet")
    assert code == ExitCode.FAILED
    assert "broken.parquet" in err


def test_results_that_cannot_be_written_are_a_sentence(capfd, crystals_path, fake_engine):
    Path("blocked").write_text("a file where the folder should be")
    code, _, err = say(capfd, "screen", "--source", str(crystals_path), "--results-dir", "blocked", "--no-dft")
    assert code == ExitCode.FAILED
    assert "blocked" in err


def write_structures(folder):
    rock_salt = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.6), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    rock_salt.to(filename=str(folder / "salt.cif"))
    rock_salt.to(filename=str(folder / "POSCAR"), fmt="poscar")
    (folder / "two.json").write_text(json.dumps([rock_salt.as_dict(), {"structure": rock_salt.as_dict()}]))
    (folder / "broken.cif").write_text("data_nothing\n_cell_length_a oops\n")
    (folder / "mixed.json").write_text(
        json.dumps(Structure(Lattice.cubic(4), [{"Na": 0.5, "K": 0.5}], [[0, 0, 0]]).as_dict())
    )
    Structure(Lattice.cubic(4), ["Na", "Cl"], [[0, 0, 0], [0.001, 0, 0]]).to(filename=str(folder / "overlap.cif"))


def test_predict_reads_all_formats_and_tables_what_fails(capfd, tmp_path):
    write_structures(tmp_path)
    files = ["salt.cif", "POSCAR", "two.json", "broken.cif", "mixed.json", "overlap.cif", "missing.cif"]
    code, out, _ = say(capfd, "predict", *files, "--table", "dos.parquet", "--plot", "dos.html")
    assert code == ExitCode.FAILED
    table = pq.read_table("dos.parquet").to_pandas()
    assert len(table) == 24  # eight crystals or files, three models
    assert table["model"].iloc[0] == "tight-binding", "the most accurate model leads"
    ok = table[table["status"] == "ok"]
    assert sorted(set(ok["material_id"])) == ["POSCAR", "salt.cif", "two.json#1", "two.json#2"]
    assert (ok["formula"] == "NaCl").all()
    reasons = table[table["status"] != "ok"].set_index("material_id")["reason"]
    assert reasons["broken.cif"].str.contains("does not parse").all()
    assert reasons["mixed.json"].str.contains("partial occupancies").all()
    assert reasons["overlap.cif"].str.contains("apart").all()
    assert reasons["missing.cif"].str.contains("No such file").all()
    assert "12 of 24 predictions failed" in out
    page = Path("dos.html").read_text()
    assert page.count("plotly-graph-div") == 4
    assert "two.json#2" in page


def test_predict_of_good_files_alone_exits_with_0(capfd, tmp_path):
    write_structures(tmp_path)
    code, _, _ = say(capfd, "predict", "salt.cif", "-m", "mat2spec", "--table", "dos.csv", "--plot", "dos.png")
    assert code == ExitCode.DONE
    assert Path("dos.png").read_bytes().startswith(b"\x89PNG")
    header, row = Path("dos.csv").read_text().splitlines()
    assert header.startswith("material_id,model,status")
    assert len(row.split(",")[header.split(",").index("edos")].split()) == 128


def test_predict_phonons_gives_three_modes_an_atom_and_what_follows_from_them(capfd, tmp_path):
    write_structures(tmp_path)
    files = ["salt.cif", "POSCAR", "broken.cif"]
    given = ("--spectrum", "phdos", "-m", "gatgnn", "--table", "phonons.parquet", "--plot", "phonons.html")
    code, out, _ = say(capfd, "predict", *files, *given)
    assert code == ExitCode.FAILED, "one file is broken"
    table = pq.read_table("phonons.parquet")
    assert json.loads(table.schema.metadata[b"spectral_grid"])["unit"] == "cm-1"
    rows = table.to_pandas().set_index("material_id").loc[["salt.cif", "POSCAR"]]
    n_atoms = rows["scale_states"].to_numpy() / 3
    assert n_atoms.tolist() == pytest.approx([2, 8]), "a CIF is read as its primitive cell"
    assert 20.0 * np.stack(rows["phdos"]).sum(axis=1) == pytest.approx(3 * n_atoms, rel=1e-5)
    capacity = rows["heat_capacity_300k_j_per_mol_atoms_k"].to_numpy()
    assert (capacity > 15).all()
    assert (capacity < 24.95).all(), "Dulong and Petit's limit is 3 R"
    assert capacity[0] == pytest.approx(capacity[1], rel=1e-5)
    assert (rows["mean_frequency_cm1"] > 0).all()
    assert "frequency (cm-1)" in Path("phonons.html").read_text()
    assert "does not parse" in out or "failed" in out


def test_predict_adds_transport_to_the_rows_of_tight_binding(capfd, tmp_path):
    write_structures(tmp_path)
    models = ("-m", "mat2spec", "-m", "tight-binding")
    code, out, _ = say(
        capfd, "predict", "salt.cif", *models, "--transport", "--bands", "bands", "--table", "dos.parquet"
    )
    assert code == ExitCode.DONE
    rows = pq.read_table("dos.parquet").to_pandas().set_index("model")
    assert rows.loc["tight-binding", "bands_gap_ev"] > 3
    assert (
        rows.loc["tight-binding", "seebeck_n_1e19_300k_uv_per_k"] < 0 < rows.loc["tight-binding", "electron_mass_1e19"]
    )
    assert np.isnan(rows.loc["mat2spec", "bands_gap_ev"])
    assert "mass of electrons" in out.replace("\n", " ")
    bands = BandStructureSymmLine.from_dict(json.loads(Path("bands/salt.cif.json").read_text()))
    assert bands.get_band_gap()["energy"] == pytest.approx(rows.loc["tight-binding", "bands_gap_ev"], abs=0.1)
    assert Path("bands/salt.cif.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("given", [("-m", "mat2spec"), ("--spectrum", "phdos")])
def test_predict_without_bands_refuses_transport(capfd, tmp_path, given):
    write_structures(tmp_path)
    code, _, err = say(capfd, "predict", "salt.cif", "--transport", *given)
    assert code == ExitCode.FAILED
    assert "add --model tight-binding" in " ".join(err.split())


def test_predict_gives_the_same_cell_the_same_spectrum(tmp_path, capfd):
    write_structures(tmp_path)
    say(capfd, "predict", "POSCAR", "two.json", "-m", "mat2spec", "--table", "dos.parquet")
    spectra = pq.read_table("dos.parquet")["edos"].to_pylist()
    assert spectra[0] == pytest.approx(spectra[1], rel=1e-4, abs=1e-5)
    assert spectra[1] == pytest.approx(spectra[2], rel=2e-5)  # single precision: sums over a batch round by its order


def test_tables_lists_filters_sorts_and_writes(capfd, finished_run, settings):
    options = ("--results-dir", str(settings.results_dir))
    _, out, _ = say(capfd, "tables", *options)
    assert all(name in out for name in ("candidates", "dft_results", "precision_recall"))

    _, out, _ = say(
        capfd, "tables", "candidates", "--where", "material_id = 'TiN'", "--columns", "material_id,nsites", *options
    )
    assert "TiN" in out
    assert "KO" not in out
    assert "formula" not in out.replace("candidates of", "")

    say(
        capfd,
        "tables",
        finished_run.run_id,
        "classifications",
        "--sort=-gap_confidence",
        "-n",
        "0",
        "-o",
        "c.csv",
        *options,
    )
    lines = Path("c.csv").read_text().splitlines()
    assert len(lines) == 1 + 34
    at = lines[0].split(",").index("gap_confidence")
    values = [float(line.split(",")[at]) for line in lines[1:] if line.split(",")[at]]
    assert values == sorted(values, reverse=True)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["nonsense"], "There is no run or table 'nonsense'"),
        (["candidates", "--where", "nonsense > 3"], "There is no column 'nonsense'"),
        (["candidates", "--sort", "nonsense"], "There is no column 'nonsense'"),
        (["candidates", "--columns", "nonsense"], "There is no column 'nonsense'"),
    ],
)
def test_tables_explains_what_is_not_there(capfd, finished_run, settings, arguments, sentence):
    code, _, err = say(capfd, "tables", *arguments, "--results-dir", str(settings.results_dir))
    assert code == ExitCode.FAILED
    assert sentence in err


def test_settings_as_yaml_can_be_given_back(capfd):
    _, out, _ = say(capfd, "settings", "--yaml", "--set", "selection.seed=7")
    Path("mine.yaml").write_text(out)
    code, out, _ = say(capfd, "settings", "selection.seed", "--config", "mine.yaml")
    assert code == ExitCode.DONE
    assert "selection.seed = 7   (mine.yaml, default 2022)" in out
    assert "mine.yaml" in out


def test_engines_says_which_can_be_used(capfd):
    code, out, _ = say(capfd, "engines")
    assert code == ExitCode.DONE
    assert "gpaw" in out


@pytest.mark.slow
@pytest.mark.parametrize(
    ("sign", "code"), [(signal.SIGINT, ExitCode.INTERRUPTED), (signal.SIGTERM, ExitCode.TERMINATED)]
)
def test_a_signal_stops_with_one_sentence_and_the_rerun_resumes(set_options, tmp_path, sign, code):
    script = tmp_path / "slow_screen.py"
    script.write_text(SLOW_SCREEN)
    command = [sys.executable, str(script), "screen", "--no-dft", *set_options, "--set", "dft.engine=gpaw"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    wait_for(lambda: list(tmp_path.glob("results/*/shards/predictions/000000.parquet")), process)
    process.send_signal(sign)
    _, err = process.communicate(timeout=60)
    sentence = err.decode().strip()
    assert process.returncode == code
    assert sentence.startswith("Stopped. Everything finished is kept in ")
    assert sentence.count("\n") == 0
    (folder,) = (path.parent for path in tmp_path.glob("results/*/run.json"))
    assert json.loads((folder / "run.json").read_text())["status"] == "interrupted"

    answer = subprocess.run(
        [*PROGRAM, *command[2:]], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert f"Resuming the run {folder.name}" in answer.stdout
    assert (tmp_path / "results" / "latest").resolve() == folder.resolve()


# After the first shard the prediction hangs, as a big one would.
SLOW_SCREEN = """
import sys, time
from flows import pipeline
from flows.cli.program import main
original = pipeline.run_shard
def slow(stage, run, settings, shard, on_batch, prepared):
    if shard.index > 0:
        time.sleep(600)
    return original(stage, run, settings, shard, on_batch, prepared)
pipeline.run_shard = slow
main()
"""


def wait_for(condition, process, timeout_s=120):
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_train_hands_settings_and_folders_on(capfd, monkeypatch, tmp_path):
    asked = {}

    def train_edos(data, settings, folder, on_epoch, encoder_weights, stores, options):
        asked.update(data=data, settings=settings, folder=folder, encoder=encoder_weights, options=options)
        on_epoch({"epoch": 1, "valid": 0.5})
        return folder / "weights.safetensors"

    monkeypatch.setattr("mat2spec.training.runs.train_edos", train_edos)
    monkeypatch.setenv("MAT2SPEC_DATA_DIR", str(tmp_path))
    code, out, _ = say(
        capfd, "train", "edos", "--encoder-weights", "e.safetensors", "-s", "model=gatgnn", "-s", "epochs=3"
    )
    assert code == ExitCode.DONE
    assert (asked["data"], asked["encoder"]) == (tmp_path, Path("e.safetensors"))
    assert (asked["settings"].model, asked["settings"].epochs) == ("gatgnn", 3)
    assert asked["folder"] == Path("runs/gatgnn-edos-sumnorm-kl")
    assert "Weights: runs/gatgnn-edos-sumnorm-kl/weights.safetensors" in out
    assert "epoch 1/3  valid 0.5" in out


def test_tight_binding_is_trained_on_the_level_and_the_stores_that_are_named(capfd, monkeypatch, tmp_path):
    asked = {}

    def load_edos(data, graph_settings, stores, level):
        asked.update(data=data, stores=stores)
        return level

    def run_tight_binding(labels, settings, folder, on_epoch, unpolarised):
        asked.update(labels=labels, settings=settings, folder=folder, unpolarised=unpolarised)
        on_epoch({"epoch": 1, "seed": 0, "loss": 0.5})
        return folder / "weights.safetensors"

    monkeypatch.setattr("flows.commands.train.load_edos", load_edos)
    monkeypatch.setattr("flows.commands.train.run_tight_binding", run_tight_binding)
    words = ["train", "tight-binding", "--data", str(tmp_path), "--level", "mp", "--store", "mine.parquet"]
    code, out, _ = say(capfd, *words, "--no-shipped-store", "-s", "model.n_members=2", "-s", "epochs=3")
    assert code == ExitCode.DONE
    assert (asked["data"], asked["stores"]) == (tmp_path, [Path("mine.parquet")])
    assert (asked["settings"].model.n_members, asked["folder"]) == (2, Path("runs/tight-binding-mp"))
    assert (asked["labels"], asked["unpolarised"]) == ("mp", "unpolarised")
    assert asked["settings"].model.spin
    assert "Weights: runs/tight-binding-mp/weights.safetensors" in out


def test_train_hands_classes_and_parts_on(capfd, monkeypatch, tmp_path):
    asked = {}

    def train_phdos(data, settings, folder, on_epoch, pretraining, options):
        asked.update(folder=folder, options=options)
        return folder / "weights.safetensors"

    monkeypatch.setattr("mat2spec.training.runs.train_phdos", train_phdos)
    words = ["train", "phdos", "--data", str(tmp_path), "--fine-tune-from", "a/b.safetensors"]
    words += ["--elements", "O, Sr", "--exclude-elements", "Pb", "--n-elements", "3", "--space-group", "221"]
    assert say(capfd, *words, "--learning-curve", "0.5,1")[0] == ExitCode.DONE
    options = asked["options"]
    assert asked["folder"] == Path("runs/b-fine-tuned")
    assert options.subclass.model_dump() == {
        "elements": ("O", "Sr"),
        "exclude_elements": ("Pb",),
        "n_elements": 3,
        "space_group": 221,
    }
    assert options.fractions == (0.5, 1.0)
    for wrong, message in (
        (["--learning-curve", "a"], "learning curve 'a'"),
        (["--elements", "Xx"], "unknown element Xx"),
    ):
        code, _, err = say(capfd, "train", "phdos", "--data", str(tmp_path), *wrong)
        assert code == ExitCode.FAILED
        assert message in err


def test_a_stopped_training_says_how_to_resume(capfd, monkeypatch):
    def stop(*args, **given):
        raise KeyboardInterrupt

    monkeypatch.setattr("mat2spec.training.runs.train_phdos", stop)
    code, _, err = say(capfd, "train", "phdos", "--data", "anywhere", "--folder", "mine")
    assert code == ExitCode.INTERRUPTED
    assert "Stopped. Everything finished is kept in mine; run the same command again to resume." in err
