with

source as (

    select * from {{ source('raw', 'customers') }}

),

deleted as (

    select * from {{ source('raw', 'deleted_customers') }}

),

renamed as (

    select
        -- ids
        id as customer_id,

        -- attributes
        email,
        name,
        country,

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
