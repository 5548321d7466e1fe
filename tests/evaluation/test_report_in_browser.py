"""The reports in a real browser: wide and on a telephone, with mouse-free hands."""

import pytest

from dp_fedemb.evaluation.report import writing
from tests import browsing

pytestmark = browsing.needed


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
    with browsing.browser() as driver:
        yield driver


@pytest.mark.parametrize('size', browsing.SIZES)
def test_pages_are_whole(reports, browser, size):
    for path in reports:
        browsing.check_whole(browser, path, size, texts=60, images=2)


def test_axe_finds_no_fault_in_contrast_or_elsewhere(reports, browser):
    for path in reports:
        browsing.check_accessible(browser, path)


def test_keyboard_reaches_everything(reports, browser):
    from selenium.webdriver.common import keys

    browsing.open_page(browser, reports[0], 'wide')
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
    browsing.open_page(browser, reports[0], 'wide')
    summary = browser.find_element('id', 'summary')
    assert summary.rect['y'] + summary.rect['height'] <= 900
    for words in ('95% interval', 'never saw in training', 'epsilon = 2', '1 of 1,000'):
        assert words in summary.text
    assert len(summary.find_elements('css selector', 'img')) == 1
    statement = browser.find_element('css selector', '#privacy pre')
    assert not statement.is_displayed()
