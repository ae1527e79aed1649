"""What every page of a kind is looked at for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from playwright.sync_api import Page

from tests.browser.conftest import Visit

# Roles, as Chromium calls them, of what is pressed or filled in, and of what only its name tells apart.
NAMED = {
    "button", "checkbox", "columnheader", "combobox", "Date", "DateTime", "dialog", "DisclosureTriangle", "heading", "image",
    "InputTime", "link", "listbox", "navigation", "radio", "region", "rowheader", "searchbox", "slider", "spinbutton",
    "switch", "tab", "textbox",
}  # fmt: skip
HEADERS = {"columnheader", "rowheader"}


def assert_pages_look_right(
    window: Visit, addresses: Mapping[str, str], room: str, screenshot: Callable[[Visit, str], None]
) -> None:
    """Open pages and look at each; takes a window, the addresses by name, and what the pictures are called."""
    for name, address in addresses.items():
        window.go(address)
        assert_looks_right(window, f"{room}-{name}", screenshot)


def assert_looks_right(window: Visit, name: str, screenshot: Callable[[Visit, str], None]) -> None:
    """The page in a window fits narrow and wide windows, reads well in both themes and aloud, and breaks no policy."""
    page = window.page
    for width in (360, 1440):
        page.set_viewport_size({"width": width, "height": 900})
        screenshot(window, f"{name}-{width}")
        assert window.overflow() <= 0, (name, width)
        found = barriers(page)
        assert not found, (name, width, found)
    for scheme in ("dark", "light"):
        page.emulate_media(color_scheme=scheme)
        screenshot(window, f"{name}-{scheme}")
        weak = page.evaluate(CONTRAST)
        assert not weak, (name, scheme, weak)
    assert not window.complaints, (name, window.complaints)


# Texts of less than 4.5 to 1 (WCAG AA), measured on the painted colours.
CONTRAST = """() => {
  const canvas = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
  const rgba = (text) => {
    canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = text; canvas.fillRect(0, 0, 1, 1);
    return canvas.getImageData(0, 0, 1, 1).data;
  };
  const light = (c) => [0, 1, 2].map(i => c[i] / 255)
    .map(v => v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0);
  const ground = (node) => {
    for (let n = node; n; n = n.parentElement) {
      const c = rgba(getComputedStyle(n).backgroundColor);
      if (c[3] === 255) return c;
    }
    return [255, 255, 255, 255];
  };
  const weak = new Set();
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) {
    const node = walk.currentNode.parentElement;
    if (!walk.currentNode.data.trim() || !node.checkVisibility({visibilityProperty: true})) continue;
    if (node.closest('.visually-hidden, script, option, [disabled]')) continue;
    const a = light(rgba(getComputedStyle(node).color)), b = light(ground(node));
    const ratio = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
    if (ratio < 4.5) weak.add(`${node.tagName}.${node.className} ${walk.currentNode.data.trim().slice(0, 30)} ${ratio.toFixed(2)}`);
  }
  return [...weak];
}"""


# --- accessibility ------------------------------------------------------------------------------------------


def barriers(page: Page) -> list[str]:
    """Return what keeps a screen reader or a keyboard from using a page (WCAG 1.3.1, 2.4.7, 4.1.2); nothing is good.

    Roles, names and levels are read from the tree that the browser hands to screen readers.
    """
    session = page.context.new_cdp_session(page)
    told = session.send("Accessibility.getFullAXTree")["nodes"]
    session.detach()
    page.keyboard.press("Tab")  # to who uses the keyboard, focus is shown from now on
    return _of_tree(told) + page.evaluate(OF_DOCUMENT)


def _of_tree(told: list[dict[str, Any]]) -> list[str]:
    nodes = {node["nodeId"]: node for node in told}
    found, level, mains = [], 0, 0
    for node, inside in _walk(told[0], nodes, ()):
        role, name = _told(node, "role"), _told(node, "name")
        around = {_told(outer, "role") for outer in inside}
        if role in NAMED and not name.strip():
            found.append(f"{role} without name in {_told(inside[-1], 'role')} {_told(inside[-1], 'name')}")
        if role == "radio" and not any(
            _told(outer, "role") in ("group", "radiogroup") and _told(outer, "name") for outer in inside
        ):
            found.append(f"radio {name} in no group with a name")
        if role == "table" and not {_told(inner, "role") for inner, _in in _walk(node, nodes, ())} & HEADERS:
            found.append(f"table without headers in {_told(inside[-1], 'name')}")
        if role == "heading" and "navigation" not in around:
            depth = next(fact["value"]["value"] for fact in node["properties"] if fact["name"] == "level")
            if depth > level + 1 or (depth == 1 and level):
                found.append(f"heading {name} of level {depth} after {level}")
            level = depth
        mains += role == "main"
    return found if mains == 1 else [*found, f"{mains} main landmarks"]


def _walk(
    node: dict[str, Any], nodes: Mapping[str, dict[str, Any]], inside: tuple[dict[str, Any], ...]
) -> Iterator[tuple[dict[str, Any], tuple[dict[str, Any], ...]]]:
    """Yield a node and all below it in the order in which they are read, each with those around it."""
    if not node["ignored"]:
        yield node, inside
        inside = (*inside, node)
    for key in node.get("childIds", ()):
        if key in nodes:
            yield from _walk(nodes[key], nodes, inside)


def _told(node: Mapping[str, Any], fact: str) -> str:
    return str(node.get(fact, {}).get("value", ""))


OF_DOCUMENT = """() => {
  const found = [];
  const say = (what, node) => found.push(`${what}: ${node.outerHTML.replace(/\\s+/g, ' ').slice(0, 160)}`);
  if (!document.documentElement.lang) say('no language', document.documentElement);
  if (!document.title.trim()) found.push('no title');
  const ids = [...document.querySelectorAll('[id]')];
  const seen = new Set();
  for (const node of ids) { if (seen.has(node.id)) say('id twice', node); seen.add(node.id); }
  for (const name of ['aria-labelledby', 'aria-describedby', 'aria-controls']) {
    for (const node of document.querySelectorAll(`[${name}]`)) {
      if (!node.getAttribute(name).split(/\\s+/).every(id => seen.has(id))) say(`${name} of nothing`, node);
    }
  }
  const shown = (node) => node.checkVisibility({visibilityProperty: true});
  for (const node of document.querySelectorAll('label')) {
    // Django labels the text of a read-only field, too; that text is read right after it.
    if (shown(node) && !node.control && !node.parentElement.querySelector('.readonly')) say('label of nothing', node);
  }
  for (const node of document.querySelectorAll('img:not([alt])')) say('no alt', node);
  const pressed = 'a[href], button, input, select, textarea, summary, [tabindex]';
  const reached = [...document.querySelectorAll(pressed)].filter(node => shown(node) && !node.disabled);
  const look = (node) => {
    const s = getComputedStyle(node), around = getComputedStyle(node.parentElement);
    return [s.outlineStyle, s.outlineWidth, s.boxShadow, s.borderColor, s.backgroundColor, s.textDecorationLine,
      around.boxShadow, around.outlineStyle].join();
  };
  for (const node of reached) {
    if (node.tabIndex > 0) say('own place in the order of tabs', node);
    if (node.tabIndex < 0) { if (node.matches('a, button, input, select, textarea')) say('not reached by tab', node); continue; }
    document.activeElement?.blur();
    const before = look(node);
    node.focus({preventScroll: true});
    if (document.activeElement !== node) say('takes no focus', node);
    else if (look(node) === before) say('focus not seen', node);
  }
  document.activeElement?.blur();
  for (const node of document.querySelectorAll('main *')) {
    if (node.scrollWidth > node.clientWidth + 1 && /auto|scroll/.test(getComputedStyle(node).overflowX) && shown(node)
      && node.tabIndex < 0 && !node.querySelector('a[href], button, input, select')) say('scrolls by mouse only', node);
  }
  return found;
}"""
