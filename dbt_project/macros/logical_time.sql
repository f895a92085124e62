{#-
    The warehouse's logical time: the end of the newest loaded interval. It takes the place of the
    wall clock, so that a repeated run leaves the same rows. It is the maximum, so that a run of an
    older interval does not set it back.
-#}
{% macro logical_time() -%}
    (select max(interval_end) from {{ source('raw', 'loaded_intervals') }})
{%- endmacro %}


{#- The start of the newest loaded interval; of several with its end, the latest. -#}
{% macro logical_start() -%}
    (
        select max(interval_start) from {{ source('raw', 'loaded_intervals') }}
        where interval_end = {{ logical_time() }}
    )
{%- endmacro %}


{#-
    When a snapshot closes the version of a deleted row. dbt finds the macro by its name, in place of
    the adapter's own, which takes the wall clock.
-#}
{% macro duckdb__snapshot_get_time() -%}
    {{ logical_time() }}
{%- endmacro %}


{#- How old a source's newest row is in logical time; dbt finds it by its name, too. -#}
{% macro duckdb__collect_freshness(source, loaded_at_field, filter) %}
    {% call statement('collect_freshness', fetch_result=True, auto_begin=False) -%}
        select
            max({{ loaded_at_field }}) as max_loaded_at,
            {{ logical_time() }} as snapshotted_at
        from {{ source }}
        where {{ filter or 'true' }}
    {%- endcall %}
    {{ return(load_result('collect_freshness')) }}
{% endmacro %}
