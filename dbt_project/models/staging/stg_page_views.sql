with

source as (

    select * from {{ source('raw', 'page_views') }}

),

renamed as (

    select
        -- ids
        session_id,
        user_id,

        -- attributes
        page_url,
        referrer_url,
        duration_seconds,

        -- times
        viewed_at,
        updated_at
    from source

)

select * from renamed
