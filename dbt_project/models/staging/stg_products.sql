with

source as (

    select * from {{ source('raw', 'products') }}

),

deleted as (

    select * from {{ source('raw', 'deleted_products') }}

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
    where not exists (
        select 1 from deleted
        where deleted.id = source.id
    )

)

select * from renamed
