"""Text that some format would run, follow or choke on."""

HOSTILE = [
    # HTML and scripts
    "<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "' onmouseover='alert(1)", "</script><b>",
    "</title>", "<!-- a", "]]>", "&amp; &lt;b&gt;", "{{ 7 * 7 }}", "{% raw %}", "${jndi:x}",
    # LaTeX and formulas
    "a$\\frac$b", "$x_1^2$", "\\input{/etc/passwd}", "a & b % c # d_e ~f^g", "[x]", "*y*", "--", "a``b''c,,d",
    "\\\\[5cm]", "|v|",
    # spreadsheets
    "=cmd()|'/c calc'!A1", "+1", "-1", "@SUM(A1)", "\t=1", " =1", "＝1", "'quoted'", 'a,b;c"d',
    # Markdown
    "# heading", "- item", "+ item", "1. item", "12) item", "> quote", "---", "===", "```", "`code`", "![x](http://e)",
    "[a](javascript:alert(1))", "| a | b |", "_hidden", "__x__", "~~gone~~", "<http://a.b>", "a\\", "\\`x", "  two",
    # terminals
    "[/]", "[red]x", "\\[x]", "\\\\[/]", ":bomb:", "a[", "line\nbreak", "\x1b[31mred\x07", "\u202eevil", "\x00",
    # encodings, and what stands for colors in a figure
    "b\udce9", "é猫🎬", "#010101", "#040400",
    # file systems
    "..", ".", "../../x", "a/b", "/abs", "~", "CON", "x" * 300, " ", "",
]  # fmt: skip
