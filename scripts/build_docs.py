"""Build the site: pages of docs/ and the Markdown beside the code, the tutorial executed, references from docstrings.

    python scripts/build_docs.py [FOLDER]

The site goes to build/site if no folder is given. A warning, such as a link to nowhere, ends the build with an error. Pages
are laid out as in the repository, so that a link which works there works on the site.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
from nbconvert import MarkdownExporter
from nbconvert.preprocessors import ExecutePreprocessor

from flows.settings_layers import known_fields

ROOT = Path(__file__).resolve().parents[1]
# Zensical reads the pages here, see zensical.toml.
PAGES = ROOT / "build" / "pages"
SITE = ROOT / "build" / "site"
# What pages link to.
SOURCES = ("*.md", "LICENSE", "CITATION.cff", "docs/**/*", "examples/*.py", "benchmarks/**/*.md", "benchmarks/**/*.png")
TUTORIAL = Path("docs") / "tutorial.ipynb"
SETTINGS = Path("docs") / "reference" / "settings.md"
CELL_TIMEOUT_S = 240
SETTINGS_INTRODUCTION = """# Settings

`--set KEY=VALUE` sets one for a command, `--config FILE` many (YAML, nested at the dots), and the environment too
(`MAT2SPEC_FILTERS__N_ELEMENTS_MAX=3`). `mat2spec settings WORD` prints those of a group, or that have the word, and where their values come from.
An unknown name is refused.
"""


def build(site: Path) -> None:
    """Lay the pages out, execute the tutorial, let Zensical make the site."""
    shutil.rmtree(PAGES, ignore_errors=True)
    for pattern in SOURCES:
        for source in filter(Path.is_file, ROOT.glob(pattern)):
            _copy(source)
    for card in (ROOT / "mat2spec" / "weights").glob("*.md"):
        _copy(card)
    write_tutorial(ROOT / TUTORIAL, (PAGES / TUTORIAL).with_suffix(".md"))
    (PAGES / TUTORIAL).unlink()
    (PAGES / SETTINGS).write_text(settings_page(), encoding="utf-8")
    subprocess.run([Path(sys.executable).with_name("zensical"), "build", "--strict", "--clean"], cwd=ROOT, check=True)
    if site != SITE:
        shutil.copytree(SITE, site, dirs_exist_ok=True)


def write_tutorial(notebook: Path, page: Path) -> None:
    """Execute a notebook and write it as a page with its pictures beside it.

    Raises
    ------
    nbclient.exceptions.CellExecutionError
        If a cell fails.
    """
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    # No widget is wanted on a page.
    os.environ.setdefault("PYTHONWARNINGS", "ignore:IProgress not found")
    cells = nbformat.read(notebook, as_version=4)
    ExecutePreprocessor(timeout=CELL_TIMEOUT_S, kernel_name="python3").preprocess(cells, {"metadata": {"path": ROOT}})
    text, resources = MarkdownExporter().from_notebook_node(cells)
    page.write_text(text, encoding="utf-8")
    for name, picture in resources["outputs"].items():
        (page.parent / name).write_bytes(picture)


def settings_page() -> str:
    """Every setting with its default and its description, a table for each class."""
    lines, group = [SETTINGS_INTRODUCTION], ""
    for key, field in known_fields().items():
        if key.rpartition(".")[0] != group or not lines[1:]:
            group = key.rpartition(".")[0]
            lines += ["", f"## {group or 'A run'}", "", "| setting | default | |", "|---|---|---|"]
        default = str(field.get_default(call_default_factory=True, validated_data={}))
        shown = default.replace(str(ROOT), ".").replace(str(Path.home()), "~")
        lines.append(f"| `{key}` | `{_in_table(shown)}` | {_in_table(field.description or '')} |")
    return "\n".join([*lines, ""])


def _in_table(text: str) -> str:
    return text.replace("|", "\\|")


def _copy(source: Path) -> None:
    target = PAGES / source.relative_to(ROOT)
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.suffix == ".md":
        # In the repository a link goes to the notebook, on the site to the page that is made of it.
        text = source.read_text(encoding="utf-8").replace(f"{TUTORIAL.name})", f"{TUTORIAL.stem}.md)")
        target.write_text(text, encoding="utf-8")
        return
    shutil.copyfile(source, target)


if __name__ == "__main__":
    build(Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else SITE)
