import { address, barPosition, canvas, colourAt, expect, focused, open, options, tableRows, test } from './page.ts';
import { ALLOC, CPU, DEEP, HUGE, service, WIDE } from './seed.ts';

test.describe('values', () => {
  test('shares are 70, 20 and 10 percent, everywhere', async ({ page }) => {
    await open(page, service('shop'));
    await expect(page.locator('.flame-panel .status')).toContainText('Total 1 s');
    await expect(page.locator('.flame-panel .status')).toContainText('6 nodes');
    await expect(page.locator('.grid-space [role=row]')).toHaveCount(5);
    expect(await tableRows(page)).toEqual([
      ['parse', '700 ms 70.0 %', '700 ms 70.0 %'],
      ['render', '200 ms 20.0 %', '200 ms 20.0 %'],
      ['idle', '100 ms 10.0 %', '100 ms 10.0 %'],
      ['handle', '0 ns 0 %', '900 ms 90.0 %'],
      ['main', '0 ns 0 %', '1 s 100.0 %'],
    ]);
  });

  test('the tooltip answers for the bar under the pointer', async ({ page }) => {
    await open(page, service('shop'));
    const bars: [number, number, string, string][] = [
      [0.5, 0, 'total', '1 s'],
      [0.5, 1, 'main', '1 s'],
      [0.3, 2, 'handle', '900 ms'],
      [0.95, 2, 'idle', '100 ms'],
      [0.3, 3, 'parse', '700 ms'],
      [0.8, 3, 'render', '200 ms'],
    ];
    for (const [share, level, name, total] of bars) {
      const at = await barPosition(page, share, level);
      await page.mouse.move(at.x, at.y);
      await expect(page.locator('.tooltip-name')).toHaveText(name);
      await expect(page.locator('.tooltip tr').first()).toContainText(total);
    }
    const beside = await barPosition(page, 0.95, 3);
    await page.mouse.move(beside.x, beside.y);
    await expect(page.locator('.tooltip')).toHaveCount(0);
  });

  test('sorting by each column', async ({ page }) => {
    await open(page, service('shop'));
    const names = async () => (await tableRows(page)).map((row) => row[0]).join(' ');
    await page.getByRole('columnheader', { name: 'Total' }).getByRole('button').click();
    await expect.poll(names).toBe('main handle parse render idle');
    await page.getByRole('columnheader', { name: 'Function' }).getByRole('button').click();
    await expect.poll(names).toBe('handle idle main parse render');
    await page.getByRole('columnheader', { name: 'Function' }).getByRole('button').click();
    await expect.poll(names).toBe('render parse main idle handle');
    expect(address(page).get('sort')).toBe('name');
  });

  test('another profile type has its own unit', async ({ page }) => {
    await open(page, service('shop'));
    await page.getByRole('button', { name: /^Profile:/ }).click();
    await page.getByRole('option', { name: 'memory - alloc_space' }).click();
    await expect(page.locator('.flame-panel .status')).toContainText('Total 1 MiB');
    expect(address(page).get('type')).toBe(ALLOC);
  });
});

test.describe('choosing', () => {
  test('a service with filter and keyboard', async ({ page }) => {
    await open(page, service('shop'));
    await page.getByRole('button', { name: /^Service:/ }).click();
    await expect(page.getByRole('combobox', { name: 'Filter: Service' })).toBeFocused();
    await page.keyboard.type(service('cart'));
    await expect(options(page)).toHaveCount(1);
    await page.keyboard.press('Enter');
    await expect(page.locator('.flame-panel .status')).toContainText('Total 400 ms');
    expect(address(page).get('service')).toBe(service('cart'));
    expect(address(page).get('type')).toBe(CPU);
  });

  test('labels with completion of names and values', async ({ page }) => {
    await open(page, service('cart'));
    const input = page.getByRole('combobox', { name: 'Label selector' });
    await input.fill('reg');
    await options(page).getByText('region').click();
    await expect(input).toHaveValue('region="');
    await expect(options(page)).toHaveText(['eu', 'us']);
    await options(page).getByText('us').click();
    await expect(input).toHaveValue('region="us"');
    await input.press('Enter');
    await expect(page.locator('.flame-panel .status')).toContainText('Total 100 ms');
    await expect.poll(async () => (await tableRows(page)).map((row) => row[0])).toEqual(['us_work', 'main']);
    expect(address(page).get('labels')).toBe('region="us"');
  });

  test('a time range by preset, and going back', async ({ page }) => {
    await open(page, service('shop'));
    await page.getByRole('button', { name: /^Time range:/ }).click();
    await page.getByRole('button', { name: 'Last 5 minutes' }).click();
    await expect(page.getByText(/No profiles of/).first()).toBeVisible();
    await page.goBack();
    await expect(page.locator('.flame-panel .status')).toContainText('Total 1 s');
  });

  test('a custom time range', async ({ page }) => {
    await open(page, service('shop'));
    await page.getByRole('button', { name: /^Time range:/ }).click();
    await page.getByLabel('From', { exact: true }).fill('2020-01-01T00:00:00');
    await page.getByLabel('To', { exact: true }).fill('2020-01-01T01:00:00');
    await page.getByRole('button', { name: 'Apply' }).click();
    await expect.poll(() => [address(page).get('from'), address(page).get('to')]).toEqual(['1577836800000', '1577840400000']);
  });

  test('no data in the range offers a wider one', async ({ page }) => {
    await page.goto(`./?${new URLSearchParams({ service: service('shop'), type: CPU, from: 'now-5m' })}`);
    await page.getByRole('button', { name: 'Show last 15 minutes' }).first().click();
    await expect(page.locator('.flame-panel .status')).toContainText('Total 1 s');
  });

  test('dragging over the timeline selects a range', async ({ page }) => {
    await open(page, service('shop'));
    const box = (await page.locator('.u-over').boundingBox())!;
    await page.mouse.move(box.x + box.width * 0.5, box.y + 30);
    await page.mouse.down();
    await page.mouse.move(box.x + box.width * 0.95, box.y + 30, { steps: 8 });
    await page.mouse.up();
    await expect.poll(() => address(page).get('to')).toMatch(/^\d{13}$/);
    const width = Number(address(page).get('to')) - Number(address(page).get('from'));
    expect(width / 60_000).toBeGreaterThan(26);
    expect(width / 60_000).toBeLessThan(28);
    await expect(page.locator('.flame-panel .status')).toContainText('Total 1 s');
  });
});

test.describe('search and selection', () => {
  test('search filters the table, counts in the graph and stays in the address', async ({ page }) => {
    await open(page, service('shop'));
    await page.keyboard.press('/');
    await page.keyboard.type('pars');
    await expect(page.getByTestId('matches')).toHaveText('Matches 70.0 %');
    await expect.poll(async () => (await tableRows(page)).map((row) => row[0])).toEqual(['parse']);
    await expect.poll(() => address(page).get('q')).toBe('pars');
    await page.keyboard.press('Escape');
    await expect.poll(async () => (await tableRows(page)).length).toBe(5);
  });

  test('search dims the bars that do not match, whether typed or in the link', async ({ page }) => {
    await open(page, service('shop'));
    const [parse, idle] = [await colourAt(page, 0.5, 3), await colourAt(page, 0.95, 2)];
    await page.getByLabel('Search functions').fill('parse');
    await expect.poll(() => colourAt(page, 0.95, 2)).not.toBe(idle);
    expect(await colourAt(page, 0.5, 3)).toBe(parse);
    await expect.poll(() => address(page).get('q')).toBe('parse');
    const dimmed = await colourAt(page, 0.95, 2);
    await page.reload();
    await expect.poll(() => colourAt(page, 0.95, 2)).toBe(dimmed);
    expect(await colourAt(page, 0.5, 3)).toBe(parse);
  });

  test('regular expressions, and a broken one', async ({ page }) => {
    await open(page, service('shop'), { q: 'parse|idle', regex: '1' });
    await expect(page.getByTestId('matches')).toHaveText('Matches 80.0 %');
    await page.getByLabel('Search functions').fill('(');
    await expect(page.locator('.search-result')).toHaveText('not a regular expression');
    await expect.poll(async () => (await tableRows(page)).length).toBe(5);
  });

  test('a row highlights its function in the graph with its share', async ({ page }) => {
    await open(page, service('shop'));
    const plain = await canvas(page).screenshot();
    await page.locator('.grid-space [role=row]', { hasText: 'render' }).click();
    await expect(page.getByTestId('selected')).toContainText('render');
    await expect(page.getByTestId('selected')).toContainText('20.0 %');
    await expect.poll(() => address(page).get('fn')).toBe('render');
    expect((await canvas(page).screenshot()).equals(plain)).toBe(false);
  });

  test('a bar selects its row', async ({ page }) => {
    await open(page, service('shop'));
    const at = await barPosition(page, 0.95, 2);
    await page.mouse.click(at.x, at.y);
    await expect(page.locator('.grid-row.selected')).toContainText('idle');
  });
});

test.describe('zoom', () => {
  test('a click zooms, back and Escape zoom out', async ({ page }) => {
    await open(page, service('shop'));
    const render = await barPosition(page, 0.8, 3);
    await page.mouse.click(render.x, render.y);
    await expect(page.locator('.breadcrumb')).toContainText('render');
    await expect(page.locator('.breadcrumb')).toContainText('20.0 %');
    expect(address(page).get('zoom')).toMatch(/^[0-9a-f]{16}$/);
    const left = await barPosition(page, 0.02, 3);
    await page.waitForTimeout(300);
    await page.mouse.move(left.x, left.y);
    await expect(page.locator('.tooltip-name')).toHaveText('render');
    await page.goBack();
    await expect(page.locator('.breadcrumb')).toHaveCount(0);
    await page.goForward();
    await expect(page.locator('.breadcrumb')).toContainText('render');
    await canvas(page).focus();
    await page.keyboard.press('Escape');
    await expect(page.locator('.breadcrumb')).toHaveCount(0);
  });

  test('the wheel zooms at the pointer and dragging moves', async ({ page }) => {
    await open(page, service('shop'));
    const parse = await barPosition(page, 0.4, 3);
    await page.mouse.move(parse.x, parse.y);
    for (let i = 0; i < 8; i++) await page.mouse.wheel(0, -300);
    await expect.poll(() => address(page).get('span')).not.toBeNull();
    await expect(page.locator('.tooltip-name')).toHaveText('parse');
    const [from, to] = address(page).get('span')!.split('_').map(Number);
    expect(from).toBeLessThan(0.4);
    expect(to).toBeGreaterThan(0.4);
    await page.mouse.down();
    await page.mouse.move(parse.x + 200, parse.y, { steps: 5 });
    await page.mouse.up();
    await expect.poll(() => Number(address(page).get('span')?.split('_')[0])).toBeLessThan(from);
    await page.getByRole('button', { name: 'Show all' }).click();
    await expect.poll(() => address(page).get('span')).toBeNull();
  });

  test('shift and drag zoom to a part', async ({ page }) => {
    await open(page, service('shop'));
    const [from, to] = [await barPosition(page, 0.2, 4), await barPosition(page, 0.6, 4)];
    await page.keyboard.down('Shift');
    await page.mouse.move(from.x, from.y);
    await page.mouse.down();
    await page.mouse.move(to.x, to.y, { steps: 5 });
    await page.mouse.up();
    await page.keyboard.up('Shift');
    await expect.poll(() => address(page).get('span')).not.toBeNull();
    const [left, right] = address(page).get('span')!.split('_').map(Number);
    expect(left).toBeCloseTo(0.2, 2);
    expect(right).toBeCloseTo(0.6, 2);
  });

  test('the way to the zoomed bar leads back', async ({ page }) => {
    await open(page, service('shop'));
    const parse = await barPosition(page, 0.3, 3);
    await page.mouse.click(parse.x, parse.y);
    const way = page.getByRole('navigation', { name: 'Zoomed to' });
    await expect(way.getByRole('listitem')).toHaveText(['total', 'main', 'handle', 'parse70.0 %', 'Show all']);
    await way.getByRole('button', { name: 'handle' }).click();
    await expect(way.getByRole('listitem')).toHaveText(['total', 'main', 'handle90.0 %', 'Show all']);
    await way.getByRole('button', { name: 'total' }).click();
    await expect(way).toHaveCount(0);
  });

  test('the menu searches, zooms and resets', async ({ page }) => {
    await open(page, service('shop'));
    const handle = await barPosition(page, 0.3, 2);
    await page.mouse.click(handle.x, handle.y, { button: 'right' });
    await expect(page.getByRole('menu', { name: 'handle' })).toBeVisible();
    await page.getByRole('menuitem', { name: 'Search this function' }).click();
    await expect(page.getByTestId('matches')).toHaveText('Matches 90.0 %');
    await page.mouse.click(handle.x, handle.y, { button: 'right' });
    await expect(page.getByRole('menuitem', { name: 'Zoom to this bar' })).toBeFocused();
    await page.keyboard.press('Enter');
    await expect(page.locator('.breadcrumb')).toContainText('handle');
    await page.mouse.click(handle.x, handle.y, { button: 'right' });
    await page.getByRole('menuitem', { name: 'Reset view' }).click();
    await expect(page.locator('.breadcrumb')).toHaveCount(0);
    await expect(page.getByTestId('matches')).toHaveCount(0);
  });
});

test.describe('other trees of the same profile', () => {
  test('focus shows only what a function calls, and stays in the link', async ({ page }) => {
    await open(page, service('shop'));
    const handle = await barPosition(page, 0.3, 2);
    await page.mouse.click(handle.x, handle.y, { button: 'right' });
    await page.getByRole('menuitem', { name: 'Focus on this function' }).click();
    const status = page.locator('.flame-panel .status');
    await expect(status).toContainText('Total 900 ms');
    await expect(page.locator('.focus-bar')).toContainText(/handle\s*90.0 % of everything/);
    expect(address(page).get('focus')).toBe('handle');
    await page.reload();
    await expect(status).toContainText('Total 900 ms');
    await page.getByRole('button', { name: 'Show everything' }).click();
    await expect(status).toContainText('Total 1 s');
    await page.goBack();
    await expect(status).toContainText('Total 900 ms');
  });

  test('a focused function that is missing is said', async ({ page }) => {
    await open(page, service('shop'), { focus: 'nowhere' });
    await expect(page.getByText('The focused function is not in this profile.')).toBeVisible();
  });

  test('collapsed recursion is one bar', async ({ page }) => {
    await open(page, service('walk'));
    const status = page.locator('.flame-panel .status');
    await expect(status).toContainText('5 levels');
    await page.getByRole('button', { name: 'Collapse recursion' }).click();
    await expect(status).toContainText('4 levels');
    await expect(status).toContainText('6 nodes');
    expect(address(page).get('collapse')).toBe('1');
    const visit = await barPosition(page, 0.45, 3);
    await page.mouse.move(visit.x, visit.y);
    await expect(page.locator('.tooltip-name')).toHaveText('visit');
    await expect(page.locator('.tooltip tr').first()).toContainText('300 ms');
  });

  test('callers and callees follow the table', async ({ page }) => {
    await open(page, service('walk'), { dir: 'sandwich', view: 'flame' });
    await expect(page.getByText('Select a function in the table')).toBeVisible();
    await page.getByRole('button', { name: 'Show the table' }).click();
    await page.locator('.grid-space [role=row]', { hasText: 'walk' }).click();
    await expect(page.getByRole('heading', { name: 'Callers of walk' })).toBeVisible();
    const spoken = (list: string) => page.locator(`#${list}-nodes [role=treeitem]`).allTextContents();
    await expect.poll(() => spoken('callers')).toEqual([
      'walk, 100 % total, 0 % self, level 1, root',
      'main, 100 % total, 100 % self, level 2, child 1 of 1',
    ]);
    await page.locator('.grid-space [role=row]', { hasText: 'parse' }).click();
    await expect.poll(async () => (await spoken('callers'))[1]).toBe('load, 100 % total, 0 % self, level 2, child 1 of 1');
    await expect.poll(() => spoken('callees')).toEqual(['parse, 100 % total, 100 % self, level 1, root']);
    expect(address(page).get('dir')).toBe('sandwich');
  });

  test('the menu turns to callers and callees', async ({ page }) => {
    await open(page, service('shop'));
    const idle = await barPosition(page, 0.95, 2);
    await page.mouse.click(idle.x, idle.y, { button: 'right' });
    await page.getByRole('menuitem', { name: 'Callers and callees' }).click();
    await expect(page.getByRole('heading', { name: 'Callees of idle' })).toBeVisible();
    await page.goBack();
    await expect(canvas(page)).toBeVisible();
  });
});

test.describe('address', () => {
  test('a link restores the whole view', async ({ page }) => {
    await open(page, service('shop'), { q: 'parse', sort: 'name', asc: '1', view: 'both', dir: 'flame', fn: 'idle', colour: 'name' });
    const at = await barPosition(page, 0.3, 0);
    const box = (await canvas(page).boundingBox())!;
    await page.mouse.click(at.x, box.y + box.height - 50);
    await expect(page.locator('.breadcrumb')).toContainText('handle');
    const link = page.url();
    await page.goto('about:blank');
    await page.goto(link);
    await expect(page.locator('.breadcrumb')).toContainText('handle');
    await expect(page.getByLabel('Search functions')).toHaveValue('parse');
    await expect(page.getByRole('button', { name: 'Flame', exact: true })).toHaveAttribute('aria-pressed', 'true');
    await expect(page.getByRole('columnheader', { name: 'Function' })).toHaveAttribute('aria-sort', 'ascending');
    await expect(page.getByLabel('Colour by')).toHaveValue('name');
    expect(page.url()).toBe(link);
  });

  test('view modes hide and show the parts', async ({ page }) => {
    await open(page, service('shop'));
    await page.getByRole('button', { name: 'Table', exact: true }).click();
    await expect(canvas(page)).toHaveCount(0);
    await page.goBack();
    await expect(canvas(page)).toBeVisible();
    await page.getByRole('button', { name: 'Flame graph', exact: true }).click();
    await expect(page.getByRole('grid')).toHaveCount(0);
    await page.reload();
    await expect(page.getByRole('grid')).toHaveCount(0);
    await expect(canvas(page)).toBeVisible();
  });
});

test.describe('size', () => {
  test('a deep stack scrolls with a canvas no larger than the window', async ({ page }) => {
    await open(page, service('deep'), { q: `level${DEEP - 1}` });
    await expect(page.locator('.flame-panel .status')).toContainText(`${DEEP + 1} levels`);
    const box = (await canvas(page).boundingBox())!;
    expect(box.height).toBeLessThan(900);
    await canvas(page).focus();
    await page.keyboard.press('n');
    expect(await focused(page)).toContain(`level${DEEP - 1}, 100 % total, 100 % self, level ${DEEP + 1}`);
    const bottom = await page.locator('.flame-scroller').evaluate((element) => element.scrollTop);
    expect(bottom).toBeGreaterThan(4000);
  });

  test('what is folded away is said, and can be asked for', async ({ page }) => {
    await open(page, service('many'));
    const status = page.locator('.flame-panel .status');
    await expect(status).toContainText(/\d % folded below the threshold/);
    await status.getByRole('button', { name: /Show up to 65.536 nodes/ }).click();
    await expect(status).toContainText(/20.002 nodes/);
    await expect(status).not.toContainText('folded');
    expect(address(page).get('nodes')).toBe('65536');
  });

  test('a large answer is read by a worker, a small one is not, and what came too late is not shown', async ({ page }) => {
    await open(page, service('many'));
    expect(page.workers().length).toBe(0);
    await page.locator('.flame-panel .status').getByRole('button', { name: /Show up to/ }).click();
    await expect(page.locator('.flame-panel .status')).toContainText(/20.002 nodes/);
    expect(page.workers().length).toBe(0);

    await page.goto('about:blank');
    await open(page, service('huge'), { nodes: '262144' });
    await expect(page.locator('.flame-panel .status')).toContainText(new RegExp(`${HUGE / 1000}.002 nodes`));
    expect(page.workers().length).toBe(1);
    const at = await barPosition(page, 0.5, 1);
    await page.mouse.move(at.x, at.y);
    await expect(page.locator('.tooltip-name')).toHaveText('main');
    await page.getByRole('button', { name: 'Refresh', exact: true }).click();
    await page.getByRole('button', { name: /^Service:/ }).click();
    await page.keyboard.type(service('shop'));
    await page.keyboard.press('Enter');
    await expect(page.locator('.flame-panel .status')).toContainText('6 nodes');
    await expect.poll(() => page.workers().length).toBeLessThan(2);
    await expect(page.locator('.flame-panel .status')).toContainText('6 nodes');
  });

  test('a long table renders only what is visible', async ({ page }) => {
    await open(page, service('wide'), { sort: 'name', asc: '1' });
    await expect(page.getByRole('grid')).toHaveAttribute('aria-rowcount', String(WIDE + 2));
    expect(await page.locator('.grid-space [role=row]').count()).toBeLessThan(60);
    await page.getByRole('grid').focus();
    await page.keyboard.press('End');
    await expect(page.locator('.grid-row.selected')).toContainText('main');
    await expect(page.locator('.grid-row.selected')).toHaveAttribute('aria-rowindex', String(WIDE + 2));
  });

  test('bars thinner than a pixel still answer', async ({ page }) => {
    await open(page, service('wide'));
    const at = await barPosition(page, 0.5, 2);
    await page.mouse.move(at.x, at.y);
    await expect(page.locator('.tooltip-name')).toHaveText(/^f0(499|500|501)$/);
    await expect(page.locator('.tooltip tr').first()).toContainText('10 ms');
  });
});
