with

source as (

    select * from {{ source('raw', 'page_views') }}

),

deleted as (

    select * from {{ source('raw', 'deleted_page_views') }}

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
    where not exists (
        select 1 from deleted
        where
            deleted.session_id = source.session_id
            and deleted.page_url = source.page_url
            and deleted.viewed_at = source.viewed_at
    )

)

select * from renamed
