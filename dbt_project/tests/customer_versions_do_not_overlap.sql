{#-
    A customer that was deleted and returns with an `updated_at` from before the deletion gets a
    version that overlaps the closed one. Delete the wrong version from the snapshot by hand.
-#}
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
