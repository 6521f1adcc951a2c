"""Versions and requirements that are written in more than one place agree."""

import datetime as dt
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from mat2spec.settings import DATA_DIR, IS_CLONE, SHIPPED_STORE, default_store

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
# What neither `mat2spec predict` nor `mat2spec screen --no-dft` imports: server, Materials Project, VASP, training.
NOT_TO_PREDICT = {
    "atomate2",
    "deltalake",
    "fastapi",
    "jobflow",
    "lightning-fabric",
    "mp-api",
    "prefect",
    "sqlalchemy",
}
MODULES_OF_THESE = "atomate2 deltalake fastapi jobflow lightning_fabric mp_api prefect sqlalchemy emmet maggma pymongo"
# Runs the program as if these modules were not installed.
WITHOUT = """
import sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {modules}:
            raise ModuleNotFoundError(f"No module named '{{name}}'", name=name)
sys.meta_path.insert(0, Missing())
from flows.cli.program import run
sys.exit(run(sys.argv[1:]))
"""


def name_of(requirement):
    return re.match(r"[\w.-]+", requirement).group(0).lower()


def test_the_users_own_list_is_among_the_dependencies():
    names = {name_of(requirement) for requirement in PROJECT["dependencies"]}
    assert {
        "prefect",
        "torch",
        "torch-geometric",
        "pymatgen",
        "mp-api",
        "pandas",
        "pyarrow",
        "atomate2",
    } <= names


def test_the_list_for_prediction_is_the_dependencies_without_server_databases_and_vasp():
    lines = (ROOT / "requirements-predict.txt").read_text().splitlines()
    listed = [line for line in lines if not line.startswith("#")]
    assert listed == [needed for needed in PROJECT["dependencies"] if name_of(needed) not in NOT_TO_PREDICT]


@pytest.mark.parametrize(
    "command",
    [
        ["predict", "SrVO3.cif", "--model", "tight-binding", "--model", "gatgnn"],
        ["screen", "--no-dft", "--model", "gatgnn", "--set", "source.limit=60"],
    ],
    ids=["predict", "screen"],
)
def test_prediction_needs_nothing_else(command, tmp_path, strontium_vanadate_cif):
    (tmp_path / "SrVO3.cif").write_text(strontium_vanadate_cif)
    code = WITHOUT.format(modules=set(MODULES_OF_THESE.split()))
    done = subprocess.run(
        [sys.executable, "-c", code, *command], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_what_is_not_installed_is_named_in_a_sentence(tmp_path):
    code = WITHOUT.format(modules={"prefect"})
    done = subprocess.run(
        [sys.executable, "-c", code, "serve"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr.startswith("This command needs the Python package 'prefect'")
    assert "Traceback" not in done.stderr


def test_version_and_date_agree_in_project_citation_and_changelog():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    released = re.findall(r"^## \[(\d[^]]*)\] - (\S+)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    version, date = released[0]
    assert version == PROJECT["version"] == citation["version"]
    assert dt.date.fromisoformat(date) == dt.date.fromisoformat(citation["date-released"])


def test_no_file_of_the_project_names_a_package_index():
    hosts = ["pypi" + ".org", "pythonhosted" + ".org", "download.pytorch" + ".org", "--index" + "-url"]
    names = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\n")
    texts = {name: (ROOT / name).read_bytes() for name in names if (ROOT / name).is_file()}
    assert [name for name, text in texts.items() if any(host.encode() in text for host in hosts)] == []


def test_a_clone_reads_its_folder_of_data_and_adds_labels_to_it(monkeypatch):
    assert IS_CLONE
    assert ROOT.resolve() / "data" == DATA_DIR
    assert default_store(SHIPPED_STORE) == SHIPPED_STORE
    monkeypatch.setattr("mat2spec.settings.IS_CLONE", False)
    assert default_store(SHIPPED_STORE) == Path("data/edos_store.parquet")
