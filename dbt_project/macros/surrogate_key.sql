{#-
    A key made of text expressions that are never null: the MD5, in hexadecimal, of the parts, each
    after its length in characters and a colon. The length keeps apart parts that a plain separator
    would not: ('a-b', 'c') and ('a', 'b-c').
-#}
{% macro surrogate_key(parts) -%}
    {%- set prefixed = [] -%}
    {%- for part in parts -%}
        {%- do prefixed.append("length(" ~ part ~ "), ':', " ~ part) -%}
    {%- endfor -%}
    md5(concat({{ prefixed | join(', ') }}))
{%- endmacro %}
