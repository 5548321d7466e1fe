"""The page of a search in a real browser."""

import pytest

from dp_fedemb.gallery import search_page
from dp_fedemb.gallery import searching
from tests import browsing

pytestmark = browsing.needed


@pytest.fixture
def page(folder, tmp_path):
    """A search for two pictures, of long names, among others that are there, gone or broken."""
    long = folder / '00' / ('a' * 200 + '.png')
    (folder / '00/0.png').rename(long)
    (folder / '01/0.png').write_bytes(b'broken')
    names = [str(path.relative_to(folder)) for path in sorted(folder.rglob('*.png'))]
    notes = ('', 'gone', 'changed')
    neighbours = [
        searching.Neighbour(name, 1 - place / 30, notes[place % 3])
        for place, name in enumerate(names)
    ]
    found = [
        searching.Found(str(long), tuple(neighbours)),
        searching.Found(str(folder / '02/0.png'), ()),
    ]
    path = tmp_path / 'page.html'
    path.write_text(search_page.build(found, str(folder)))
    return path


def test_the_page_is_whole_legible_and_works_from_the_keyboard(page):
    from selenium.webdriver.common import keys
    from selenium.webdriver.support import wait

    with browsing.browser() as driver:
        for size in browsing.SIZES:
            browsing.check_whole(driver, page, size, texts=100, images=60)
        browsing.check_accessible(driver, page)
        browsing.open_page(driver, page, 'wide')
        driver.switch_to.active_element.send_keys(keys.Keys.TAB)
        reached = driver.switch_to.active_element
        assert reached.text == 'To the content' and reached.location['x'] >= 0
        reached.send_keys(keys.Keys.TAB)
        driver.switch_to.active_element.send_keys(keys.Keys.ENTER)
        assert driver.current_url.endswith('#picture-2')
        # It may glide there.
        wait.WebDriverWait(driver, 120).until(
            lambda driver: driver.execute_script('return scrollY') > 300
        )
        # The picture itself is told from the others without colour.
        frames = 'return [...document.images].map(i => getComputedStyle(i).borderStyle)'
        styles = driver.execute_script(frames)
        assert styles[0] == 'double' and styles.count('double') == 2
