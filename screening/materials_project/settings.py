"""Settings of the live Materials Project: where it is, which cells, how hard it may be asked."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, Field, field_validator

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
    """How the Materials Project is asked. The API key is no setting: see `screening.materials_project.api_key`."""

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
