{{
    config(
        materialized='incremental',
        incremental_strategy='merge',
        unique_key='page_view_id',
        on_schema_change='fail',
        post_hook="{{ delete_rows_that_staging_lacks() }}"
    )
}}

with

page_views as (

    select * from {{ ref('stg_page_views') }}

),

changed as (

    select page_views.*
    from page_views
    {% if is_incremental() %}
        -- Rows that are missing here or differ: new, late and corrected ones. A condition on time
        -- would miss late rows, and those of an interval whose own run failed before this model.
        where not exists (
            select 1
            from {{ this }} as in_mart
            where
                in_mart.session_id = page_views.session_id
                and in_mart.page_url = page_views.page_url
                and in_mart.viewed_at = page_views.viewed_at
                and in_mart.user_id is not distinct from page_views.user_id
                and in_mart.referrer_url is not distinct from page_views.referrer_url
                and in_mart.duration_seconds is not distinct from page_views.duration_seconds
        )
    {% endif %}

),

latest_corrections as (

    select * from changed
    qualify row_number() over (
        partition by session_id, page_url, viewed_at
        order by updated_at desc, user_id desc, referrer_url desc, duration_seconds desc
    ) = 1

),

final as (

    select
        -- ids
        {{
            surrogate_key([
                'session_id',
                'page_url',
                "strftime(viewed_at at time zone 'UTC', '%Y-%m-%d %H:%M:%S.%f')",
            ])
        }} as page_view_id,
        session_id,
        user_id,

        -- attributes
        page_url,
        referrer_url,
        duration_seconds,

        -- times
        viewed_at
    from latest_corrections

)

select * from final
