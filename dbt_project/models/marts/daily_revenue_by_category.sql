with

order_items as (

    select * from {{ ref('int_order_items_priced') }}

),

final as (

    select
        -- grain
        order_date,
        category,

        -- money
        {{ microdollars_to_dollars('sum(revenue_microdollars)') }} as revenue,

        -- numbers
        count(distinct order_id) as order_count,
        cast(sum(quantity) as bigint) as units
    from order_items
    where order_status <> 'cancelled'
    group by order_date, category

)

select * from final
