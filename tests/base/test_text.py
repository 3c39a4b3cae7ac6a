"""Tables for notebooks: nothing that a name brings is markup."""

from tombola.base.text import html_table, html_text


def test_text_is_escaped_and_shows_what_is_not_printable() -> None:
    assert html_text('<b a="1">&\x1b') == "&lt;b a=&quot;1&quot;&gt;&amp;\\x1b"


def test_a_table_has_a_caption_a_heading_and_named_rows() -> None:
    table = html_table([("a", 1, "<i>")], heading=("name", "x", "y"), caption="<c>")
    assert table == (
        "<table><caption>&lt;c&gt;</caption>"
        "<tr><th>name</th><th>x</th><th>y</th></tr>"
        "<tr><th>a</th><td>1</td><td>&lt;i&gt;</td></tr></table>"
    )
    assert html_table([("a", 1)]) == "<table><tr><th>a</th><td>1</td></tr></table>"
