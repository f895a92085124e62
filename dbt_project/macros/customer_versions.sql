{#-
    dbt's timestamp strategy, and what it lacks: a key that was deleted and has returned opens a
    version that is valid from the interval in which it returned, or from its `updated_at` where that
    is later. dbt would take the old `updated_at`, and the versions would overlap.
-#}
{% macro snapshot_timestamp_with_returns_strategy(
    node, snapshotted_rel, current_rel, model_config, target_exists
) %}
    {%- set strategy = snapshot_timestamp_strategy(
        node, snapshotted_rel, current_rel, model_config, target_exists
    ) -%}
    {%- if target_exists -%}
        {%- set valid_from = version_start(strategy.unique_key, strategy.updated_at) -%}
        {%- do strategy.update({
            "updated_at": valid_from,
            "scd_id": snapshot_hash_arguments([strategy.unique_key, valid_from]),
        }) -%}
    {%- endif -%}
    {%- do return(strategy) -%}
{% endmacro %}


{#- From when a row of the snapshot's query is valid; `greatest` passes over null. -#}
{% macro version_start(unique_key, updated_at) -%}
    greatest({{ updated_at }}, (
        select
            case
                when count(*) > count(version.dbt_valid_to) then null
                else greatest(max(version.dbt_valid_to), {{ logical_start() }})
            end
        from {{ this }} as version
        where version.{{ unique_key }} = snapshot_query.{{ unique_key }}
        having count(*) > 0
    ))
{%- endmacro %}


{#-
    Before the snapshot compares: a version that this interval's earlier run closed is open again
    where the customer is back, and a row that the source corrected without a later `updated_at` than
    the version's start replaces the version's values. Neither makes a new version.
-#}
{% macro correct_customer_versions() -%}
    {% if execute and load_relation(this) is not none -%}
        update {{ this }} as version
        set dbt_valid_to = null
        where
            version.dbt_valid_to = {{ logical_time() }}
            and exists (
                select 1 from {{ ref('stg_customers') }} as customer
                where customer.customer_id = version.customer_id
            )
            and not exists (
                select 1 from {{ this }} as other
                where
                    other.customer_id = version.customer_id
                    and other.dbt_valid_to is null
            );

        update {{ this }} as version
        set
            email = customer.email,
            name = customer.name,
            country = customer.country,
            created_at = customer.created_at,
            updated_at = customer.updated_at
        from {{ ref('stg_customers') }} as customer
        where
            customer.customer_id = version.customer_id
            and version.dbt_valid_to is null
            and customer.updated_at <= version.dbt_valid_from
            and (
                customer.email is distinct from version.email
                or customer.name is distinct from version.name
                or customer.country is distinct from version.country
                or customer.created_at is distinct from version.created_at
                or customer.updated_at is distinct from version.updated_at
            )
    {%- endif %}
{%- endmacro %}
