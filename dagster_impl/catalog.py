"""Content of Dagster's catalog: tables and files, dbt's graph and tests, and their metadata.

The key of a table's asset is its schema and its name in the warehouse.
"""

import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import dagster as dg
import duckdb
from dagster_dbt import DagsterDbtTranslator, DagsterDbtTranslatorSettings, DbtProject
from sqlglot import exp
from sqlglot.errors import SqlglotError
from sqlglot.lineage import Node, lineage
from tabulate import tabulate

from ecommerce_pipeline.context import StepContext
from ecommerce_pipeline.contract import TABLE_BY_NAME, Table
from ecommerce_pipeline.dbt_runner.manifest import manifest_file
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
MANIFEST: Mapping[str, Any] = json.loads(manifest_file().read_text())
HISTORY = dg.AssetKey(["snapshots", "snap_customers"])
CUSTOMERS = dg.AssetKey(["marts", "dim_customers"])
_FILES_OF = {
    "loaded_intervals": list(TABLE_BY_NAME),
    **{f"deleted_{name}": [name] for name in TABLE_BY_NAME},
}

Result: TypeAlias = dg.MaterializeResult[Any]
CheckResults: TypeAlias = Callable[[StepContext, dg.Failure | None], Iterable[dg.AssetCheckResult]]


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


def dbt_asset(unique_id: str) -> dg.AssetSpec:
    """The asset of a dbt source, model or snapshot."""
    return TRANSLATOR.get_asset_spec(MANIFEST, unique_id, None)


def dbt_tests(selector: str) -> list[dg.AssetCheckSpec]:
    """The data tests of a dbt selector; those of models with severity error block downstream.

    Tests of sources and snapshots run after models that are downstream of these. They block what
    comes later by failing their step, as all tests do.
    """
    of_staging = selector == "staging_tests"  # dagster-dbt cannot evaluate its ``path:``
    return [
        _check(node)
        for node in MANIFEST["nodes"].values()
        if node["resource_type"] == "test" and ("staging" in node["fqn"]) == of_staging
    ]


def _check(test: Mapping[str, Any]) -> dg.AssetCheckSpec:
    tested = _tested_node(test)
    others = [node for node in test["depends_on"]["nodes"] if node != tested]
    is_error = test["config"]["severity"].lower() == "error"
    return dg.AssetCheckSpec(
        test["name"],
        asset=dbt_asset(tested).key,
        description=test["description"] or None,
        additional_deps=[dbt_asset(node).key for node in others],
        blocking=is_error and tested.startswith("model."),
    )


def _tested_node(test: Mapping[str, Any]) -> str:
    """The node that a generic test is attached to, or the first that a singular test reads."""
    read = test["depends_on"]["nodes"]
    built = [node for node in read if not node.startswith("source.")]
    return str(test.get("attached_node") or [*built, *read][0])


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


def dbt_results(selector: str) -> CheckResults:
    """The result of each test that dbt ran for the selector; none when dbt could not start."""

    def results(step: StepContext, _: dg.Failure | None) -> Iterable[dg.AssetCheckResult]:
        for result in _dbt_results(step, selector):
            test = MANIFEST["nodes"][result["unique_id"]]
            warns = result["status"] == "warn"
            yield dg.AssetCheckResult(
                asset_key=dbt_asset(_tested_node(test)).key,
                check_name=test["name"],
                passed=result["status"] == "pass",
                severity=dg.AssetCheckSeverity.WARN if warns else dg.AssetCheckSeverity.ERROR,
                metadata={"failing_rows": result["failures"] or 0, "query": _code(result)},
            )

    return results


def one_result(checks: Iterable[dg.AssetCheckSpec]) -> CheckResults:
    """The step's own outcome for each of its checks."""

    def results(_: StepContext, failure: dg.Failure | None) -> Iterable[dg.AssetCheckResult]:
        for check in checks:
            yield dg.AssetCheckResult(
                asset_key=check.asset_key,
                check_name=check.name,
                passed=failure is None,
                description=str(failure) if failure else None,
            )

    return results


def built(step: StepContext, selector: str, keys: Collection[dg.AssetKey]) -> list[Result]:
    """Metadata of each table that dbt built for the selector, with the lineage of its columns."""
    with warehouse.connect(step.run.warehouse, read_only=True) as connection:
        schemas = _schemas(connection)
        return [
            dg.MaterializeResult(
                asset_key=key,
                metadata={
                    **_table_facts(connection, key),
                    "dagster/column_lineage": _column_lineage(result["compiled_code"], schemas),
                    "execution_seconds": result["execution_time"],
                    "query": _code(result),
                },
            )
            for result in _dbt_results(step, selector)
            if (key := dbt_asset(result["unique_id"]).key) in keys
        ]


def loaded(step: StepContext, keys: Iterable[dg.AssetKey]) -> list[Result]:
    """Metadata of each raw table."""
    with warehouse.connect(step.run.warehouse, read_only=True) as connection:
        return [
            dg.MaterializeResult(
                asset_key=key,
                metadata={
                    **_table_facts(connection, key),
                    **_same_columns(key.path[-1], "landing"),
                },
            )
            for key in keys
        ]


def landed(file: Path, table: Table) -> Result:
    """Metadata of a table's Parquet file."""
    with connect_duckdb() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        facts = _facts(connection.sql(f"FROM {parquet_table(file)}"))
    return dg.MaterializeResult(
        metadata={**facts, "bytes": file.stat().st_size, **_same_columns(table.name, "source")}
    )


def written(result: StepResult, path: Path) -> Result:
    """Metadata of the files that a step wrote."""
    files = [path] if path.is_file() else [found for found in path.rglob("*") if found.is_file()]
    return dg.MaterializeResult(
        metadata={
            "bytes": sum(found.stat().st_size for found in files),
            "path": dg.MetadataValue.path(path),
            **{f"rows/{name}": count for name, count in result.rows.items()},
            **result.details,
        }
    )


def _table_facts(connection: duckdb.DuckDBPyConnection, key: dg.AssetKey) -> dict[str, Any]:
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


def _schemas(connection: duckdb.DuckDBPyConnection) -> dict[str, Any]:
    """The type of each column by database, schema and table."""
    tree: dict[str, Any] = {}
    for database, schema, table, column, kind in connection.execute(
        "SELECT database_name, schema_name, table_name, column_name, data_type"
        " FROM duckdb_columns() WHERE NOT internal"
    ).fetchall():
        tree.setdefault(database, {}).setdefault(schema, {}).setdefault(table, {})[column] = kind
    return tree


def _column_lineage(query: str, schemas: dict[str, Any]) -> dg.TableColumnLineage:
    """The source columns of each column of a query; empty when sqlglot cannot parse it."""
    try:
        nodes = lineage(None, query, schema=schemas, dialect="duckdb")
    except SqlglotError:  # unknown SQL must not fail a step that has already succeeded
        nodes = {}
    return dg.TableColumnLineage({name: _origins(node) for name, node in nodes.items()})


def _origins(column: Node) -> list[dg.TableColumnDep]:
    origins = {
        (node.source.db, node.source.name, exp.to_column(node.name).name)
        for node in column.walk()
        if isinstance(node.source, exp.Table)
    }
    return [
        dg.TableColumnDep(asset_key=dg.AssetKey([schema, table]), column_name=name)
        for schema, table, name in sorted(origins)
    ]


def _dbt_results(step: StepContext, selector: str) -> list[dict[str, Any]]:
    """The nodes of dbt's ``run_results.json``; none where dbt ended before it ran any."""
    path = step.run.dbt_results(selector, step.interval)
    return list(json.loads(path.read_text())["results"]) if path.exists() else []


def _code(result: Mapping[str, Any]) -> dg.MarkdownMetadataValue:
    return dg.MetadataValue.md(f"```sql\n{result['compiled_code'].strip()}\n```")


def reason(failure: dg.RunFailureSensorContext) -> str:
    """The message of each failed step; without any, Dagster's message of the run."""
    messages = [
        event.step_failure_data.user_failure_data for event in failure.get_step_failure_events()
    ]
    return "; ".join(str(data.description) for data in messages if data) or str(
        failure.failure_event.message
    )
