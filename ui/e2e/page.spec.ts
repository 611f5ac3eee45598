import AxeBuilder from '@axe-core/playwright';
import type { Page } from '@playwright/test';
import { address, barPosition, canvas, expect, open, options, test } from './page.ts';
import { CPU, service } from './seed.ts';

async function violations(page: Page): Promise<string[]> {
  const { violations: found } = await new AxeBuilder({ page }).analyze();
  return found.map(({ id, nodes }) => `${id}: ${nodes.map((node) => node.html).join(' ')}`);
}

for (const scheme of ['dark', 'light'] as const) {
  test.describe(`${scheme} theme`, () => {
    test.use({ colorScheme: scheme });

    test('no accessibility violations', async ({ page }) => {
      test.slow();
      await open(page, service('shop'), { q: 'parse', fn: 'idle' });
      await canvas(page).focus();
      await page.keyboard.press('ArrowDown');
      expect(await violations(page)).toEqual([]);
      await page.getByRole('button', { name: /^Service:/ }).click();
      expect(await violations(page)).toEqual([]);
      await page.keyboard.press('Escape');
      await page.getByRole('button', { name: /^Time range:/ }).click();
      expect(await violations(page)).toEqual([]);
      await page.keyboard.press('Escape');
      await page.keyboard.press('?');
      expect(await violations(page)).toEqual([]);
    });

    test('no accessibility violations when zoomed, focused and turned', async ({ page }) => {
      test.slow();
      await open(page, service('shop'), { focus: 'handle', collapse: '1' });
      const bar = await barPosition(page, 0.3, 1);
      await page.mouse.click(bar.x, bar.y);
      await expect(page.locator('.breadcrumb')).toContainText('parse');
      await page.mouse.click(bar.x, bar.y, { button: 'right' });
      await expect(page.getByRole('menu')).toBeVisible();
      expect(await violations(page)).toEqual([]);
      await page.keyboard.press('Escape');
      await page.keyboard.press('s');
      await expect(page.getByRole('tree', { name: 'Callees' })).toBeVisible();
      expect(await violations(page)).toEqual([]);
    });

    test('no accessibility violations without data', async ({ page }) => {
      await page.route('**/api/v1/services?*', (route) => route.fulfill({ json: { services: [] } }));
      await page.goto('./');
      await expect(page.getByRole('heading', { name: 'Send the first profile' })).toBeVisible();
      expect(await violations(page)).toEqual([]);
    });
  });
}

test('the theme button goes round and is remembered', async ({ page }) => {
  await open(page, service('shop'));
  const theme = () => page.evaluate(() => document.documentElement.dataset.theme);
  expect(await theme()).toBe('dark');
  await page.getByRole('button', { name: 'Theme: auto' }).click();
  await page.getByRole('button', { name: 'Theme: dark' }).click();
  expect(await theme()).toBe('light');
  await page.reload();
  expect(await theme()).toBe('light');
  await page.getByRole('button', { name: 'Theme: light' }).click();
  expect(await theme()).toBe('dark');
});

test('a page without services shows how to connect, with this server’s address', async ({ page, baseURL }) => {
  await page.route('**/api/v1/services?*', (route) => route.fulfill({ json: { services: [] } }));
  await page.goto('./');
  for (const language of ['Python', 'Go', 'Java', 'Node.js', 'Rust', 'curl']) {
    await page.getByRole('button', { name: language, exact: true }).click();
    await expect(page.locator('.snippet pre')).toContainText(baseURL!.replace(/\/$/, ''));
  }
  await page.context().grantPermissions(['clipboard-read', 'clipboard-write']);
  await page.getByRole('button', { name: 'Copy' }).click();
  await expect(page.getByText('Copied')).toBeVisible();
  expect(await page.evaluate(() => navigator.clipboard.readText())).toContain('/ingest?name=my-service.cpu&format=groups');
});

test('a page without services shows the first profile by itself', async ({ page }) => {
  let arrived = false;
  await page.route('**/api/v1/services?*', (route) => (arrived ? route.fallback() : route.fulfill({ json: { services: [] } })));
  await page.goto('./');
  await expect(page.getByText('Waiting for the first profile')).toBeVisible();
  arrived = true;
  await expect(page.locator('.flame-panel .status')).toContainText('Total');
});

test('a list that is too long says so', async ({ page }) => {
  const services = Array.from({ length: 1200 }, (_, i) => ({ name: `service-${i}`, profile_types: [CPU] }));
  await page.route('**/api/v1/services?*', (route) => route.fulfill({ json: { services } }));
  await open(page, service('shop'));
  await page.getByRole('button', { name: /^Service:/ }).click();
  await expect(page.getByText('900 more: type to narrow them down')).toBeVisible();
  await page.keyboard.type('service-119');
  await expect(options(page)).toHaveCount(11);
  await expect(page.getByText('more: type to narrow')).toHaveCount(0);
});

test.describe('errors', () => {
  test.use({ expectedErrors: [/Failed to load resource/] });

  test('a bad selector shows the server’s message', async ({ page }) => {
    await page.goto(`./?${new URLSearchParams({ service: service('shop'), type: CPU, labels: 'region==' })}`);
    await expect(page.getByRole('alert')).toBeVisible();
    const answer = await page.request.get(
      `api/v1/flamegraph?${new URLSearchParams({ query: `${CPU}{service_name="${service('shop')}",region==}`, from: 'now-1h', to: 'now' })}`,
      { headers: { Accept: 'application/vnd.argand.flame' } },
    );
    expect(answer.status()).toBe(400);
    const { message } = (await answer.json()) as { message: string };
    await expect(page.getByRole('alert')).toContainText(message);
    await page.getByRole('button', { name: 'Remove label filter' }).click();
    await expect(page.locator('.flame-panel .status')).toContainText('Total 1 s');
  });

  test('a failing server is named and can be tried again', async ({ page }) => {
    let failing = true;
    await page.route('**/api/v1/flamegraph?*', (route) =>
      failing ? route.fulfill({ status: 503, json: { code: 'unavailable', message: 'the store is starting' } }) : route.fallback(),
    );
    await page.goto(`./?${new URLSearchParams({ service: service('shop'), type: CPU })}`);
    await expect(page.locator('.flame-panel [role=alert]')).toContainText('the store is starting (503 unavailable)');
    failing = false;
    await page.locator('.flame-panel').getByRole('button', { name: 'Try again' }).click();
    await expect(page.locator('.flame-panel .status')).toContainText('Total 1 s');
  });

  test('damaged bytes of a large answer too', async ({ page }) => {
    await page.route('**/api/v1/flamegraph?*', (route) => route.fulfill({ body: Buffer.alloc(1 << 20, 'AFG1') }));
    await page.goto(`./?${new URLSearchParams({ service: service('shop'), type: CPU })}`);
    await expect(page.locator('.flame-panel [role=alert]')).toContainText('checksum mismatch');
    expect(page.workers().length).toBe(1);
  });

  test('a worker that cannot be loaded is said', async ({ page }) => {
    await page.route('**/assets/flame-worker-*', (route) => route.fulfill({ status: 404, body: '' }));
    await page.route('**/api/v1/flamegraph?*', (route) => route.fulfill({ body: Buffer.alloc(1 << 20, 'AFG1') }));
    await page.goto(`./?${new URLSearchParams({ service: service('shop'), type: CPU })}`);
    await expect(page.locator('.flame-panel [role=alert]')).toContainText('a part of this page cannot be loaded');
  });

  test('damaged bytes are refused, not drawn', async ({ page }) => {
    await page.route('**/api/v1/flamegraph?*', (route) => route.fulfill({ body: 'AFG1 and then nonsense' }));
    await page.goto(`./?${new URLSearchParams({ service: service('shop'), type: CPU })}`);
    await expect(page.locator('.flame-panel [role=alert]')).toContainText('checksum mismatch');
  });
});

test('the service and type are chosen when the address names none', async ({ page }) => {
  await page.goto('./');
  await expect.poll(() => address(page).get('service')).not.toBeNull();
  await expect.poll(() => address(page).get('type')).not.toBeNull();
});

for (const width of [320, 400, 900, 1440]) {
  test(`nothing overflows at ${width} pixels`, async ({ page }) => {
    await page.setViewportSize({ width, height: 900 });
    await open(page, service('shop'), { q: 'parse', fn: 'handle' });
    const wide = await page.evaluate(() => document.documentElement.scrollWidth);
    expect(wide).toBeLessThanOrEqual(width);
    await expect(canvas(page)).toBeVisible();
  });
}

test('forced colours keep text and bars apart', async ({ page }) => {
  await page.emulateMedia({ forcedColors: 'active' });
  await open(page, service('shop'), { fn: 'parse' });
  const pixels = await canvas(page).evaluate((element: HTMLCanvasElement) => {
    const data = element.getContext('2d')!.getImageData(0, 0, element.width, 80).data;
    const colours = new Set<string>();
    for (let i = 0; i < data.length; i += 4) colours.add(data.slice(i, i + 3).join());
    return colours.size;
  });
  expect(pixels).toBeGreaterThan(2);
});

test('refreshing loads again, automatically if asked', async ({ page }) => {
  await open(page, service('shop'));
  let loads = 0;
  page.on('request', (request) => request.url().includes('/api/v1/flamegraph') && loads++);
  await page.getByRole('button', { name: 'Refresh', exact: true }).click();
  await expect.poll(() => loads).toBe(1);
  await page.getByLabel('Refresh automatically').selectOption('5');
  await expect.poll(() => loads, { timeout: 9_000 }).toBe(2);
  expect(address(page).get('refresh')).toBe('5');
});

test('the page works below any path', async ({ page, baseURL }) => {
  const base = new URL('some/base/', baseURL);
  await page.route(
    (url) => url.href.startsWith(base.href),
    async (route) => {
      const url = route.request().url().replace(base.href, baseURL!);
      await route.fulfill({ response: await route.fetch({ url }) });
    },
  );
  await page.goto(`${base.href}?${new URLSearchParams({ service: service('shop'), type: CPU })}`);
  await expect(page.locator('.flame-panel .status')).toContainText('Total 1 s');
  await expect(page.locator('.u-over')).toBeVisible();
  await page.getByRole('button', { name: 'Table', exact: true }).click();
  expect(new URL(page.url()).pathname).toBe(base.pathname);
  // Nothing may be asked any more once the detour is gone: the server knows no such path.
  await page.goto('about:blank');
  await page.unrouteAll({ behavior: 'ignoreErrors' });
});

test('nothing is asked of another host', async ({ page, baseURL }) => {
  const foreign: string[] = [];
  page.on('request', (request) => {
    if (new URL(request.url()).origin !== new URL(baseURL!).origin) foreign.push(request.url());
  });
  await open(page, service('shop'));
  await page.waitForTimeout(500);
  expect(foreign).toEqual([]);
});
