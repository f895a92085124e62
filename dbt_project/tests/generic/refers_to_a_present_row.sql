{#- Rows whose value is no id of a loaded row, or the id of one that the source has deleted. -#}
{% test refers_to_a_present_row(model, column_name, to, deleted) %}
    select child.{{ column_name }}
    from {{ model }} as child
    where
        child.{{ column_name }} is not null
        and (
            not exists (
                select 1 from {{ to }} as parent
                where parent.id = child.{{ column_name }}
            )
            or exists (
                select 1 from {{ deleted }} as gone
                where gone.id = child.{{ column_name }}
            )
        )
{% endtest %}
