with

orders as (

    select * from {{ ref('stg_orders') }}

),

order_items as (

    select * from {{ ref('stg_order_items') }}

),

items_per_order as (

    select
        order_id,
        count(*) as item_count
    from order_items
    group by order_id

),

final as (

    select
        -- ids
        orders.order_id,
        orders.customer_id,

        -- attributes
        orders.status,

        -- order time
        orders.ordered_at,
        cast(orders.ordered_at at time zone 'UTC' as date) as order_date,

        -- money
        {{ cents_to_dollars('orders.subtotal_cents') }} as subtotal,
        {{ cents_to_dollars('(orders.total_cents - orders.subtotal_cents)') }} as tax,
        {{ cents_to_dollars('orders.total_cents') }} as total,

        -- numbers
        coalesce(items_per_order.item_count, 0) as item_count,

        -- times
        orders.updated_at
    from orders
    left join items_per_order on orders.order_id = items_per_order.order_id

)

select * from final
