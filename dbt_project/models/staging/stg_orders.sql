with

source as (

    select * from {{ source('raw', 'orders') }}

),

deleted as (

    select * from {{ source('raw', 'deleted_orders') }}

),

renamed as (

    select
        -- ids
        id as order_id,
        user_id as customer_id,

        -- attributes
        status,

        -- money
        subtotal_cents,
        tax_rate_bp,
        total_cents,

        -- times
        created_at as ordered_at,
        updated_at
    from source
    where
        status <> 'test'
        and not exists (
            select 1 from deleted
            where deleted.id = source.id
        )

)

select * from renamed
