{#-
    Page views that the source has deleted leave the mart as well; the merge only adds and changes
    rows. The hook runs in the transaction of the merge.
-#}
{% macro delete_rows_that_staging_lacks() -%}
    {% if execute and is_incremental() -%}
        delete from {{ this }} as in_mart
        where not exists (
            select 1 from {{ ref('stg_page_views') }} as staged
            where
                staged.session_id = in_mart.session_id
                and staged.page_url = in_mart.page_url
                and staged.viewed_at = in_mart.viewed_at
        )
    {%- endif %}
{%- endmacro %}
