with

products as (

    select * from {{ ref('stg_products') }}

),

final as (

    select
        -- ids
        product_id,

        -- attributes
        sku,
        name,
        coalesce(category, 'unknown') as category,

        -- money
        {{ cents_to_dollars('price_cents') }} as price
    from products

)

select * from final
