"""How a report looks, and the frame of its page.

One column that grows with the screen; figures stand in a second one where there is room.
Colours are those of the figures and have a contrast of at least 7 to 1 where they are
words. Tables scroll by themselves, the page does not.
"""

from collections.abc import Sequence
import html

from dp_fedemb import version

STYLE = """
:root { color-scheme: light; --ink: #1f2a30; --soft: #47535b; --line: #d3dade;
  --pale: #f4f6f7; --dark: #1d4f7c; --warn: #8a2b12; }
* { box-sizing: border-box; }
@media (prefers-reduced-motion: no-preference) { html { scroll-behavior: smooth; } }
body { font: 16px/1.55 system-ui, -apple-system, 'Segoe UI', sans-serif; color: var(--ink);
  background: #fff; margin: 0; overflow-wrap: anywhere; }
main, nav, header, footer { max-width: 62rem; margin: 0 auto; padding: 0 1.1rem; }
header { padding-top: 1.6rem; }
h1 { font-size: 1.75rem; line-height: 1.2; margin: 0 0 .3rem; letter-spacing: -.01em; }
h2 { font-size: 1.3rem; margin: 0 0 .5rem; padding-top: 1.1rem;
  border-top: 2px solid var(--ink); }
section { margin-top: 2.4rem; }
p { margin: .5rem 0; max-width: 46rem; }
.about, .note, figcaption, footer { color: var(--soft); font-size: .9rem; }
.note { margin: .25rem 0; }
nav ul { list-style: none; display: flex; flex-wrap: wrap; gap: .2rem 1.2rem; padding: 0;
  margin: .9rem 0 0; font-size: .95rem; }
a { color: var(--dark); text-underline-offset: .15em; }
a:focus-visible, summary:focus-visible, [tabindex="0"]:focus-visible {
  outline: 3px solid var(--dark); outline-offset: 2px; border-radius: 2px; }
.skip { position: absolute; left: -100rem; }
.skip:focus { left: 1rem; top: .5rem; background: #fff; padding: .3rem .6rem; }
.first { display: grid; gap: 1.2rem 2.4rem; grid-template-columns: minmax(0, 1fr); }
.first p { font-size: 1.1rem; line-height: 1.5; margin: 0 0 .9rem; }
.figures { display: grid; gap: 1.4rem 2rem; grid-template-columns: minmax(0, 1fr);
  align-items: start; margin-top: 1rem; }
@media (min-width: 54rem) {
  .first { grid-template-columns: minmax(0, 1.15fr) minmax(0, 1fr); align-items: start; }
  .figures { grid-template-columns: repeat(2, minmax(0, 1fr)); }
}
figure { margin: 0; }
figure img { width: 100%; max-width: 27.5rem; height: auto; display: block; }
figcaption { max-width: 27.5rem; margin-top: .2rem; }
.verdict { border-left: 5px solid var(--dark); background: var(--pale);
  padding: .7rem 1rem; margin: 1.2rem 0 0; max-width: none; }
.verdict.bad { border-left: 5px double var(--warn); }
.verdict.bad b { color: var(--warn); }
.scroll { overflow-x: auto; margin: 0 0 .3rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .92rem; }
th, td { padding: .32rem 1rem .32rem 0; text-align: left; vertical-align: top;
  border-bottom: 1px solid var(--line); overflow-wrap: normal; }
thead th { color: var(--soft); font-weight: 600; border-bottom: 1px solid var(--ink); }
td.n, th.n { text-align: right; white-space: nowrap; }
details { border: 1px solid var(--line); border-radius: 5px; padding: .55rem .9rem;
  margin: 1rem 0; }
summary { cursor: pointer; font-weight: 600; }
pre { font-size: .78rem; line-height: 1.45; white-space: pre-wrap; margin: .7rem 0 .2rem; }
.query { border-top: 1px solid var(--line); padding: .8rem 0; display: grid; gap: .6rem;
  grid-template-columns: repeat(auto-fill, minmax(5.4rem, 1fr)); list-style: none;
  margin: 0; }
.query li { min-width: 0; font-size: .82rem; font-variant-numeric: tabular-nums; }
.query img { width: 100%; aspect-ratio: 1; object-fit: contain; background: var(--pale);
  display: block; image-rendering: auto; }
.query .right img { border: 3px solid var(--dark); }
.query .wrong img { border: 3px dashed #a8480f; }
.query .self img { border: 4px double var(--ink); }
.query.large { grid-template-columns: repeat(auto-fill, minmax(7rem, 1fr)); border: 0; }
.query.large li:not(.self) img { border: 1px solid var(--line); }
.query b, .query .path { display: block; }
.query .path { color: var(--soft); }
.query .none { aspect-ratio: 1; display: grid; place-items: center; color: var(--soft);
  background: var(--pale); border: 1px dashed var(--soft); }
footer { margin-top: 3rem; padding-bottom: 2rem; }
@media print { nav, .skip { display: none; } section { break-inside: avoid; } }
"""


_BAD = 'verdict bad'


def page(title: str, about: Sequence[str], sections: Sequence[tuple[str, str, str]]) -> str:
    """Returns a page without references to other files.

    Args:
        title: of the page, as text.
        about: lines below it, as text.
        sections: (id, title, content as HTML), the first being the first screen, which is
            in no menu. Those without content are left out.
    """
    sections = [section for section in sections if section[2]]
    menu = ''.join(
        f'<li><a href="#{name}">{html.escape(words)}</a></li>'
        for name, words, _ in sections[1:]
    )
    body = '\n'.join(
        f'<section id="{name}" aria-labelledby="{name}-title">'
        f'<h2 id="{name}-title">{html.escape(words)}</h2>\n{content}</section>'
        for name, words, content in sections
    )
    if menu:
        menu = f'<nav aria-label="Sections"><ul>{menu}</ul></nav>\n'
    lines = ''.join(
        f'<p class="{_BAD if line.startswith("WARNING") else "about"}">{html.escape(line)}</p>'
        for line in about
    )
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        # Without it a browser looks for one beside the file.
        '<link rel="icon" href="data:,">\n'
        f'<title>{html.escape(title)}</title>\n<style>{STYLE}</style></head>\n'
        '<body><a class="skip" href="#main">To the content</a>\n'
        f'<header><h1>{html.escape(title)}</h1>{lines}</header>\n'
        f'{menu}<main id="main" tabindex="-1">\n{body}\n</main>\n'
        f'<footer><p>Made by dp_fedemb {version.__version__}. This file needs no other.</p>'
        '</footer></body></html>\n'
    )
