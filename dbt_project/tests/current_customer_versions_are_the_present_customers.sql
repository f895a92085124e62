{#- The snapshot's current versions are exactly the staged customers as they are now. -#}
{{ config(meta={'dagster': {'ref': {'name': 'snap_customers'}}}) }}
with

current_versions as (

    select
        customer_id,
        email,
        name,
        country,
        updated_at
    from {{ ref('snap_customers') }}
    where dbt_valid_to is null

),

customers as (

    select
        customer_id,
        email,
        name,
        country,
        updated_at
    from {{ ref('stg_customers') }}

)

select
    coalesce(customers.customer_id, current_versions.customer_id) as customer_id,
    customers.updated_at as updated_at_in_source,
    current_versions.updated_at as updated_at_in_snapshot
from customers
full outer join current_versions on customers.customer_id = current_versions.customer_id
where
    customers.updated_at is distinct from current_versions.updated_at
    or customers.email is distinct from current_versions.email
    or customers.name is distinct from current_versions.name
    or customers.country is distinct from current_versions.country
