"""Write docs/tables.md from the schemas of the tables and the descriptions of their columns.

python scripts/write_tables_page.py
"""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from screening.runs.schemas import SCHEMAS, Field, TableName

PAGE = Path(__file__).resolve().parents[1] / "docs" / "tables.md"
INTRODUCTION = """# Tables of a run

`results/<run_id>/` holds one Parquet file per table; `mat2spec tables` shows them. This page is made from the schemas by
`python scripts/write_tables_page.py`.
"""


def page() -> str:
    """The page as Markdown."""
    return "\n".join([INTRODUCTION, *(section(name) for name in TableName)])


def section(name: TableName) -> str:
    """Heading, meaning and columns of one table."""
    rows = [
        f"| `{field.column}` | {_kind(field)} | {field.column.unit} | {_meaning(field)} |" for field in SCHEMAS[name]
    ]
    return "\n".join(
        [f"## {name}", "", name.description, "", "| column | type | unit | |", "|---|---|---|---|", *rows, ""]
    )


def _kind(field: Field) -> str:
    is_list = pa.types.is_list(field.type)
    return f"list of {field.type.value_type}" if is_list else str(field.type)


def _meaning(field: Field) -> str:
    return field.column.description if field.required else f"{field.column.description} (optional)"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
