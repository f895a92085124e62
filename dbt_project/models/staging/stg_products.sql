with

source as (

    select * from {{ source('raw', 'products') }}

),

renamed as (

    select
        -- ids
        id as product_id,

        -- attributes
        sku,
        name,
        category,

        -- money
        price_cents,

        -- times
        created_at,
        updated_at
    from source

)

select * from renamed
