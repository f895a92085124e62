with

source as (

    select * from {{ source('raw', 'customers') }}

),

present as (

    select id from {{ source('raw', 'current_customer_keys') }}

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
    where id in (select present.id from present)

)

select * from renamed
