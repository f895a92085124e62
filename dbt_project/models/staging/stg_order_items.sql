with

source as (

    select * from {{ source('raw', 'order_items') }}

),

deleted as (

    select * from {{ source('raw', 'deleted_order_items') }}

),

renamed as (

    select
        -- ids
        id as order_item_id,
        order_id,
        product_id,

        -- numbers
        quantity,

        -- money
        unit_price_cents,
        discount_cents,

        -- times
        updated_at
    from source
    where not exists (
        select 1 from deleted
        where deleted.id = source.id
    )

)

select * from renamed
