"""Settings of a screen."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator

from mat2spec.settings import DATA_DIR, LARGEST_METAL_GAP_EV, SHIPPED_STORE, cache_dir

if TYPE_CHECKING:
    from collections.abc import Collection
    from typing import Self


CATALOGUE_PATH = DATA_DIR / "catalogue.parquet"
Unknown = Literal["keep", "drop"]
DEFAULT_ENDPOINT = "https://api.materialsproject.org/"
LOOPBACK_HOSTS = frozenset({"127.0.0.1", "::1", "localhost"})
# The server's maximum number of documents per page.
MAX_PAGE_SIZE = 1000
# The limit of the Materials Project's own client.
MAX_PARALLEL_REQUESTS = 4

Cells = Literal["relaxed", "initial"]


class SourceKind(StrEnum):
    """Kinds of sources of crystals, as they are named in settings, tables and reports."""

    CATALOGUE = "catalogue"
    PARQUET = "parquet"
    FILES = "files"
    MATERIALS_PROJECT = "materials-project"
    OPEN_DATA = "materials-project-open"


class MaterialsProjectSettings(BaseModel):
    """How the Materials Project is queried. The API key is not a setting: see `screening.sources.materials_project.api_key`."""

    mp_endpoint: str = Field(default=DEFAULT_ENDPOINT, description="Address of the Materials Project's API.")
    mp_cells: Cells = Field(
        default="relaxed", description="Relaxed cells, or the first of the initial cells before relaxation."
    )
    mp_include_gnome: bool = Field(
        default=False,
        description="Whether GNoME's crystals, under a non-commercial licence, are read too; the server provides them "
        "only to users who have accepted its terms.",
    )
    mp_cache_dir: Path = Field(
        default_factory=lambda: cache_dir(SourceKind.MATERIALS_PROJECT),
        description="Folder of the tables read from the Materials Project, one per database version and query.",
    )
    mp_page_size: int = Field(default=MAX_PAGE_SIZE, ge=1, le=MAX_PAGE_SIZE, description="Documents per response.")
    mp_parallel_requests: int = Field(
        default=MAX_PARALLEL_REQUESTS,
        ge=1,
        le=MAX_PARALLEL_REQUESTS,
        description="Maximum number of parallel requests.",
    )
    mp_requests_per_second: float = Field(
        default=10.0, gt=0, le=25.0, description="Maximum requests per second, counting parallel ones."
    )
    mp_timeout_s: float = Field(default=60.0, gt=0, description="Maximum wait for a response, in seconds.")
    mp_patience_s: float = Field(
        default=300.0,
        ge=0,
        description="How long a failing request is retried, in seconds, before reading stops.",
    )

    @field_validator("mp_endpoint")
    @classmethod
    def _safe_endpoint(cls, endpoint: str) -> str:
        parts = urlsplit(endpoint)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ValueError("mp_endpoint is not an address; write e.g. https://api.materialsproject.org/")
        if parts.username or parts.password or parts.query:
            raise ValueError(
                "mp_endpoint contains more than an address; the API key does not belong there, see MP_API_KEY"
            )
        if parts.scheme == "http" and parts.hostname not in LOOPBACK_HOSTS:
            raise ValueError("mp_endpoint would send the API key unencrypted; write https://")
        return endpoint if endpoint.endswith("/") else f"{endpoint}/"


class SourceSettings(MaterialsProjectSettings):
    """Which crystals are screened, and which of them already have an eDOS."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: SourceKind = Field(
        default=SourceKind.CATALOGUE,
        description="The embedded catalogue, a Parquet table of crystals, files of crystals, the live Materials Project (API "
        "key in MP_API_KEY), or its open-data copy (no key).",
    )
    path: Path | None = Field(
        default=None,
        description="The Parquet table, with the columns material_id, lattice (9 numbers, Angstrom), frac_coords and "
        "atomic_numbers; formula, band_gap (eV) and energy_above_hull (eV/atom) are used where present. Of files: one "
        "file, a folder, a pattern such as runs/**/CONTCAR; or identifiers such as mp-149,mp-150, or a text file of them, which "
        "are looked up in previous runs, the catalogue and the Materials Project.",
    )
    edos_store: Path | None = Field(
        default=None,
        description="Parquet table or folder of tables with the material_id of materials that already have an eDOS and are not "
        "screened; by default, for the embedded catalogue, the labels that ship with the project.",
    )
    limit: int | None = Field(default=None, ge=1, description="Use only the first this many materials of the source.")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.kind in {SourceKind.PARQUET, SourceKind.FILES} and self.path is None:
            raise ValueError(f"The source '{self.kind}' needs a path; give source.path.")
        return self

    @property
    def store_of_known_edos(self) -> Path | None:
        """Store of known eDOS; the models were trained on those of the catalogue, which can therefore not validate them."""
        is_shipped = self.kind is SourceKind.CATALOGUE and SHIPPED_STORE.exists()
        return self.edos_store or (SHIPPED_STORE if is_shipped else None)


class FilterSettings(BaseModel):
    """Which materials are predicted. Limits are inclusive; None means no limit."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    energy_above_hull_max_ev_per_atom: float | None = Field(
        default=0.1, allow_inf_nan=False, description="Maximum energy above the convex hull, in eV per atom."
    )
    unknown_energy_above_hull: Unknown = Field(
        default="keep", description="Keep or drop materials whose energy above the hull is not known."
    )
    n_elements_min: int = Field(default=1, description="Minimum number of different elements.")
    n_elements_max: int | None = Field(
        default=5, description="Maximum number of different elements; predictions get worse with more."
    )
    band_gap_min_ev: float = Field(default=0.0, allow_inf_nan=False, description="Minimum band gap in eV.")
    band_gap_max_ev: float | None = Field(
        default=LARGEST_METAL_GAP_EV,
        allow_inf_nan=False,
        description="Maximum band gap in eV; materials up to 0.05 eV count as metals.",
    )
    unknown_band_gap: Unknown = Field(default="keep", description="Keep or drop materials whose band gap is not known.")
    n_sites_max: int | None = Field(
        default=200, description="Maximum number of sites in the cell; predictions get worse and slower with more."
    )
    allowed_elements: tuple[str, ...] | None = Field(
        default=None, description="Symbols of the only elements allowed, e.g. [Sr, V, O]; None allows all."
    )
    excluded_elements: tuple[str, ...] = Field(
        default=(), description="Symbols of elements that no candidate may contain, e.g. [Tc, U]."
    )

    @field_validator(
        "energy_above_hull_max_ev_per_atom", "n_elements_max", "band_gap_min_ev", "band_gap_max_ev", "n_sites_max"
    )
    @classmethod
    def _not_negative(cls, value: float | None, info: ValidationInfo) -> float | None:
        if value is not None and value < 0:
            raise ValueError(f"{info.field_name} = {value:g} is negative: nothing would pass; give zero or more.")
        return value

    @field_validator("allowed_elements", "excluded_elements")
    @classmethod
    def _known_symbols(cls, symbols: tuple[str, ...] | None, info: ValidationInfo) -> tuple[str, ...] | None:
        unknown = unknown_symbols(symbols or ())
        if unknown:
            raise ValueError(
                f"{info.field_name}: {', '.join(unknown)} is not a chemical element; write symbols like Fe."
            )
        return symbols

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        _refuse_crossed("n_elements_min", self.n_elements_min, "n_elements_max", self.n_elements_max)
        _refuse_crossed("band_gap_min_ev", self.band_gap_min_ev, "band_gap_max_ev", self.band_gap_max_ev)
        _refuse_crossed("the smallest possible number of sites", 1, "n_sites_max", self.n_sites_max)
        _refuse_crossed("the smallest possible number of elements", 1, "n_elements_min", self.n_elements_min)
        if self.allowed_elements is not None:
            self._check_allowed(set(self.allowed_elements))
        return self

    def _check_allowed(self, allowed: set[str]) -> None:
        both = sorted(allowed & set(self.excluded_elements))
        if both:
            raise ValueError(f"{', '.join(both)} is both allowed and excluded; remove it from one of the two.")
        if len(allowed) < self.n_elements_min:
            raise ValueError(
                f"allowed_elements names {len(allowed)} elements but n_elements_min = {self.n_elements_min}: "
                "nothing can pass; allow more elements or lower n_elements_min."
            )


def _refuse_crossed(low_name: str, low: float, high_name: str, high: float | None) -> None:
    if high is not None and low > high:
        raise ValueError(
            f"{high_name} = {high:g} is below {low_name} = {low:g}: nothing would pass; change one of them."
        )


def unknown_symbols(symbols: Collection[str]) -> list[str]:
    """The given strings that are not symbols of chemical elements."""
    if not symbols:
        return []
    from pymatgen.core.periodic_table import Element

    return [symbol for symbol in symbols if not Element.is_valid_symbol(symbol)]


class SelectionSettings(BaseModel):
    """How many materials go to DFT, and which are eligible."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    max_positives: int = Field(
        default=12, ge=0, description="Most confident predicted gapped metals to compute, over all models together."
    )
    n_random_positives: int = Field(
        default=4,
        ge=0,
        description="Random materials to compute among the other predicted gapped metals, which they represent.",
    )
    n_random_negatives: int = Field(
        default=8,
        ge=0,
        description="Random materials to compute among those that every model calls negative, for the recall.",
    )
    max_sites: int | None = Field(
        default=8,
        ge=1,
        description="Materials with more sites per primitive cell are not chosen for DFT; None: no limit.",
    )
    allow_outside: bool = Field(
        default=False,
        description="Choose also materials whose predictions are all outside of what the models know (trust).",
    )
    seed: int = Field(default=2022, ge=0, description="Seed of the random sample.")


class GapSettings(BaseModel):
    """What counts as a gap in the valence band, and what as a metal."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    dos_threshold_states_per_ev: float = Field(
        default=0.7,
        gt=0,
        allow_inf_nan=False,
        description="A bin belongs to a gap if its DOS is below this, in states/eV per primitive cell: the published rule.",
    )
    per_atom: bool = Field(
        default=False,
        description="Apply the two thresholds per atom instead: fairer to large cells, whose DOS grows with the number of "
        "sites.",
    )
    dos_threshold_states_per_ev_per_atom: float = Field(
        default=0.14,
        gt=0,
        allow_inf_nan=False,
        description="DOS threshold of a gap in states/eV per atom, if per_atom; chosen to agree best with the one per primitive "
        "cell in cells of up to eight atoms.",
    )
    min_width_ev: float = Field(
        default=1.0,
        gt=0,
        allow_inf_nan=False,
        description="Minimum width of a gap in eV, rounded up to whole bins: 1.0 eV is 16 bins of 8/127 eV.",
    )
    top_min_ev: float = Field(
        default=-1.0,
        allow_inf_nan=False,
        description="The last bin of a gap must reach above this energy relative to E_F, in eV.",
    )
    top_max_ev: float = Field(
        default=-0.3,
        allow_inf_nan=False,
        description="The last bin of a gap must begin at or below this energy relative to E_F, in eV.",
    )
    metal_dos_threshold_states_per_ev: float = Field(
        default=0.1,
        gt=0,
        allow_inf_nan=False,
        description="A metal has at least this DOS, in states/eV per primitive cell, in every stretch just above E_F.",
    )
    metal_dos_threshold_states_per_ev_per_atom: float = Field(
        default=0.028,
        gt=0,
        allow_inf_nan=False,
        description="DOS threshold of a metal in states/eV per atom, if per_atom; chosen to agree best with the one per "
        "primitive cell in cells of up to eight atoms.",
    )
    metal_window_ev: float = Field(
        default=0.3,
        gt=0,
        allow_inf_nan=False,
        description="Length in eV of the window that starts at E_F in which a metal has no empty stretch.",
    )
    metal_stretch_ev: float = Field(
        default=0.15,
        gt=0,
        allow_inf_nan=False,
        description="Length in eV of an empty stretch, rounded up to whole bins; narrower band gaps count as metals.",
    )
    min_probability: float | None = Field(
        default=None,
        gt=0,
        le=1,
        description="Calibrated probability from which a predicted metal is called a gapped metal; by default the one "
        "chosen for F1 on held-out labels (docs/metals.md). Computed spectra follow the rule.",
    )
    confidence_factor: float = Field(
        default=3.0,
        gt=1,
        allow_inf_nan=False,
        description="Confidence is the fraction of thresholds, up to this factor either side, at which the rule holds.",
    )
    confidence_steps: int = Field(
        default=41, ge=3, le=1001, description="Number of thresholds tried for the confidence, spaced logarithmically."
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.top_min_ev > self.top_max_ev:
            raise ValueError(
                f"top_min_ev = {self.top_min_ev:g} lies above top_max_ev = {self.top_max_ev:g}: "
                "no gap can end in an empty window; swap the two."
            )
        if self.top_max_ev >= 0:
            raise ValueError(
                f"top_max_ev = {self.top_max_ev:g} is not below E_F: a gap in the valence band of a metal ends "
                "below E_F; give a negative energy."
            )
        if self.metal_stretch_ev > self.metal_window_ev:
            raise ValueError(
                f"metal_stretch_ev = {self.metal_stretch_ev:g} is longer than metal_window_ev = "
                f"{self.metal_window_ev:g}: a stretch must fit into the window; make it shorter."
            )
        return self

    @property
    def threshold_field(self) -> str:
        """Name of the setting that holds the DOS threshold of a gap."""
        return "dos_threshold_states_per_ev_per_atom" if self.per_atom else "dos_threshold_states_per_ev"

    @property
    def dos_threshold(self) -> float:
        """DOS threshold of a gap, in states/eV per primitive cell, or per atom if `per_atom`."""
        return self.dos_threshold_states_per_ev_per_atom if self.per_atom else self.dos_threshold_states_per_ev

    @property
    def metal_dos_threshold(self) -> float:
        """DOS threshold of a metal, in states/eV per primitive cell, or per atom if `per_atom`."""
        if self.per_atom:
            return self.metal_dos_threshold_states_per_ev_per_atom
        return self.metal_dos_threshold_states_per_ev

    def describe(self) -> str:
        """The gap rule in a few words, for the column `gap_rule` of a table."""
        unit = "states/eV per atom" if self.per_atom else "states/eV per cell"
        return (
            f"DOS < {self.dos_threshold:g} {unit} over {self.min_width_ev:g} eV, "
            f"top {self.top_min_ev:g} to {self.top_max_ev:g} eV"
        )


class ClassifySettings(BaseModel):
    """What is derived from spectra besides gaps, and what counts as a hit."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    target: str = Field(
        default="is_gapped_metal",
        min_length=1,
        description="What to search for: an SQL condition on the columns of classifications and candidates, such as "
        "\"gapped_metal_type = 'p' and carriers_per_cm3 > 1e20\"; `mat2spec screen --where` sets it. DFT results are "
        "classified by the same condition.",
    )
    rank_by: str = Field(
        default="gapped_metal_confidence",
        min_length=1,
        description="Numeric column of classifications by which hits are ranked, largest first.",
    )
    functions: tuple[str, ...] = Field(
        default=(),
        description="Classifiers of your own, as package.module:function or file.py:function: see "
        "examples/own_classifier.py. Their columns join the classifications, and targets may use them.",
    )
    semimetal_dos_per_atom: float = Field(
        default=0.05,
        ge=0,
        allow_inf_nan=False,
        description="A metal with less DOS at E_F, in states/eV per atom, is called a semimetal (Be has 0.07, graphite 0.005).",
    )
    narrow_band_ev: float = Field(
        default=1.0,
        ge=0,
        allow_inf_nan=False,
        description="A metal whose partly filled band is narrower than this, in eV, may be a false one: the repulsion of the "
        "electrons in d and f shells is a few eV.",
    )
    insulator_gap_ev: float = Field(
        default=3.0,
        gt=0,
        allow_inf_nan=False,
        description="Minimum gap of an insulator, in eV; materials with a smaller gap are semiconductors.",
    )
    class_confidence_min: float = Field(
        default=0.9,
        ge=0.5,
        le=1,
        description="Probability of a metal, or of a non-metal, below which the electronic class of a predicted material is "
        "'unsure'.",
    )


class EvaluationSettings(BaseModel):
    """How models are compared with DFT."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    confidence_level: float = Field(
        default=0.95, gt=0, lt=1, description="Confidence level of the intervals of precision, recall, F1 and MCC."
    )
    n_draws: int = Field(
        default=4000, ge=100, description="Number of random tables for the intervals that have no closed form."
    )
    seed: int = Field(default=2022, ge=0, description="Seed of those random tables.")
    curve_threshold_factors: tuple[float, ...] = Field(
        default=(0.25, 0.35, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.25, 1.5, 1.75, 2.0, 2.5, 3.0, 4.0),
        description="Factors on the DOS threshold of a gap in the table of the threshold curve.",
    )
    curve_top_min_ev: tuple[float, ...] = Field(
        default=(-1.5, -1.0, -0.7), description="Values of gap.top_min_ev in that table, in eV."
    )
    curve_min_width_ev: tuple[float, ...] = Field(
        default=(0.5, 1.0, 1.5), description="Values of gap.min_width_ev in that table, in eV."
    )
