"""Queries of a screen to the Materials Project, by the resters of mp-api over our own session.

mp-api knows the names of routes, fields and parameters. Three of its habits are replaced: its cached
`db_version` (a rerun must see a new one), its heartbeat without a time limit, and its own retries, which
end after seconds (`screening.sources.materials_project.session`).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

from pydantic import SecretStr

from screening.settings import MaterialsProjectSettings
from screening.sources.materials_project.api_key import hide
from screening.sources.materials_project.errors import AccessDeniedError, MaterialsProjectError
from screening.sources.materials_project.query import INITIAL_STRUCTURES_FIELD, Query
from screening.sources.materials_project.session import ApiSession

logger = logging.getLogger(__name__)

Document = dict[str, Any]

# The first contact fails early: a wrong address must not cost minutes of retries.
FIRST_PATIENCE_S = 10.0


class MaterialsProject:
    """The Materials Project as queried by a screen; `stop` ends the retrying of failed requests.

    Parameters
    ----------
    settings
        Address and limits.
    key
        The API key, see `screening.sources.materials_project.api_key.load_api_key`.
    """

    def __init__(self, settings: MaterialsProjectSettings, key: SecretStr) -> None:
        self._settings = settings
        self._key = key
        self._session = ApiSession(settings, key)

    def stop(self) -> None:
        """Stop retrying failed requests."""
        self._session.stop()

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    def first_db_version(self) -> str:
        """Version of the database; a missing server is detected within seconds."""
        return self.db_version(min(FIRST_PATIENCE_S, self._settings.mp_patience_s))

    def db_version(self, patience_s: float | None = None) -> str:
        """Version of the database now, e.g. "2026.11.1".

        Raises
        ------
        MaterialsProjectError
            If the server cannot be reached, or is not a Materials Project API.
        """
        patience = self._settings.mp_patience_s if patience_s is None else patience_s
        try:
            return self._version_of_heartbeat(patience)
        except AccessDeniedError as refused:
            version = self._version_of_data(patience)
            if version is None:
                raise
            logger.info("%s The version of the database is taken from its newest document.", refused)
            return version

    def _version_of_heartbeat(self, patience: float) -> str:
        url = f"{self._settings.mp_endpoint}heartbeat"
        # Public: no key is sent.
        answer = self._session.request("GET", url, headers={"x-api-key": None}, patience_s=patience)
        version = answer.json().get("db_version")
        if not version or not isinstance(version, str):
            raise MaterialsProjectError(
                f"{url} gives no db_version: source.mp_endpoint is not a Materials Project API. Correct it."
            )
        return version

    def _version_of_data(self, patience: float) -> str | None:
        """Version that the newest document names, for networks that block the heartbeat; None without a key to it."""
        parameters = {"_limit": 1, "_fields": "builder_meta", "_sort_fields": "-material_id"}
        url = f"{self._settings.mp_endpoint}materials/summary/"
        try:
            answer = self._session.request("GET", url, params=parameters, patience_s=patience)
            version = answer.json()["data"][0]["builder_meta"]["database_version"]
        except (MaterialsProjectError, LookupError, TypeError):
            return None
        return version if isinstance(version, str) and version else None

    def count(self, criteria: dict[str, Any]) -> int:
        """Number of summary documents that match criteria, as counted by the server."""
        return self._ask(lambda: int(self._summary.count({**criteria, "_limit": 1})))

    def page(self, query: Query, number: int, size: int, fields: Sequence[str]) -> list[Document]:
        """One page of the summary documents of a query, sorted by identifier; `number` counts from 0."""
        return self._ask(
            lambda: self._summary.search(
                **query.arguments(),
                fields=list(fields),
                chunk_size=size,
                num_chunks=1,
                _page=number + 1,
                _sort_fields="material_id",
            )
        )

    def summaries(self, material_ids: Sequence[str], query: Query) -> list[Document]:
        """The summary documents of materials, regardless of their properties."""
        return self._ask(
            lambda: self._summary.search(
                material_ids=list(material_ids),
                deprecated=False,
                include_gnome=query.include_gnome,
                fields=query.fields,
                chunk_size=len(material_ids),
                num_chunks=1,
            )
        )

    def initial_structures(self, material_ids: Sequence[str]) -> list[Document]:
        """`material_id` and `initial_structures` of materials."""
        return self._ask(
            lambda: self._core.search(
                material_ids=list(material_ids),
                fields=["material_id", INITIAL_STRUCTURES_FIELD],
                chunk_size=len(material_ids),
                num_chunks=1,
            )
        )

    def _ask(self, question: Callable[[], Any]) -> Any:
        """Send a query; objections of mp-api itself become a sentence without the key."""
        from mp_api.client.core.exceptions import MPRestError

        try:
            return question()
        except MPRestError as error:
            message = hide(self._key, str(error)).strip().replace("\n", " ")
            raise MaterialsProjectError(
                f"mp-api rejects the query ({message[:200]}); install the version given in constraints.txt."
            ) from None

    @cached_property
    def _summary(self) -> Any:
        from mp_api.client.routes.materials.summary import SummaryRester

        return self._rester(SummaryRester)

    @cached_property
    def _core(self) -> Any:
        from mp_api.client.routes.materials.materials import MaterialsRester

        return self._rester(MaterialsRester)

    def _rester(self, rester: type[Any]) -> Any:
        """A rester of mp-api that makes no requests of its own and determines its field names once."""
        version = self.db_version()

        class QuietRester(rester):  # type: ignore[misc]
            @staticmethod
            def _get_heartbeat_info(endpoint: str) -> tuple[str, list[str]]:  # noqa: ARG004  mp-api's signature
                return version, []

            @cached_property
            def available_fields(self) -> list[str]:
                return super().available_fields

        return QuietRester(
            api_key=self._key.get_secret_value(),
            endpoint=self._settings.mp_endpoint,
            session=self._session,
            use_document_model=False,
            mute_progress_bars=True,
            timeout=self._settings.mp_timeout_s,
        )
