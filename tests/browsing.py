"""Pages in a real browser, wide and on a telephone; tests import this where there is one."""

import contextlib
import shutil

import pytest

selenium = pytest.importorskip('selenium.webdriver', reason='selenium is not installed')
axe = pytest.importorskip('axe_selenium_python', reason='axe-core is not installed')
CHROMIUM, DRIVER = (shutil.which(name) for name in ('chromium', 'chromedriver'))
needed = pytest.mark.skipif(
    not (CHROMIUM and DRIVER), reason='no chromium or no chromedriver on this machine'
)

# Width and height of the window.
SIZES = {'wide': (1280, 900), 'phone': (400, 860)}
# Rectangles of all lines of text that are seen, with the words in them.
_OVERLAPS = """
const boxes = [];
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
for (let node; node = walker.nextNode();) {
  if (!node.data.trim() || node.parentElement.closest('.skip')
      || node.parentElement.closest('details:not([open]) > :not(summary)')) continue;
  const range = document.createRange();
  range.selectNodeContents(node);
  for (const r of range.getClientRects())
    if (r.width > 1 && r.height > 1) boxes.push([r, node.data.trim().slice(0, 40)]);
}
for (const image of document.images) boxes.push([image.getBoundingClientRect(), image.alt]);
const found = [];
boxes.forEach(([a, x], i) => boxes.slice(i + 1).forEach(([b, y]) => {
  const across = Math.min(a.right, b.right) - Math.max(a.left, b.left);
  const down = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
  if (across > 2 && down > 5) found.push([x, y]);
}));
return [boxes.length, found];
"""
_UNFOLD = 'document.querySelectorAll("details").forEach(d => d.open = true)'
_BROKEN = 'return [...document.images].filter(i => !i.complete || !i.naturalWidth).length'
_ASKED = 'return performance.getEntriesByType("resource").map(e => e.name)'


@contextlib.contextmanager
def browser():
    """A browser without a window, and without a network."""
    from selenium.webdriver.chrome import service

    options = selenium.ChromeOptions()
    for argument in ('headless=new', 'no-sandbox', 'disable-gpu', 'disable-dev-shm-usage'):
        options.add_argument(f'--{argument}')
    options.binary_location = CHROMIUM
    options.set_capability('goog:loggingPrefs', {'browser': 'ALL'})
    driver = selenium.Chrome(options=options, service=service.Service(DRIVER))
    try:
        driver.set_network_conditions(offline=True, latency=0, throughput=0)
        yield driver
    finally:
        driver.quit()


def open_page(driver, path, size):
    """Shows a file at one of `SIZES`."""
    width, height = SIZES[size]
    driver.execute_cdp_cmd(
        'Emulation.setDeviceMetricsOverride',
        {'width': width, 'height': height, 'deviceScaleFactor': 1, 'mobile': size == 'phone'},
    )
    driver.get(path.as_uri())


def check_whole(driver, path, size, texts, images):
    """No overlap, no horizontal scroll, no missing picture, no message, no other file.

    Args:
        driver: of `browser`.
        path: of the page.
        size: one of `SIZES`.
        texts: least number of lines and pictures on the page.
        images: least number of pictures.
    """
    open_page(driver, path, size)
    for state in ('folded', 'unfolded'):
        count, overlaps = driver.execute_script(_OVERLAPS)
        assert count > texts and overlaps == [], (path, state)
        widths = 'return [document.documentElement.scrollWidth, innerWidth]'
        scrolled, seen = driver.execute_script(widths)
        assert scrolled <= seen == SIZES[size][0], (path, state)
        driver.execute_script(_UNFOLD)
    assert driver.execute_script(_BROKEN) == 0
    assert driver.execute_script('return document.images.length') >= images
    asked = driver.execute_script(_ASKED)
    assert [name for name in asked if not name.startswith('data:')] == []
    assert driver.get_log('browser') == []


def check_accessible(driver, path):
    """Axe finds no fault, and has looked at contrast and at alternative texts."""
    open_page(driver, path, 'phone')
    driver.execute_script(_UNFOLD)
    checker = axe.Axe(driver)
    checker.inject()
    found = checker.run()
    faults = [(v['id'], [n['html'][:120] for n in v['nodes']]) for v in found['violations']]
    assert faults == []
    assert {'color-contrast', 'image-alt'} <= {rule['id'] for rule in found['passes']}
