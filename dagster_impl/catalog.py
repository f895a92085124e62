"""Content of Dagster's catalog: tables and files, dbt's graph and tests, and their metadata.

The key of a table's asset is its schema and its name in the warehouse.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import dagster as dg
import duckdb
from dagster_dbt import DagsterDbtTranslator, DagsterDbtTranslatorSettings, DbtProject
from tabulate import tabulate

from ecommerce_pipeline.context import StepContext
from ecommerce_pipeline.contract import TABLE_BY_NAME, TABLES, Table
from ecommerce_pipeline.dbt_runner.manifest import manifest_file, project_folder, selected_nodes
from ecommerce_pipeline.result import StepResult
from ecommerce_pipeline.storage import warehouse
from ecommerce_pipeline.storage.duckdb_connection import connect_duckdb
from ecommerce_pipeline.storage.parquet import parquet_table

DEFAULT_ATTRIBUTES: dict[str, Any] = {"owners": ["team:data-platform"], "tags": {"daily": ""}}
PREVIEW_ROWS = 5
PERSONAL_COLUMNS = (
    "email",
    "name",
)  # never in a preview: the event log stores them for ever
HISTORY = dg.AssetKey(["snapshots", "snap_customers"])
CUSTOMERS = dg.AssetKey(["marts", "dim_customers"])
REVENUE = dg.AssetKey(["marts", "daily_revenue_by_category"])
_FILES_OF = {
    "loaded_intervals": list(TABLE_BY_NAME),
    **{f"deleted_{name}": [name] for name in TABLE_BY_NAME},
}

Result: TypeAlias = dg.MaterializeResult[Any]


def _manifest() -> Mapping[str, Any]:
    """dbt's manifest, in which what reads an ephemeral model reads the tables below it.

    dagster-dbt finds the origins of a column only in models that depend on tables alone.
    """
    manifest: dict[str, Any] = json.loads(manifest_file().read_text())
    nodes, parents = manifest["nodes"], manifest["parent_map"]

    def tables(unique_id: str) -> list[str]:
        if nodes.get(unique_id, {}).get("config", {}).get("materialized") != "ephemeral":
            return [unique_id]
        return [table for parent in parents[unique_id] for table in tables(parent)]

    for unique_id, node in nodes.items():
        read = [table for parent in node["depends_on"]["nodes"] for table in tables(parent)]
        parents[unique_id] = node["depends_on"]["nodes"] = list(dict.fromkeys(read))
    return manifest


MANIFEST = _manifest()


class Translator(DagsterDbtTranslator):
    """Groups are the warehouse's schemas; owners are those of the dbt groups, or the default."""

    def get_group_name(self, dbt_resource_props: Mapping[str, Any]) -> str:
        """The schema: raw, staging, snapshots or marts."""
        return str(dbt_resource_props["schema"])

    def get_owners(self, dbt_resource_props: Mapping[str, Any]) -> Sequence[str]:
        """The owner of the dbt group, if the node is in one."""
        return super().get_owners(dbt_resource_props) or DEFAULT_ATTRIBUTES["owners"]

    def get_asset_spec(
        self, manifest: Mapping[str, Any], unique_id: str, project: DbtProject | None
    ) -> dg.AssetSpec:
        """The node's asset."""
        spec = super().get_asset_spec(manifest, unique_id, project)
        # dbt has no such dependency; the specification records the history before any mart.
        return spec.merge_attributes(deps=[HISTORY]) if spec.key == CUSTOMERS else spec


TRANSLATOR = Translator(DagsterDbtTranslatorSettings(enable_asset_checks=False))
DBT: dict[str, Any] = {"manifest": MANIFEST, "dagster_dbt_translator": TRANSLATOR}
DBT_ASSETS = {**DBT, "project": DbtProject(project_folder())}  # for a selector's paths


def dbt_asset(unique_id: str) -> dg.AssetSpec:
    """The asset of a dbt source, model or snapshot."""
    return TRANSLATOR.get_asset_spec(MANIFEST, unique_id, None)


def _look(key: Sequence[str], group: str, description: str, *kinds: str) -> dg.AssetSpec:
    """An asset without its dependencies, which the pipeline states."""
    return dg.AssetSpec(
        key, description=description, group_name=group, kinds=set(kinds), **DEFAULT_ATTRIBUTES
    )


SOURCE_TABLES = [
    dg.AssetSpec(
        ["source", table.name],
        description=f"The table {table.name} of the operational database.",
        group_name="source",
        owners=["team:shop"],
    )
    for table in TABLES
]
PUBLISHED = _look(
    ["published_warehouse"],
    "published",
    "The published copy of the marts and the customers' history.",
    "duckdb",
    "parquet",
)
DASHBOARD = _look(
    ["sales_dashboard"], "published", "The page of revenue, orders and customers.", "html"
)
MESSAGE = _look(
    ["success_notification"], "published", "The message that the interval succeeded.", "slack"
)


def landing_file(table: Table) -> dg.AssetSpec:
    """The rows of a table that changed in an interval."""
    description = f"The rows of {table.name} that changed in the interval."
    return _look(["landing", table.name], "raw", description, "python", "parquet")


def raw_tables() -> list[dg.AssetSpec]:
    """The warehouse's raw tables, which are dbt's sources, each with its landing files."""
    return [_raw_table(node["unique_id"]) for node in MANIFEST["sources"].values()]


def _raw_table(unique_id: str) -> dg.AssetSpec:
    spec = dbt_asset(unique_id)
    loaded_from = _FILES_OF.get(spec.key.path[-1], [spec.key.path[-1]])
    return spec.replace_attributes(
        deps=[dg.AssetDep(["landing", name]) for name in loaded_from],
        kinds={"duckdb"},
        **DEFAULT_ATTRIBUTES,
    )


def source_checks() -> list[dg.AssetCheckSpec]:
    """That each source table is fresh."""
    return [
        dg.AssetCheckSpec("source_is_fresh", asset=table.key, blocking=True)
        for table in SOURCE_TABLES
    ]


def output_checks(marts: Iterable[dg.AssetKey]) -> list[dg.AssetCheckSpec]:
    """That rows and money of the marts reconcile with the source."""
    others = set(marts) - {REVENUE}
    return [
        dg.AssetCheckSpec("output_reconciles", asset=REVENUE, additional_deps=others, blocking=True)
    ]


def dbt_tests(selector: str) -> list[dg.AssetCheckSpec]:
    """The data tests of a dbt selector; those of models with severity error block downstream.

    Tests of sources and snapshots run after models that are downstream of these. They block what
    comes later by failing their step, as all tests do.
    """
    return [_dbt_test(MANIFEST["nodes"][node.unique_id]) for node in selected_nodes(selector)]


def _dbt_test(test: Mapping[str, Any]) -> dg.AssetCheckSpec:
    tested = tested_node(test)
    others = [node for node in test["depends_on"]["nodes"] if node != tested]
    is_error = test["config"]["severity"].lower() == "error"
    return dg.AssetCheckSpec(
        test["name"],
        asset=dbt_asset(tested).key,
        description=test["description"] or None,
        additional_deps=[dbt_asset(node).key for node in others],
        blocking=is_error and tested.startswith("model."),
    )


def tested_node(test: Mapping[str, Any]) -> str:
    """The node that a generic test is attached to, or the first that a singular test reads."""
    read = test["depends_on"]["nodes"]
    built = [node for node in read if not node.startswith("source.")]
    return str(test.get("attached_node") or [*built, *read][0])


def test_results(events: Iterable[object]) -> Iterator[dg.AssetCheckResult]:
    """dagster-dbt's events of a ``dbt test`` as results of the checks of ``dbt_tests``."""
    for event in events:
        if isinstance(event, dg.AssetCheckEvaluation):
            yield dg.AssetCheckResult(
                asset_key=event.asset_key,
                check_name=event.check_name,
                passed=event.passed,
                severity=event.severity,
                metadata=event.metadata,
            )


def one_result(
    checks: Iterable[dg.AssetCheckSpec], failure: dg.Failure | None = None
) -> Iterator[dg.AssetCheckResult]:
    """A step's own outcome for each of its checks."""
    for check in checks:
        yield dg.AssetCheckResult(
            asset_key=check.asset_key,
            check_name=check.name,
            passed=failure is None,
            description=str(failure) if failure else None,
        )


def loaded(step: StepContext, keys: Iterable[dg.AssetKey]) -> list[Result]:
    """Metadata of each raw table."""
    with warehouse.connect(step.run.warehouse, read_only=True) as connection:
        return [
            dg.MaterializeResult(
                asset_key=key,
                metadata={
                    **table_facts(connection, key),
                    **_same_columns(key.path[-1], "landing"),
                },
            )
            for key in keys
        ]


def landed(step: StepContext, table: Table) -> Result:
    """Metadata of a table's Parquet file."""
    file = step.run.landing_file(table.name, step.interval)
    with connect_duckdb() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        facts = _facts(connection.sql(f"FROM {parquet_table(file)}"))
    return dg.MaterializeResult(
        metadata={**facts, "bytes": file.stat().st_size, **_same_columns(table.name, "source")}
    )


def written(result: StepResult, path: Path) -> Result:
    """Metadata of the files that a step wrote."""
    files = [path] if path.is_file() else [found for found in path.rglob("*") if found.is_file()]
    size, where = sum(found.stat().st_size for found in files), dg.MetadataValue.path(path)
    return dg.MaterializeResult(metadata={"bytes": size, "path": where, **_reported(result)})


def reported(result: StepResult) -> Result:
    """What a step reports as metadata."""
    return dg.MaterializeResult(metadata=_reported(result))


def _reported(result: StepResult) -> dict[str, Any]:
    return {**{f"rows/{name}": count for name, count in result.rows.items()}, **result.details}


def table_facts(connection: duckdb.DuckDBPyConnection, key: dg.AssetKey) -> dict[str, Any]:
    """Name, bytes, rows, columns and a preview of a table of the warehouse."""
    schema, name = key.path
    facts = {"dagster/relation_identifier": f"warehouse.{schema}.{name}"}
    tables = connection.execute(
        "SELECT 1 FROM duckdb_tables() WHERE schema_name = ? AND table_name = ?", [schema, name]
    ).fetchall()
    if tables:  # a view has no stored bytes
        facts["bytes"] = connection.execute(
            "SELECT count(DISTINCT block_id) * (SELECT block_size FROM pragma_database_size())"
            " FROM pragma_storage_info(?) WHERE persistent",
            [f"{schema}.{name}"],
        ).fetchall()[0][0]
    return {**facts, **_facts(connection.sql(f'FROM "{schema}"."{name}"'))}


def _facts(relation: duckdb.DuckDBPyRelation) -> dict[str, Any]:
    hidden = ", ".join(f"'{name}'" for name in PERSONAL_COLUMNS)
    preview = relation.select(f"COLUMNS(lambda c: c NOT IN ({hidden}))").limit(PREVIEW_ROWS)
    table = tabulate(preview.fetchall(), preview.columns, tablefmt="github")
    columns = [
        dg.TableColumn(name, str(kind))
        for name, kind in zip(relation.columns, relation.types, strict=True)
    ]
    return {
        "dagster/row_count": relation.aggregate("count(*)").fetchall()[0][0],
        "dagster/column_schema": dg.TableSchema(columns),
        "preview": dg.MetadataValue.md(table),
    }


def _same_columns(table: str, schema: str) -> dict[str, dg.TableColumnLineage]:
    """The lineage of a source table's copy: each column is its namesake in ``schema``."""
    if table not in TABLE_BY_NAME:
        return {}
    origin = dg.AssetKey([schema, table])
    columns = TABLE_BY_NAME[table].column_names
    return {
        "dagster/column_lineage": dg.TableColumnLineage(
            {name: [dg.TableColumnDep(asset_key=origin, column_name=name)] for name in columns}
        )
    }
