"""All settings of a run in one class.

Each package defines its own part; here they are nested under the name of the stage that reads
them. `flows.settings_layers.load_settings` fills the class from a file, the environment and the
command line.
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from dft_validation.settings import DftSettings, LabelSettings, RemoteSettings
from flows.schedules import check_cron, check_timezone
from mat2spec.settings import PredictionSettings
from screening.settings import (
    ClassifySettings,
    EvaluationSettings,
    FilterSettings,
    GapSettings,
    SelectionSettings,
    SourceSettings,
)

ENVIRONMENT_PREFIX = "MAT2SPEC_"
ENVIRONMENT_DELIMITER = "__"
# Settings of other commands, and the folder of the runs.
NOT_OF_THE_RUN: dict[str, Any] = dict.fromkeys(("serve", "label", "remote", "results_dir", "dataset"), True)
# Settings that may differ between machines working on the same run.
OF_THE_MACHINE: dict[str, Any] = {
    "source": {
        "mp_cache_dir",
        "mp_timeout_s",
        "mp_patience_s",
        "mp_requests_per_second",
        "mp_parallel_requests",
    },
    "prediction": {
        "device",
        "max_edges_per_batch",
        "weights_dir",
        "scheduler",
        "descriptor_cache_dir",
        "descriptor_cache_gib",
    },
    "dft": {"workers", "cache_dir", "time_limit_s", "memory_limit_mib", "elk_command"},
}


class FunnelMode(StrEnum):
    """When a fast model stands before the accurate ones."""

    AUTO = "auto"
    ALWAYS = "always"
    NEVER = "never"


class FunnelSettings(BaseModel):
    """The funnel: a fast model reads every candidate, the accurate ones what may be a gapped metal."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    mode: FunnelMode = Field(
        default=FunnelMode.AUTO,
        description="always, never (`mat2spec screen --exhaustive`), or auto: from `from_candidates` candidates on.",
    )
    from_candidates: int = Field(default=30_000, ge=1, description="Candidates from which auto uses the funnel.")
    fast_model: str = Field(default="student", description="Model that reads every candidate.")
    max_accurate: int = Field(
        default=20_000,
        ge=0,
        description="Maximum number of candidates that the accurate models predict for their score.",
    )
    n_sample: int = Field(
        default=500,
        ge=0,
        description="Further candidates that they predict, drawn at random, to estimate what the funnel loses.",
    )
    seed: int = Field(default=2022, ge=0, description="Seed of that sample.")


class ServeSettings(BaseModel):
    """Where the Prefect server listens and when the served screen runs on schedule."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    host: str = Field(default="127.0.0.1", description="Address on which the Prefect server and its UI listen.")
    port: int = Field(default=4200, ge=1, le=65535, description="Port of the Prefect server and its UI.")
    home: Path | None = Field(
        default=None,
        description="Folder of the Prefect server (database, log); by default PREFECT_HOME, else prefect/ in results_dir. "
        "No two servers share one.",
    )
    public_url: str | None = Field(
        default=None,
        description="Address under which browsers on other machines reach the UI, e.g. http://desk.lab.example:4200; by default "
        "the name of this machine if host is 0.0.0.0.",
    )
    authentication: bool = Field(
        default=True,
        description="Whether the Prefect API asks for its secret. Without it, whoever reaches the port runs programs as you.",
    )
    cron: str = Field(default="0 2 * * 1", description="When the served screen runs on schedule: Mondays at 02:00.")
    timezone: str = Field(default="UTC", description="Time zone of the schedule.")
    schedule_active: bool = Field(
        default=False, description="Whether the schedule is active; otherwise the UI shows it as paused."
    )
    watch_cron: str = Field(
        default="17 * * * *",
        description="When the watcher checks the release of the source: every hour. A new release starts a screen of what "
        "is new.",
    )
    watch_active: bool = Field(
        default=False, description="Whether the watcher is active; otherwise the UI shows its schedule as paused."
    )
    collect_cron: str = Field(
        default="*/30 * * * *", description="When DFT jobs on other machines are collected: every half hour."
    )
    collect_active: bool = Field(
        default=False, description="Whether the collection is active; otherwise the UI shows its schedule as paused."
    )
    mp_api_limit: int = Field(
        default=1, ge=1, description="Runs of a work pool that read the Materials Project at the same time."
    )
    dft_limit: int = Field(default=1, ge=1, description="Runs of a work pool that compute DFT at the same time.")
    startup_timeout_s: float = Field(
        default=120.0, gt=0, description="Maximum wait for the Prefect server, in seconds."
    )

    _check_cron = field_validator("cron", "watch_cron", "collect_cron")(check_cron)
    _check_timezone = field_validator("timezone")(check_timezone)


class ScreenSettings(BaseSettings):
    """Settings of a screen, from the crystals to the precision and recall of the models."""

    model_config = SettingsConfigDict(
        extra="forbid",
        env_prefix=ENVIRONMENT_PREFIX,
        env_nested_delimiter=ENVIRONMENT_DELIMITER,
        nested_model_default_partial_update=True,
    )

    source: SourceSettings = Field(default_factory=SourceSettings, description="The crystals that are screened.")
    filters: FilterSettings = Field(default_factory=FilterSettings, description="Which crystals become candidates.")
    prediction: PredictionSettings = Field(default_factory=PredictionSettings, description="Models, device, batches.")
    funnel: FunnelSettings = Field(
        default_factory=FunnelSettings, description="A fast model before the accurate ones, for large sources."
    )
    gap: GapSettings = Field(default_factory=GapSettings, description="What counts as a gapped metal.")
    classify: ClassifySettings = Field(
        default_factory=ClassifySettings, description="What to search for, and what else is derived from spectra."
    )
    selection: SelectionSettings = Field(default_factory=SelectionSettings, description="Which candidates go to DFT.")
    dft: DftSettings = Field(default_factory=DftSettings, description="Engine and budget of the DFT calculations.")
    remote: RemoteSettings = Field(
        default_factory=RemoteSettings, description="Another machine for the DFT jobs: `mat2spec dft run --remote`."
    )
    evaluation: EvaluationSettings = Field(
        default_factory=EvaluationSettings, description="How predictions are compared with DFT."
    )
    serve: ServeSettings = Field(default_factory=ServeSettings, description="Prefect server and schedule.")
    label: LabelSettings = Field(default_factory=LabelSettings, description="Which crystals are labelled to train on.")
    results_dir: Path = Field(default=Path("results"), description="Folder with one subfolder per run.")
    dataset: str | None = Field(
        default=None,
        description="Folder or address (s3://bucket/folder, or any of fsspec) of one partitioned Parquet dataset to which the tables "
        "of every finished run are added.",
    )
    only_new: bool = Field(
        default=False,
        description="Screen only what no previous run in results_dir screened: new materials, changed structures. A run "
        "with nothing new ends at once. Previous runs count if they used the same weights, gap rule and kind of source.",
    )
    run_dft: bool = Field(default=True, description="Whether the queued DFT jobs are also run here.")

    def of_the_run(self) -> dict[str, Any]:
        """Settings that decide what a run computes, as plain JSON values; a run resumes if they are equal."""
        return self.model_dump(mode="json", exclude=NOT_OF_THE_RUN)

    def that_decide(self) -> dict[str, Any]:
        """The settings that decide what is computed, not where, how fast or within which limits of the machine.

        A stopped run may resume with other values of the rest: in another home, on more cores, with more time.
        """
        return self.model_dump(mode="json", exclude=NOT_OF_THE_RUN | OF_THE_MACHINE)
