{#- Versions of one customer that overlap, or that end before they begin. -#}
with

versions as (

    select
        customer_id,
        dbt_valid_from,
        dbt_valid_to,
        max(coalesce(dbt_valid_to, 'infinity')) over (
            partition by customer_id
            order by dbt_valid_from, dbt_valid_to nulls last
            rows between unbounded preceding and 1 preceding
        ) as earlier_valid_to
    from {{ ref('snap_customers') }}

)

select
    customer_id,
    dbt_valid_from,
    dbt_valid_to,
    earlier_valid_to
from versions
where
    dbt_valid_from < earlier_valid_to
    or dbt_valid_from >= dbt_valid_to
