"""Settings of a screen."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from mat2spec.labels.edos_store import shipped_stores

if TYPE_CHECKING:
    from typing import Self

DEFAULT_ENDPOINT = "https://api.materialsproject.org/"
LOOPBACK_HOSTS = frozenset({"127.0.0.1", "::1", "localhost"})
# The server gives at most so many documents a page.
MAX_PAGE_SIZE = 1000
# The client of the Materials Project allows itself no more than this.
MAX_PARALLEL_REQUESTS = 4

Cells = Literal["relaxed", "initial"]


def default_cache_dir() -> Path:
    """Folder of the tables read from the Materials Project, in the user's cache."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "mat2spec-screening" / "materials-project"


class MaterialsProjectSettings(BaseModel):
    """How the Materials Project is asked. The API key is no setting: see `screening.sources.materials_project.api_key`."""

    mp_endpoint: str = Field(default=DEFAULT_ENDPOINT, description="Address of the Materials Project's API.")
    mp_cells: Cells = Field(
        default="relaxed", description="Cells after relaxation, or the first of the initial cells before it."
    )
    mp_include_gnome: bool = Field(
        default=False,
        description="Whether GNoME's crystals, under a non-commercial licence, are read too; the server gives them "
        "only to users who accepted its terms.",
    )
    mp_cache_dir: Path = Field(
        default_factory=default_cache_dir,
        description="Folder of the tables read from the Materials Project, one for each database version and query.",
    )
    mp_page_size: int = Field(default=MAX_PAGE_SIZE, ge=1, le=MAX_PAGE_SIZE, description="Documents in one answer.")
    mp_parallel_requests: int = Field(
        default=MAX_PARALLEL_REQUESTS, ge=1, le=MAX_PARALLEL_REQUESTS, description="Requests under way at a time."
    )
    mp_requests_per_second: float = Field(
        default=10.0, gt=0, le=25.0, description="Most requests a second, of all that are under way together."
    )
    mp_timeout_s: float = Field(default=60.0, gt=0, description="Longest wait for one answer, in seconds.")
    mp_patience_s: float = Field(
        default=300.0,
        ge=0,
        description="How long a request that fails is repeated, in seconds, before the reading stops.",
    )

    @field_validator("mp_endpoint")
    @classmethod
    def _safe_endpoint(cls, endpoint: str) -> str:
        parts = urlsplit(endpoint)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ValueError("mp_endpoint is no address; write e.g. https://api.materialsproject.org/")
        if parts.username or parts.password or parts.query:
            raise ValueError("mp_endpoint holds more than an address; the API key never goes there, see MP_API_KEY")
        if parts.scheme == "http" and parts.hostname not in LOOPBACK_HOSTS:
            raise ValueError("mp_endpoint would send the API key unencrypted; write https://")
        return endpoint if endpoint.endswith("/") else f"{endpoint}/"


class SourceSettings(MaterialsProjectSettings):
    """Which crystals are screened, and which of them have an eDOS already."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["catalogue", "parquet", "materials-project", "materials-project-open"] = Field(
        default="catalogue",
        description="The embedded catalogue, a Parquet table of crystals, the live Materials Project (API key in "
        "MP_API_KEY), or its open-data copy (no key).",
    )
    path: Path | None = Field(
        default=None,
        description="The Parquet table, with the columns material_id, lattice (9 numbers, Angstrom), frac_coords and "
        "atomic_numbers; formula, band_gap (eV) and energy_above_hull (eV/atom) are used where they are there.",
    )
    edos_store: Path | None = Field(
        default=None,
        description="Parquet table, or folder of them, whose material_id have an eDOS already and are not screened; "
        "for the embedded catalogue the labels that the project carries, if not given.",
    )
    limit: int | None = Field(default=None, ge=1, description="Take only the first so many materials of the source.")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.kind == "parquet" and self.path is None:
            raise ValueError("The source 'parquet' needs a path; give source.path.")
        return self

    @property
    def store_of_known_edos(self) -> Path | None:
        """Where eDOS are that are known already: models were trained on those of the catalogue, so they prove nothing."""
        shipped = shipped_stores() if self.kind == "catalogue" else []
        return self.edos_store or next(iter(shipped), None)


MATERIALS_PROJECT = "materials-project"


OPEN_DATA = "materials-project-open"
