"""The reports in a real browser: wide and on a telephone, with mouse-free hands."""

import shutil

import pytest

from dp_fedemb.evaluation.report import writing

selenium = pytest.importorskip('selenium.webdriver', reason='selenium is not installed')
axe = pytest.importorskip('axe_selenium_python', reason='axe-core is not installed')
CHROMIUM, DRIVER = (shutil.which(name) for name in ('chromium', 'chromedriver'))
pytestmark = pytest.mark.skipif(
    not (CHROMIUM and DRIVER), reason='no chromium or no chromedriver on this machine'
)

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
_SIZES = {'wide': (1280, 900), 'phone': (400, 860)}


@pytest.fixture(scope='module')
def reports(report_pages, tmp_path_factory):
    path = tmp_path_factory.mktemp('reports')
    writing.write(path / 'one', report_pages.single(path, show_images=True), True)
    _, found = report_pages.evaluate(path / 'two', (5.0, 60.0))
    runs = [path / 'run', path / 'without a statement']
    writing.write(path / 'both', writing.Comparison.of(found, ['a/x', 'a/y'], runs), True)
    return [path / name / 'report.html' for name in ('one', 'both')]


@pytest.fixture(scope='module')
def browser():
    from selenium.webdriver.chrome import service

    options = selenium.ChromeOptions()
    for argument in ('headless=new', 'no-sandbox', 'disable-gpu', 'disable-dev-shm-usage'):
        options.add_argument(f'--{argument}')
    options.binary_location = CHROMIUM
    options.set_capability('goog:loggingPrefs', {'browser': 'ALL'})
    driver = selenium.Chrome(options=options, service=service.Service(DRIVER))
    yield driver
    driver.quit()


def open_page(browser, path, size):
    width, height = _SIZES[size]
    browser.execute_cdp_cmd(
        'Emulation.setDeviceMetricsOverride',
        {'width': width, 'height': height, 'deviceScaleFactor': 1, 'mobile': size == 'phone'},
    )
    browser.get(path.as_uri())


@pytest.mark.parametrize('size', _SIZES)
def test_pages_are_whole(reports, browser, size):
    for path in reports:
        open_page(browser, path, size)
        for state in ('folded', 'unfolded'):
            count, overlaps = browser.execute_script(_OVERLAPS)
            assert count > 60 and overlaps == [], (path, state)
            widths = 'return [document.documentElement.scrollWidth, innerWidth]'
            scrolled, seen = browser.execute_script(widths)
            assert scrolled <= seen == _SIZES[size][0], (path, state)
            browser.execute_script(
                'document.querySelectorAll("details").forEach(d => d.open = true)'
            )
        broken = (
            'return [...document.images].filter(i => !i.complete || !i.naturalWidth).length'
        )
        assert browser.execute_script(broken) == 0
        assert browser.execute_script('return document.images.length') >= 2
        assert browser.get_log('browser') == []


def test_axe_finds_no_fault_in_contrast_or_elsewhere(reports, browser):
    for path in reports:
        open_page(browser, path, 'phone')
        browser.execute_script(
            'document.querySelectorAll("details").forEach(d => d.open = true)'
        )
        checker = axe.Axe(browser)
        checker.inject()
        found = checker.run()
        faults = [(v['id'], [n['html'][:120] for n in v['nodes']]) for v in found['violations']]
        assert faults == []
        passed = {rule['id'] for rule in found['passes']}
        assert {'color-contrast', 'image-alt'} <= passed


def test_keyboard_reaches_everything(reports, browser):
    from selenium.webdriver.common import keys

    open_page(browser, reports[0], 'wide')
    seen = []
    for _ in range(40):
        browser.switch_to.active_element.send_keys(keys.Keys.TAB)
        element = browser.switch_to.active_element
        seen.append(element.tag_name)
        if len(seen) == 1:
            assert element.text == 'To the content' and element.location['x'] >= 0
        if element.tag_name == 'summary':
            element.send_keys(keys.Keys.ENTER)
            folded = element.find_element('xpath', '..')
            assert folded.get_attribute('open') is not None
            break
    assert seen[-1] == 'summary' and seen.count('a') >= 6


def test_first_screen_says_what_counts(reports, browser):
    open_page(browser, reports[0], 'wide')
    summary = browser.find_element('id', 'summary')
    assert summary.rect['y'] + summary.rect['height'] <= 900
    for words in ('95% interval', 'never saw in training', 'epsilon = 2', '1 of 1,000'):
        assert words in summary.text
    assert len(summary.find_elements('css selector', 'img')) == 1
    statement = browser.find_element('css selector', '#privacy pre')
    assert not statement.is_displayed()
