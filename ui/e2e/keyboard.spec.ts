import { canvas, expect, focused, open, tableRows, test } from './page.ts';
import { service } from './seed.ts';

test('arrows walk the tree and speak every step', async ({ page }) => {
  await open(page, service('shop'));
  await page.keyboard.press('g');
  await expect(canvas(page)).toBeFocused();
  expect(await focused(page)).toBe('total, 100 % total, 0 % self, level 1, root');
  const steps: [string, string][] = [
    ['ArrowDown', 'total, 100 % total, 0 % self, level 1, root'],
    ['ArrowDown', 'main, 100 % total, 0 % self, level 2, child 1 of 1'],
    ['ArrowDown', 'handle, 90 % total, 0 % self, level 3, child 1 of 2'],
    ['ArrowRight', 'idle, 10 % total, 10 % self, level 3, child 2 of 2'],
    ['ArrowRight', 'idle, 10 % total, 10 % self, level 3, child 2 of 2'],
    ['ArrowLeft', 'handle, 90 % total, 0 % self, level 3, child 1 of 2'],
    ['ArrowDown', 'parse, 70 % total, 70 % self, level 4, child 1 of 2'],
    ['ArrowRight', 'render, 20 % total, 20 % self, level 4, child 2 of 2'],
    ['ArrowUp', 'handle, 90 % total, 0 % self, level 3, child 1 of 2'],
  ];
  for (const [key, says] of steps) {
    await page.keyboard.press(key);
    expect(await focused(page)).toBe(says);
  }
  await expect(page.locator('.grid-row.selected')).toContainText('handle');
});

test('Enter zooms in, Backspace zooms out', async ({ page }) => {
  await open(page, service('shop'));
  await canvas(page).focus();
  for (const key of ['ArrowDown', 'ArrowDown', 'ArrowDown', 'ArrowRight', 'Enter']) await page.keyboard.press(key);
  await expect(page.locator('.breadcrumb')).toContainText('idle');
  await page.keyboard.press('Backspace');
  await expect(page.locator('.breadcrumb')).toHaveCount(0);
});

test('search, next and previous match', async ({ page }) => {
  await open(page, service('shop'), { q: 'e', regex: '0' });
  await canvas(page).focus();
  const names: string[] = [];
  for (const key of ['n', 'n', 'n', 'n', 'n', 'p']) {
    await page.keyboard.press(key);
    names.push((await focused(page)).split(',')[0]);
  }
  expect(names).toEqual(['handle', 'parse', 'render', 'idle', 'handle', 'idle']);
});

test('t goes to the table and back, Enter goes to the bar', async ({ page }) => {
  await open(page, service('shop'), { view: 'flame' });
  await page.keyboard.press('t');
  await expect(page.getByRole('grid')).toBeFocused();
  await expect.poll(async () => (await tableRows(page)).length).toBe(5);
  await page.keyboard.press('ArrowDown');
  await page.keyboard.press('ArrowDown');
  await expect(page.getByTestId('selected')).toContainText('render');
  await page.keyboard.press('Enter');
  await expect(canvas(page)).toBeFocused();
  expect(await focused(page)).toContain('render, 20 % total');
  await page.keyboard.press('t');
  await expect(page.getByRole('grid')).toBeFocused();
});

test('s shows callers and callees of the selection, and goes back', async ({ page }) => {
  await open(page, service('shop'));
  await canvas(page).focus();
  for (const key of ['ArrowDown', 'ArrowDown', 'ArrowDown', 's']) await page.keyboard.press(key);
  const callees = page.getByRole('tree', { name: 'Callees' });
  await expect(callees).toBeVisible();
  await page.keyboard.press('g');
  await expect(callees).toBeFocused();
  await page.keyboard.press('ArrowDown');
  await page.keyboard.press('ArrowDown');
  const id = await callees.getAttribute('aria-activedescendant');
  await expect(page.locator(`[id="${id}"]`)).toHaveText('parse, 77.8 % total, 77.8 % self, level 2, child 1 of 2');
  await page.keyboard.press('s');
  await expect(canvas(page)).toBeVisible();
});

test('? shows the shortcuts, Escape closes them', async ({ page }) => {
  await open(page, service('shop'));
  await page.keyboard.press('?');
  await expect(page.getByRole('dialog', { name: 'Keyboard and mouse' })).toBeVisible();
  await page.keyboard.press('Escape');
  await expect(page.getByRole('dialog')).toHaveCount(0);
});

test('the menu of the focused bar', async ({ page }) => {
  await open(page, service('shop'));
  await canvas(page).focus();
  for (const key of ['ArrowDown', 'ArrowDown', 'ArrowDown']) await page.keyboard.press(key);
  await page.keyboard.press('Shift+F10');
  await expect(page.getByRole('menuitem', { name: 'Zoom to this bar' })).toBeFocused();
  while (!(await page.getByRole('menuitem', { name: 'Search this function' }).evaluate((item) => item === document.activeElement))) {
    await page.keyboard.press('ArrowDown');
  }
  await page.keyboard.press('Enter');
  await expect(page.getByTestId('matches')).toHaveText('Matches 90.0 %');
  await expect(canvas(page)).toBeFocused();
});

test('the hottest function is found with the keyboard alone', async ({ page }) => {
  await page.goto('./');
  await expect(page.locator('.status').first()).toBeVisible();
  await page.getByRole('button', { name: /^Service:/ }).focus();
  await page.keyboard.press('Enter');
  await expect(page.getByRole('combobox', { name: 'Filter: Service' })).toBeFocused();
  await page.keyboard.type(service('shop'));
  await page.keyboard.press('Enter');
  await expect(page.locator('.flame-panel .status')).toContainText('Total 1 s');
  await expect(page.locator('.grid-space [role=row]')).toHaveCount(5);
  await page.keyboard.press('t');
  await page.keyboard.press('ArrowDown');
  await expect(page.getByTestId('selected')).toContainText('parse');
  await expect(page.getByTestId('selected')).toContainText('70.0 %');
});
