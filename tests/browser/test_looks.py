"""The look at accessibility itself: it tells every barrier it is made for, and nothing of a page without one."""

import pytest
from playwright.sync_api import Browser

from tests.browser.looks import barriers

pytestmark = pytest.mark.browser

GOOD = """<!doctype html><html lang="en"><head><title>Page</title></head><body>
<nav aria-label="Sections"><h2>Menu</h2><a href="/">Home</a></nav>
<main><h1>Page</h1><h2>Part</h2><form>
<label for="name">Name</label><input id="name">
<fieldset><legend>Pick</legend><label><input type="radio" name="a"> One</label></fieldset>
<button>Save</button><button disabled>Later</button></form>
<img alt="" src="data:,"><table><thead><tr><th>Sum</th></tr></thead><tbody><tr><td>1</td></tr></tbody></table>
</main></body></html>"""


@pytest.mark.parametrize(
    ("right", "wrong", "told"),
    [
        ("<button>Save", "<button><img alt='' src='data:,'>", "button without name"),
        ('href="/">Home', 'href="/">', "link without name"),
        ('<label for="name">Name</label>', "", "textbox without name"),
        ('for="name"', "", "label of nothing"),
        ("<legend>Pick</legend>", "", "in no group with a name"),
        ("<th>Sum</th>", "<td>Sum</td>", "table without headers"),
        ("<h2>Part</h2>", "<h3>Part</h3>", "heading Part of level 3 after 1"),
        ("<h1>Page</h1>", "", "heading Part of level 2 after 0"),
        ("<main>", "<main></main><main>", "2 main landmarks"),
        (' lang="en"', "", "no language"),
        ('<img alt=""', "<img", "no alt"),
        ("<table>", '<table id="name">', "id twice"),
        ("<button>", '<button tabindex="-1">', "not reached by tab"),
        ("<button>", '<button tabindex="2">', "own place in the order of tabs"),
        ("<button>", '<button style="outline: 0">', "focus not seen"),
        ("<h2>Part", '<h2 aria-labelledby="none">Part', "aria-labelledby of nothing"),
        ("<table>", '<p style="overflow-x: auto; width: 9px">wordwordword</p><table>', "scrolls by mouse only"),
    ],
)
def test_a_barrier_is_told_and_a_page_without_one_is_not(chromium: Browser, right: str, wrong: str, told: str) -> None:
    page = chromium.new_page()
    try:
        page.set_content(GOOD)
        assert barriers(page) == []
        assert right in GOOD
        page.set_content(GOOD.replace(right, wrong, 1))
        assert [found for found in barriers(page) if told in found]
    finally:
        page.close()
