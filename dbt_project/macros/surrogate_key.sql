{#-
    A key made of text expressions that are never null: the MD5, in hexadecimal, of the parts, each
    behind its length in characters and a colon, so that no two lists of parts give the same text.
-#}
{% macro surrogate_key(parts) -%}
    {%- set prefixed = [] -%}
    {%- for part in parts -%}
        {%- do prefixed.append("length(" ~ part ~ "), ':', " ~ part) -%}
    {%- endfor -%}
    md5(concat({{ prefixed | join(', ') }}))
{%- endmacro %}
