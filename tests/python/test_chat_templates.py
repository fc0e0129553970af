"""Chat templates against jinja2 with the settings and functions of transformers' apply_chat_template."""
import json

import jinja2
import jinja2.ext
import jinja2.sandbox
import pytest

from plait.text import render_chat_template


def raise_exception(message):
    raise jinja2.exceptions.TemplateError(message)


def tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
    return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


REFERENCE = jinja2.sandbox.ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[jinja2.ext.loopcontrols])
REFERENCE.filters["tojson"] = tojson
REFERENCE.globals["raise_exception"] = raise_exception

SMOLLM2 = """{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system
You are a helpful AI assistant<|im_end|>
' }}{% endif %}{{'<|im_start|>' + message['role'] + '
' + message['content'] + '<|im_end|>' + '
'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant
' }}{% endif %}"""

CHATML = """{%- for message in messages %}
    {{- '<|im_start|>' ~ message.role ~ '\\n' ~ message.content | trim ~ '<|im_end|>\\n' }}
{%- endfor %}
{%- if add_generation_prompt is defined and add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
{%- endif %}
"""

LLAMA3 = """{{- bos_token }}
{%- if custom_tools is defined %}
    {%- set tools = custom_tools %}
{%- endif %}
{%- if not tools_in_user_message is defined %}
    {%- set tools_in_user_message = true %}
{%- endif %}
{%- if not tools is defined %}
    {%- set tools = none %}
{%- endif %}

{#- The system message goes first, wherever the user put it. #}
{%- if messages[0]['role'] == 'system' %}
    {%- set system_message = messages[0]['content']|trim %}
    {%- set messages = messages[1:] %}
{%- else %}
    {%- set system_message = "" %}
{%- endif %}

{{- "<|start_header_id|>system<|end_header_id|>\\n\\n" }}
{%- if tools is not none %}
    {{- "Environment: ipython\\n" }}
{%- endif %}
{%- if tools is not none and not tools_in_user_message %}
    {%- for t in tools %}
        {{- t | tojson(indent=4) }}
        {{- "\\n\\n" }}
    {%- endfor %}
{%- endif %}
{{- system_message }}
{{- "<|eot_id|>" }}

{%- if tools_in_user_message and not tools is none %}
    {%- if messages | length != 0 %}
        {%- set first_user_message = messages[0]['content']|trim %}
        {%- set messages = messages[1:] %}
    {%- else %}
        {{- raise_exception("Cannot put tools in the first user message when there's none!") }}
    {%- endif %}
    {{- '<|start_header_id|>user<|end_header_id|>\\n\\n' -}}
    {%- for t in tools %}
        {{- t | tojson(indent=4) }}
        {{- "\\n\\n" }}
    {%- endfor %}
    {{- first_user_message + "<|eot_id|>"}}
{%- endif %}

{%- for message in messages %}
    {%- if not (message.role == 'ipython' or message.role == 'tool' or 'tool_calls' in message) %}
        {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n'+ message['content'] | trim + '<|eot_id|>' }}
    {%- elif 'tool_calls' in message %}
        {%- if not message.tool_calls|length == 1 %}
            {{- raise_exception("This model only supports single tool-calls at once!") }}
        {%- endif %}
        {%- set tool_call = message.tool_calls[0].function %}
        {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' -}}
        {{- '{"name": "' + tool_call.name + '", "parameters": ' }}
        {{- tool_call.arguments | tojson }}
        {{- "}<|eot_id|>" }}
    {%- elif message.role == "tool" or message.role == "ipython" %}
        {{- "<|start_header_id|>ipython<|end_header_id|>\\n\\n" }}
        {%- if message.content is mapping or message.content is iterable %}
            {{- message.content | tojson }}
        {%- else %}
            {{- message.content }}
        {%- endif %}
        {{- "<|eot_id|>" }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}
{%- endif %}
"""

QWEN = """{%- if tools %}
    {{- '<|im_start|>system\\n' }}
    {%- if messages[0]['role'] == 'system' %}
        {{- messages[0]['content'] }}
    {%- else %}
        {{- 'You are a helpful assistant.' }}
    {%- endif %}
    {{- "\\n\\n# Tools\\n\\nFunction signatures within <tools></tools>:\\n<tools>" }}
    {%- for tool in tools %}
        {{- "\\n" }}
        {{- tool | tojson }}
    {%- endfor %}
    {{- "\\n</tools><|im_end|>\\n" }}
{%- else %}
    {%- if messages[0]['role'] == 'system' %}
        {{- '<|im_start|>system\\n' + messages[0]['content'] + '<|im_end|>\\n' }}
    {%- endif %}
{%- endif %}
{%- set ns = namespace(multi_step_tool=true, last_query_index=messages|length - 1) %}
{%- for message in messages[::-1] %}
    {%- set index = (messages|length - 1) - loop.index0 %}
    {%- if ns.multi_step_tool and message.role == "user" and message.content is string and not(message.content.startswith('<tool_response>') and message.content.endswith('</tool_response>')) %}
        {%- set ns.multi_step_tool = false %}
        {%- set ns.last_query_index = index %}
    {%- endif %}
{%- endfor %}
{%- for message in messages %}
    {%- if (message.role == "user") or (message.role == "system" and not loop.first) %}
        {{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>' + '\\n' }}
    {%- elif message.role == "assistant" %}
        {%- set content = message.content %}
        {%- set reasoning_content = '' %}
        {%- if message.reasoning_content is defined and message.reasoning_content is not none %}
            {%- set reasoning_content = message.reasoning_content %}
        {%- else %}
            {%- if '</think>' in message.content %}
                {%- set content = message.content.split('</think>')[-1].lstrip('\\n') %}
                {%- set reasoning_content = message.content.split('</think>')[0].rstrip('\\n').split('<think>')[-1].lstrip('\\n') %}
            {%- endif %}
        {%- endif %}
        {%- if loop.index0 > ns.last_query_index and (loop.last or (not loop.last and reasoning_content)) %}
            {{- '<|im_start|>' + message.role + '\\n<think>\\n' + reasoning_content.strip('\\n') + '\\n</think>\\n\\n' + content.lstrip('\\n') }}
        {%- else %}
            {{- '<|im_start|>' + message.role + '\\n' + content }}
        {%- endif %}
        {%- if message.tool_calls %}
            {%- for tool_call in message.tool_calls %}
                {%- if (loop.first and content) or (not loop.first) %}
                    {{- '\\n' }}
                {%- endif %}
                {%- if tool_call.function %}
                    {%- set tool_call = tool_call.function %}
                {%- endif %}
                {{- '<tool_call>\\n{"name": "' }}
                {{- tool_call.name }}
                {{- '", "arguments": ' }}
                {%- if tool_call.arguments is string %}
                    {{- tool_call.arguments }}
                {%- else %}
                    {{- tool_call.arguments | tojson }}
                {%- endif %}
                {{- '}\\n</tool_call>' }}
            {%- endfor %}
        {%- endif %}
        {{- '<|im_end|>\\n' }}
    {%- elif message.role == "tool" %}
        {%- if loop.first or (messages[loop.index0 - 1].role != "tool") %}
            {{- '<|im_start|>user' }}
        {%- endif %}
        {{- '\\n<tool_response>\\n' }}
        {{- message.content }}
        {{- '\\n</tool_response>' }}
        {%- if loop.last or (messages[loop.index0 + 1].role != "tool") %}
            {{- '<|im_end|>\\n' }}
        {%- endif %}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
    {%- if enable_thinking is defined and enable_thinking is false %}
        {{- '<think>\\n\\n</think>\\n\\n' }}
    {%- endif %}
{%- endif %}
"""

MISTRAL = """{%- if messages[0]["role"] == "system" %}
    {%- set system_message = messages[0]["content"] %}
    {%- set loop_messages = messages[1:] %}
{%- else %}
    {%- set loop_messages = messages %}
{%- endif %}
{%- set user_messages = loop_messages | selectattr("role", "equalto", "user") | list %}
{%- set ns = namespace() %}
{%- set ns.index = 0 %}
{%- for message in loop_messages %}
    {%- if (message["role"] == "user") != (ns.index % 2 == 0) %}
        {{- raise_exception("roles must alternate user/assistant") }}
    {%- endif %}
    {%- set ns.index = ns.index + 1 %}
{%- endfor %}
{{- bos_token }}
{%- for message in loop_messages %}
    {%- if message["role"] == "user" %}
        {%- if loop.last and system_message is defined %}
            {{- "[INST] " + system_message + "\\n\\n" + message["content"] + "[/INST]" }}
        {%- else %}
            {{- "[INST] " + message["content"] + "[/INST]" }}
        {%- endif %}
    {%- else %}
        {{- " " + message["content"]|trim + eos_token}}
    {%- endif %}
{%- endfor %}
"""

MACROS = """{%- macro part(content, depth=1) -%}
  {%- if content is string -%}{{ content }}
  {%- else -%}
    {%- for item in content -%}
      {%- if item.type == 'text' -%}{{ item.text | trim }}{%- elif item['type'] == 'image' -%}<image {{ loop.index }}/{{ loop.length }}>
      {%- else -%}{{ raise_exception('Unknown part: ' ~ item.type) }}{%- endif -%}
    {%- endfor -%}
  {%- endif -%}
{%- endmacro -%}
{%- for m in messages if m.role != 'hidden' %}
  {% set text %}{{ part(m.content, depth=2) }}{% endset %}
  {{ m.role | upper }}: {{ text }}
  {%- if not loop.last %}

  ---
  {% endif %}
{% else %}
nobody spoke
{% endfor %}
"""

USER = {"role": "user", "content": "  Hello, \"wörld\"! \n"}
ASSISTANT = {"role": "assistant", "content": "<think>\nhm\n</think>\n\nHi."}
SYSTEM = {"role": "system", "content": "Be brief."}
CALL = {"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "add", "arguments": {"a": 1, "b": [2.5, None, True, "é\n"]}}}]}
RESULT = {"role": "tool", "content": "3.5"}
CHATS = [[USER], [SYSTEM, USER], [USER, ASSISTANT, USER], [SYSTEM, USER, ASSISTANT, USER, CALL, RESULT, RESULT], [USER, CALL, RESULT, ASSISTANT],
         [USER, USER], [{"role": "user", "content": [{"type": "text", "text": " what is this? "}, {"type": "image"}]}], [{"role": "hidden", "content": "x"}]]
TOOLS = [{"type": "function", "function": {"name": "add", "parameters": {"type": "object", "properties": {"a": {"type": "number"}}, "required": []}}}]


def both(template, **variables):
    """The two texts, or "error" for each side that refuses."""
    out = []
    for render in (lambda: REFERENCE.from_string(template).render(**variables), lambda: render_chat_template(template, **variables)):
        try:
            out.append(render())
        except (jinja2.exceptions.TemplateError, TypeError, ValueError, OverflowError, ZeroDivisionError) as error:
            out.append(("error", type(error)) if isinstance(error, RuntimeError) else "error")
    return out


@pytest.mark.parametrize("template", [SMOLLM2, CHATML, LLAMA3, QWEN, MISTRAL, MACROS], ids=["smollm2", "chatml", "llama3", "qwen", "mistral", "macros"])
def test_published_styles(template):
    rendered = 0
    for messages in CHATS:
        for extra in ({}, {"tools": TOOLS}, {"tools": None}, {"tools": TOOLS, "tools_in_user_message": False}, {"enable_thinking": False}):
            for prompt in (True, False):
                want, got = both(template, messages=messages, add_generation_prompt=prompt, bos_token="<s>", eos_token="</s>", **extra)
                assert got == want, (messages, extra)
                rendered += want != "error"
    assert rendered >= 10


PIECES = [
    # white space
    "a\n  {% if true %}\n  b\n  {% endif %}\nc\n", "a {%- if true -%}  \n b {%- endif %} c", "  {%+ if true %}x{% endif +%}\ny",
    "{# c #}\n x {#- d -#} \n y", "x\n  {{ 1 }}\n  y\n\n", "{% raw %}{{ no }}{% x %}{% endraw %}!", "  {% raw -%}  a {%- endraw %}\n b",
    "{% for i in [1,2] %}\n  {{ i }}\n{% endfor %}\n\n", "a\r\n{% if 1 %}\r\nb{% endif %}\r\n", "{% if a %}  {% endif %}  {% if 1 %}x{% endif %}",
    # values and operators
    "{{ 7 // 2 }} {{ -7 // 2 }} {{ 7 % -3 }} {{ 7 / 2 }} {{ 2 ** 10 }} {{ 2 ** -1 }} {{ -3 | abs }} {{ 1.0 }} {{ 1e20 }} {{ 0.00001 }} {{ 1_000 }}",
    "{{ 'a' * 3 }} {{ [1] * 2 }} {{ 'a' ~ 1 ~ none ~ true }} {{ 'x' 'y' }} {{ 1 < 2 < 3 }} {{ 1 < 3 > 5 }} {{ 'a' in 'abc' }} {{ 2 not in [1] }}",
    "{{ [1, 'a', None, {'k': 1.5}, \"it's\"] }} {{ {'a': [True]} }} {{ () }} {{ 'a\\n\\'' }}",
    "{{ none or 'x' }} {{ 0 and 1 }} {{ not 0 }} {{ [] or {} }} {{ 'a' if false }} {{ 'a' if false else 'b' if 0 else 'c' }}",
    "{{ 'héllo'[1] }} {{ 'héllo'[1:3] }} {{ 'hello'[::-1] }} {{ [1,2,3,4][1:-1] }} {{ [1,2,3][5:] }} {{ [1,2,3][-2] }} {{ [1,2,3][::2] }} {{ 'abc'[-2:] }}",
    "{{ missing }}|{{ missing is defined }}|{{ missing | default('d') }}|{{ '' | default('e', true) }}|{{ missing.x }}", "{{ {'a': 1}.b is defined }} {{ none.x is defined }}",
    "{{ missing | length }} {% for x in missing %}a{% else %}none{% endfor %}", "{{ 1 + 'a' }}", "{{ 1 / 0 }}", "{{ 'a' < 1 }}", "{{ [3,1,2] | sort }} {{ [1] + [2] }}",
    "{{ true + 1 }} {{ 1 == 1.0 }} {{ true == 1 }} {{ '1' == 1 }} {{ [1] == [1.0] }} {{ {'a':1} == {'a':1} }} {{ none == none }}",
    "{{ -2 ** 2 }} {{ (1, 2) | length }} {{ 10 - 2 - 3 }} {{ 2 + 3 * 4 ~ 'x' }} {{ not true or true }} {{ '%s' }}", "{{ 1 if true else 2 | string }}",
    # filters
    "{{ ' a ' | trim }}|{{ 'xax' | trim('x') }}|{{ 'hello world' | title }}|{{ 'hELLO' | capitalize }}|{{ 'a-b' | replace('-', '+') }}|{{ 'aaa' | replace('a', 'b', 2) }}",
    "{{ [1,2] | join(', ') }} {{ [{'n': 1}, {'n': 2}] | map(attribute='n') | list }} {{ ['a', 'b'] | map('upper') | join }} {{ [1,2,3] | select('odd') | list }}",
    "{{ [{'a': 1}, {'b': 2}] | selectattr('a', 'defined') | list }} {{ [{'a': 1}, {'a': 0}] | rejectattr('a') | list }} {{ [0, 1] | reject | list }}",
    "{{ 'é\"<' | tojson }} {{ {'b': 1, 'a': [1, {'c': none}]} | tojson(indent=2) }} {{ {'b': 1, 'a': 2} | tojson(sort_keys=true) }} {{ [] | tojson(indent=2) }} {{ 1.0 | tojson }}",
    "{{ 'a,b,,c'.split(',') }} {{ ' a b '.split() }} {{ 'a b c'.split(' ', 1) }} {{ 'a.b.c'.rsplit('.', 1) }} {{ 'ab\\ncd'.splitlines() }}",
    "{{ {'b': 1, 'a': 2} | dictsort }} {{ {'a': 1}.items() | list }} {{ {'a': 1}.get('b', 3) }} {{ {'a': 1}.keys() | list }} {% for k, v in {'x': 1, 'y': 2}.items() %}{{ k }}={{ v }};{% endfor %}",
    "{{ '12' | int + 1 }} {{ 'x' | int }} {{ '1.5' | float }} {{ 2.5 | round }} {{ 3.14159 | round(2) }} {{ 2.7 | int }} {{ [1,2,3] | sum }} {{ [2,1] | min }} {{ [2,1] | max }}",
    "{{ [3,1,2] | first }} {{ [3,1,2] | last }} {{ 'abc' | first }} {{ [1,1,2] | unique | list }} {{ 'abc' | reverse }} {{ [1,2] | reverse | list }} {{ 'ab' | list }}",
    "{{ 'a\\nb\\n\\nc' | indent }}|{{ 'a\\nb' | indent(2, true) }}|{{ '<a href=\"x\">' | e }}|{{ 'a' | safe }}", "{{ 'a' | no_such_filter }}", "{{ 1 is no_such_test }}",
    # tests and methods
    "{{ 1 is integer }} {{ 1.5 is float }} {{ true is boolean }} {{ true is integer }} {{ 'a' is string }} {{ {} is mapping }} {{ [] is sequence }} {{ 4 is divisibleby 2 }} {{ 3 is odd }} {{ none is none }}",
    "{{ 1 is not string }} {{ 'a' is in ['a'] }} {{ 1 is eq 1 }} {{ 'A' is upper }} {{ true is true }} {{ 1 is true }} {{ 2 is gt 1 }} {{ range is callable }} {{ x is undefined and not y is defined }}",
    "{{ 'abc'.startswith('ab') }} {{ 'abc'.endswith(('x', 'c')) }} {{ ' a '.strip() }}| {{ 'xxa'.lstrip('x') }} {{ 'abcabc'.count('bc') }} {{ 'abc'.find('c') }} {{ '-'.join(['a', 'b']) }} {{ '12'.isdigit() }} {{ 'ab cd'.title() }}",
    "{{ 'a'.no_such_method() }}", "{{ [1,2].append(3) }}", "{{ [1,2,1].index(2) }} {{ [1,2,1].count(1) }}",
    # statements
    "{% set x = 1 %}{% for i in [1] %}{% set x = 2 %}{% endfor %}{{ x }}", "{% set ns = namespace(x=1) %}{% for i in [1,2] %}{% set ns.x = ns.x + i %}{% endfor %}{{ ns.x }}",
    "{% set a, b = 1, 2 %}{{ a }}{{ b }}", "{% if false %}{% elif 1 %}b{% else %}c{% endif %}", "{% for i in range(5) %}{% if i == 1 %}{% continue %}{% endif %}{% if i == 3 %}{% break %}{% endif %}{{ i }}{% endfor %}",
    "{% for i in range(3) %}{{ loop.index }}{{ loop.revindex0 }}{{ loop.first }}{{ loop.last }}{{ loop.previtem }}{{ loop.nextitem }}{{ loop.cycle('a', 'b') }};{% endfor %}",
    "{% macro m(a, b=2) %}{{ a }}-{{ b }}{% endmacro %}{{ m(1) }} {{ m(1, b=3) }} {{ m(b=4, a=5) }} {{ m() }}", "{% macro m(a) %}{{ a }}{{ z }}{% endmacro %}{% set z = 9 %}{{ m(1) }}", "{{ m(1, 2) }}",
    "{% filter upper %}abc{{ 'd' }}{% endfilter %}", "{% set x | upper %}abc{% endset %}{{ x }}", "{% for i in [[1, [2, 3]], [4, [5, 6]]] %}{{ i[1][0] }}{% endfor %}", "{% for x in 'ab' %}{{ x }}.{% endfor %}",
    "{{ range(3) | list }} {{ range(1, 6, 2) | list }} {{ range(3, 0, -1) | list }} {{ dict(a=1).a }}", "{{ raise_exception('no') }}", "{% for a, b in [(1, 2), (3, 4)] %}{{ a + b }} {% endfor %}", "{% for i in 5 %}{% endfor %}",
    # what does not parse
    "{{ 1 + }}", "{% if %}", "{{ 'a }}", "{% endif %}", "{% for x %}{% endfor %}", "{{ a b }}", "{% unknown %}", "{% if 1 %}", "{{ }", "{{ 1 }", "{# x",
]


@pytest.mark.parametrize("template", PIECES)
def test_pieces(template):
    want, got = both(template)
    assert got == want


def test_bounds():
    from plait import DataError, LimitError

    for template in ("{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}", "{{ 'a' * 999999999 }}",
                     "{% set ns = namespace(x='aaaaaaaa') %}{% for i in range(60) %}{% set ns.x = ns.x + ns.x %}{% endfor %}",
                     "{% for i in range(99999) %}{{ 'a' * 9999 }}{% endfor %}", "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "{{ range(10 ** 9) }}",
                     "{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}", "{{ " + "not " * 5000 + "1 }}", "{{ 1" + " + 1" * 5000 + " }}", "{{ x" + ".a" * 5000 + " }}"):
        with pytest.raises((LimitError, DataError, ValueError)):
            render_chat_template(template)
    with pytest.raises(ValueError, match="itself"):
        render_chat_template("{% set n = namespace() %}{% set n.x = [n] %}")
    with pytest.raises(DataError, match="line 3"):
        render_chat_template("a\nb\n{{ 1 + }}")
