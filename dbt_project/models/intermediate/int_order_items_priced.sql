with

order_items as (

    select * from {{ ref('stg_order_items') }}

),

orders as (

    select * from {{ ref('stg_orders') }}

),

products as (

    select * from {{ ref('stg_products') }}

),

priced as (

    select
        -- ids
        order_items.order_item_id,
        order_items.order_id,

        -- attributes
        orders.status as order_status,
        coalesce(products.category, 'unknown') as category,

        -- numbers
        order_items.quantity,

        -- money: cents times basis points are millionths of a dollar
        (
            cast(order_items.quantity as hugeint) * order_items.unit_price_cents
            - order_items.discount_cents
        ) * (10000 + orders.tax_rate_bp) as revenue_microdollars,

        -- times
        cast(orders.ordered_at at time zone 'UTC' as date) as order_date
    from order_items
    inner join orders on order_items.order_id = orders.order_id
    left join products on order_items.product_id = products.product_id

)

select * from priced
