"""Metadata and check results from dbt's ``run_results.json``, where dagster-dbt does not run dbt.

In the native form ``DbtCliResource`` provides them.
"""

import json
from collections.abc import Collection, Iterable, Mapping
from typing import Any

import dagster as dg
import duckdb
from sqlglot import exp
from sqlglot.errors import SqlglotError
from sqlglot.lineage import Node, lineage

from catalog import MANIFEST, Result, dbt_asset, table_facts, tested_node
from ecommerce_pipeline.context import StepContext
from ecommerce_pipeline.storage import warehouse


def test_results(step: StepContext, selector: str) -> Iterable[dg.AssetCheckResult]:
    """The result of each test that dbt ran for the selector; none when dbt could not start."""
    for result in _dbt_results(step, selector):
        test = MANIFEST["nodes"][result["unique_id"]]
        warns = result["status"] == "warn"
        yield dg.AssetCheckResult(
            asset_key=dbt_asset(tested_node(test)).key,
            check_name=test["name"],
            passed=result["status"] == "pass",
            severity=dg.AssetCheckSeverity.WARN if warns else dg.AssetCheckSeverity.ERROR,
            metadata={"failing_rows": result["failures"] or 0, "query": _code(result)},
        )


def built(step: StepContext, selector: str, keys: Collection[dg.AssetKey]) -> list[Result]:
    """Metadata of each table that dbt built for the selector, with the lineage of its columns."""
    with warehouse.connect(step.run.warehouse, read_only=True) as connection:
        schemas = _schemas(connection)
        return [
            dg.MaterializeResult(
                asset_key=key,
                metadata={
                    **table_facts(connection, key),
                    "dagster/column_lineage": _column_lineage(result["compiled_code"], schemas),
                    "execution_seconds": result["execution_time"],
                    "query": _code(result),
                },
            )
            for result in _dbt_results(step, selector)
            if (key := dbt_asset(result["unique_id"]).key) in keys
        ]


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
