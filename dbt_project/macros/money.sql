{#- Whole cents as exact dollars; dividing by 100 would make a DOUBLE of them. -#}
{% macro cents_to_dollars(cents) -%}
    cast({{ cents }} * cast(0.01 as decimal(3, 2)) as decimal(14, 2))
{%- endmacro %}


{#-
    A whole number of millionths of a dollar as dollars, rounded half away from zero to cents. On a
    DECIMAL, `round` is exact and rounds that way; on a DOUBLE it would round what is stored, which
    for 0.005 is not a half.
-#}
{% macro microdollars_to_dollars(microdollars) -%}
    cast(
        round(cast({{ microdollars }} as decimal(32, 0)) * cast(0.000001 as decimal(6, 6)), 2)
        as decimal(18, 2)
    )
{%- endmacro %}
