"""The site is built without a warning, every page is in it, and no two pages say the same."""

import os
import re
import subprocess
import sys
import tomllib
from collections import defaultdict
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
MAIN = "from flows.cli.program import main; main()"
SHORTEST_REPEATED_WORDS = 12


def blocks(page, language):
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)


def anchors(page):
    """Names of the headings of a Markdown page, as GitHub makes them."""
    heads = re.findall(r"^#+ (.*)", page.read_text(encoding="utf-8"), re.MULTILINE)
    plain = [re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", re.sub(r"[`*]", "", head)).lower() for head in heads]
    return {re.sub(r"[^\w\- ]", "", head).replace(" ", "-") for head in plain}


def test_links_between_files_of_the_repository_lead_somewhere():
    pages = [*ROOT.glob("*.md"), *DOCS.rglob("*.md"), *(ROOT / "benchmarks").rglob("*.md")]
    lost = []
    for page in pages:
        text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
        for link in re.findall(r"\]\(([^)\s]+)\)", text):
            path, _, anchor = link.partition("#")
            target = (page.parent / path).resolve() if path else page
            is_known = not anchor or target.suffix != ".md" or anchor in anchors(target)
            if not link.startswith(("http", "mailto:")) and not (target.exists() and is_known):
                lost.append(f"{page.relative_to(ROOT)}: {link}")
    assert len(pages) > 20
    assert lost == []


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    pytest.importorskip("zensical", reason="the extra docs is not installed")
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, ROOT / "scripts" / "build_docs.py", folder]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.mark.slow
def test_the_tutorial_ran(site):
    page = (site / "docs" / "tutorial" / "index.html").read_text()
    assert "KScF3" in page
    assert "is not a crystal" in page
    (picture,) = (site / "docs").glob("output_*.png")
    assert picture.stat().st_size > 10_000
    assert str(ROOT) not in page


@pytest.mark.slow
def test_references_are_made_from_docstrings_settings_and_enums(site):
    reference = site / "docs" / "reference"
    assert "Predict spectra of pymatgen structures or ASE Atoms" in (reference / "python" / "index.html").read_text()
    assert "gap.dos_threshold_states_per_ev" in (reference / "settings" / "index.html").read_text()
    assert "test_prototype" in (reference / "words" / "index.html").read_text().lower()


@pytest.mark.slow
def test_examples_stand_on_the_pages_about_them(site):
    for name, words in {"own_classifier": "SHOULDER_EV", "own_model": "cubic_perovskite"}.items():
        assert words in (site / "docs" / "howto" / name / "index.html").read_text()


@pytest.mark.slow
def test_no_page_asks_another_server_for_anything(site):
    loaded = re.compile(
        r"<(?:script|img|iframe)[^>]+src=\"?(https?:[^\" >]+)|<link[^>]+stylesheet[^>]+href=\"?(https?:[^\" >]+)"
    )
    asked = {(page.name, found) for page in site.rglob("*.html") for found in loaded.findall(page.read_text())}
    assert asked == set()


def test_every_page_is_in_the_navigation():
    def pages(entries):
        for entry in entries:
            values = entry.values() if isinstance(entry, dict) else [entry]
            for value in values:
                yield from pages(value) if isinstance(value, list) else [value]

    named = set(pages(tomllib.loads((ROOT / "zensical.toml").read_text())["project"]["nav"]))
    made = {"docs/tutorial.md", "docs/reference/settings.md"}
    assert {str(page.relative_to(ROOT)) for page in DOCS.rglob("*.md")} | made <= named


def test_no_sentence_stands_on_two_pages():
    places = defaultdict(set)
    for page in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *DOCS.rglob("*.md")]:
        if page.name == "tables.md":  # descriptions of columns that several tables have
            continue
        prose = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
        for sentence in re.split(r"[.!?:|]\s|\n\n", prose):
            words = re.findall(r"\w+", sentence.lower())
            if len(words) >= SHORTEST_REPEATED_WORDS:
                places[" ".join(words)].add(page.name)
    assert {sentence: sorted(found) for sentence, found in places.items() if len(found) > 1} == {}


def test_a_table_of_crystals_is_written_as_the_page_says(tmp_path):
    code = "\n".join(blocks(DOCS / "howto" / "own_data.md", "python"))
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, check=True)
    screened = [sys.executable, "-c", MAIN, "screen", "--source", "crystals.parquet", "--dry-run"]
    told = subprocess.run(screened, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stderr
    assert "2" in told.stdout
