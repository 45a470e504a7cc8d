/** Chat templates that want to hang, crash or fill the page. Each must end with TemplateError, for the reason given. */

const times = (n: number, text: string) => text.repeat(n);
/** 2^n copies of `x`, by doubling. */
const doubled = (n: number, join = "~") => times(n, `{% set x = x ${join} x %}`);
/** 2^n letters. */
const long = (n: number, letter = "x") => `{% set x = "${letter}" %}${doubled(n)}`;
/** A list in a list … n times, which as text would be 2^n long. */
const bomb = (n: number) => `{% set x = ["x"] %}${times(n, "{% set x = [x, x] %}")}`;
const nest = (loops: number, over: string, body = "") =>
  Array.from({ length: loops }, (_, i) => `{% for v${i} in ${over} %}`).join("") + body + times(loops, "{% endfor %}");
/** 10,000 times. */
const often = (body: string) => nest(1, "range(10000)", body);

export const hostile: [why: RegExp, templates: Record<string, string>][] = [
  [/is longer than 200,000 characters/, { "a source of a megabyte": times(1_000_000, "x") }],
  [
    /has more than 256 blanks/,
    {
      "150,000 blanks": `a${times(150_000, " ")}b`,
      "blanks in runs just under the limit, then over": `${times(700, `a${times(250, " ")}`)}${times(257, " ")}`,
      "blanks after a generation tag": `{% generation${times(150_000, "\t")}b`,
    },
  ],
  [/has more than 5,000 parts/, { "30,000 expressions": times(30_000, "{{1}}") }],
  [
    /nests deeper than 200 levels/,
    {
      "a sum of 4,900": `{{ 1${times(4_900, "+1")} }}`,
      "300 members of members": `{{ x${times(300, ".a")} }}`,
      "250 nested ifs": `${times(250, "{% if 1 %}")}${times(250, "{% endif %}")}`,
    },
  ],
  [/nests more than 3 loops/, { "four nested loops": nest(4, "messages") }],
  [
    /cannot be parsed/,
    {
      "30,000 brackets": `{{ ${times(30_000, "(")}1${times(30_000, ")")} }}`,
      "30,000 minus signs": `{{ ${times(30_000, "- ")}1 }}`,
      "9,000 nested ifs": `${times(9_000, "{% if 1 %}")}${times(9_000, "{% endif %}")}`,
      "an unclosed block": "{% for m in messages %}",
      "an unclosed comment": `{# ${times(1000, "{# ")}`,
      "a statement that is none": "{% include 'secrets' %}",
    },
  ],
  [
    /asks for a range/,
    {
      "a range of 100,000,000": "{% for i in range(100000000) %}{% endfor %}",
      "a range without end": "{% for i in range(0, 10, 0) %}{% endfor %}",
      "a range from far below": "{{ range(-1000000000, 1000000000)|length }}",
      "a range of a half": "{{ range(0.5)|length }}",
      "a range of lists": `${bomb(40)}{{ range(x) }}`,
    },
  ],
  [
    /needs more than 1000000 steps/,
    {
      "three empty nested loops over ranges": nest(3, "range(10000)"),
      "three empty nested loops over messages": nest(3, "messages"),
      "loops whose test is never true": often("{% for b in range(9999) if false %}{% endfor %}"),
      "loops hidden in macros": `{% macro a() %}${nest(3, "range(1000)")}{% endmacro %}${nest(3, "range(9)", "{{ a() }}")}`,
      "loops that break at once": times(200, nest(1, "range(9999)", "{% break %}")),
      "loops that continue": nest(3, "range(9999)", "{% continue %}"),
      "looking up what is not there": nest(3, "range(500)", "{{ nothing }}"),
      "a macro that calls itself twice":
        "{% macro f(n) %}{% if n %}{{ f(n-1) }}{{ f(n-1) }}{% endif %}{% endmacro %}{{ f(60) }}",
      "a long macro, made over and over": often(`{% macro f() %}${times(4_000, "{{1}}")}{% endmacro %}`),
      "a long call block, over and over": `{% macro f() %}{% endmacro %}${often(`{% call f() %}${times(4_000, "{{1}}")}{% endcall %}`)}`,
      "many arguments": `{% macro f() %}{{ varargs|length }}{% endmacro %}{% set x = range(10000) %}${often("{{ f(*x) }}")}`,
    },
  ],
  [
    /nests its calls more than 400 deep/,
    {
      "a macro that calls itself": "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
      "two macros that call each other":
        "{% macro f() %}{{ g() }}{% endmacro %}{% macro g() %}{{ f() }}{% endmacro %}{{ g() }}",
      "a call block that calls itself":
        "{% macro f() %}{% call f() %}{{ caller() }}{% endcall %}{% endmacro %}{{ f() }}",
    },
  ],
  [
    /makes a text of|makes a list of/,
    {
      "2^60 letters": `${long(60)}{{ x }}`,
      "2^60 letters, unprinted": `${long(60)}{{ x|length }}`,
      "2^60 letters in a namespace": `{% set n = namespace(x="x") %}${times(60, "{% set n.x = n.x ~ n.x %}")}`,
      "2^60 letters by blocks": `${long(0)}${times(60, "{% set x %}{{ x }}{{ x }}{% endset %}")}{{ x }}`,
      "2^60 letters by joining": `${long(1)}${times(60, "{% set x = [x, x, x]|join(x) %}")}{{ x }}`,
      "2^37 letters by a loop": `${long(24)}${often("{{ x }}")}`,
      "2^60 entries": `{% set x = [1] %}${doubled(60, "+")}{{ x|length }}`,
    },
  ],
  [
    // What an operation would make is counted before it is made.
    /needs more than 1000000 steps/,
    {
      "2^60 letters by replacing": `${long(1)}${times(60, '{% set x = x.replace("x", x) %}')}{{ x }}`,
      "2^60 letters by the replace filter": `${long(1)}${times(60, '{% set x = x|replace("x", x) %}')}{{ x }}`,
      "replacing nothing by much": `${long(20)}{{ x|replace("", x) }}`,
      "the same in a filter block": `${long(20)}{% filter replace("", x) %}{{ x }}{% endfilter %}`,
      "a list that as text is 2^60 long": `${bomb(60)}{{ x }}`,
      "the same by tojson": `${bomb(60)}{{ x|tojson }}`,
      "the same by string": `${bomb(60)}{{ x|string }}`,
      "the same by ~": `${bomb(60)}{{ "" ~ x }}`,
      "the same by ==": `${bomb(60)}{{ x == "x" }}`,
      "the same by join": `${bomb(60)}{{ x|join }}`,
      "the same by map": `${bomb(60)}{{ x|map(attribute="0")|join }}`,
      "the same in a mapping": `{% set x = {"a": 1} %}${times(60, '{% set x = {"a": x, "b": x} %}')}{{ x|tojson }}`,
      "the same in namespaces": `{% set x = namespace(a=1) %}${times(60, "{% set x = namespace(a=x, b=x) %}")}{{ x|tojson }}`,
      "the same, filled in by the other side":
        `{% set n = namespace(a=1) %}{% set x = [n] %}${times(16, "{% set x = [x, x] %}")}` +
        `{% set y = [1] %}${times(16, "{% set y = [y, y] %}")}{% macro f() %}{% set n.a = y %}{% endmacro %}{{ x ~ f() }}`,
      "the same, filled in after it was measured":
        `{% set n = namespace(a="") %}{% set x = [n] %}${times(12, "{% set x = [x, x] %}")}{{ x }}` +
        `{% set y = "y" %}${times(16, "{% set y = y ~ y %}")}{% set n.a = y %}{{ x }}`,
      "an indent of a billion": '{{ "a\\nb"|indent(1000000000) }}',
      "a billion blanks of JSON": "{{ messages|tojson(indent=100000000) }}",
      "an indent of many lines": `${long(18, "\\n")}{{ x|indent(5000) }}`,
      "a million parts": `${long(20, "x,")}{{ x.split(",")|length }}`,
      "sorting by a path of 50,000 steps": `{{ range(10000)|sort(attribute="${times(50_000, "a.")}a") }}`,
    },
  ],
  [
    // Few steps that go over much.
    /needs more than 1000000 steps/,
    {
      searching: `${long(22)}${often('{% if "y" in x %}{% endif %}')}`,
      comparing: `${long(22)}{% set y = x ~ "" %}${often('{{ "" if x ~ v0 == y ~ v0 }}')}`,
      stripping: `${long(20, " ")}${often("{% set y = x.strip() %}")}`,
      trimming: `${long(20, " ")}${often("{% set y = x|trim %}")}`,
      counting: `${long(20)}${often("{% set y = x|length %}")}`,
      slicing: `${long(20)}${often("{% set y = x[1:] %}")}`,
      "indexing a text that grows": `${long(20)}{% set n = namespace(x=x) %}${often('{% set n.x = n.x ~ "x" %}{% set y = n.x[0] %}')}`,
      "a method by another name": `${long(12)}{% set f = x["up" ~ "per"] %}${times(3, often("{% set y = f() %}"))}`,
      "is lower": `${long(22)}${often("{% if x is lower %}{% endif %}")}`,
      sorting: `{% set x = range(10000) %}${often("{% set y = x|sort %}")}`,
      reversing: `{% set x = range(10000) %}${often("{% set y = x|reverse %}")}`,
      "long keys": `${long(22)}${often("{% set y = {x ~ v0: 1} %}")}`,
      "long keys of namespaces": `${long(22)}${often("{% set y = namespace(**{x ~ v0: 1}) %}")}`,
      "long keys that are not there": `${long(22)}${often("{% set y = messages[0][x ~ v0] %}")}`,
      "long keys to get": `${long(22)}${often("{% set y = messages[0].get(x ~ v0) %}")}`,
      "selecting by long texts":
        `{% set x = "${times(1000, "x")}" %}{% set y = [{"a": x ~ ""}] %}${times(17, "{% set y = y + y %}")}` +
        `{% set z = y|selectattr("a", "equalto", "${times(1000, "x")}") %}`,
    },
  ],
  [
    /nests lists more than 64 deep/,
    {
      "a namespace in itself": "{% set n = namespace(a=1) %}{% set n.n = [n, n] %}{{ n.n|tojson }}",
      "a list 1,000 deep": `{% set n = namespace(x=[]) %}{% for i in range(1000) %}{% set n.x = [n.x] %}{% endfor %}{{ n.x }}`,
    },
  ],
  [
    /refuses these messages/,
    {
      "an exception": "{{ raise_exception('no system role') }}",
      "an exception with a list that as text is 2^60 long": `${bomb(60)}{{ raise_exception(x) }}`,
    },
  ],
  [
    /asks for the date in a format/,
    {
      "a date that is a list": `${bomb(60)}{{ strftime_now(x) }}`,
      "long dates": `${long(20, "%Y")}${often("{% set y = strftime_now(x) %}")}`,
    },
  ],
  [/makes a namespace of a list/, { "a namespace of pairs": `{{ namespace(["ab", "cd"]).a }}` }],
  [/spreads a list into a filter's arguments/, { "arguments spread into a filter": `{{ "x"|replace(*["x", "y"]) }}` }],
  [
    /template failed: (Unknown ArrayValue filter|Cannot call something that is not a function)/,
    {
      "an unknown filter": "{{ messages|attr('constructor') }}",
      "a call of what is no function": "{{ messages() }}",
      "a constructor": "{{ messages.constructor('return 1')() }}",
    },
  ],
];
