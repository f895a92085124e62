{#- Rows whose value lies outside the closed range; null is accepted. -#}
{% test accepted_range(model, column_name, min_value=none, max_value=none) %}
    {%- set violations = [] -%}
    {%- if min_value is not none -%}
        {%- do violations.append(column_name ~ " < " ~ min_value) -%}
    {%- endif -%}
    {%- if max_value is not none -%}
        {%- do violations.append(column_name ~ " > " ~ max_value) -%}
    {%- endif -%}

    select {{ column_name }}
    from {{ model }}
    where {{ violations | join(' or ') }}
{% endtest %}
