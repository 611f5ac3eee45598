/** What the tests share: opening a view, reading the graph, and failing on any console error. */
import { test as base, expect, type Locator, type Page } from '@playwright/test';
import { CPU } from './seed.ts';

/** A test that fails if the page logs an error; `expectedErrors` are patterns that may appear. */
export const test = base.extend<{ expectedErrors: RegExp[]; errorCheck: void }>({
  expectedErrors: [[], { option: true }],
  errorCheck: [
    async ({ page, expectedErrors }, use) => {
      const errors: string[] = [];
      page.on('console', (message) => message.type() === 'error' && errors.push(message.text()));
      page.on('pageerror', (error) => errors.push(String(error)));
      await use();
      expect(errors.filter((error) => !expectedErrors.some((pattern) => pattern.test(error)))).toEqual([]);
    },
    { auto: true },
  ],
});

export { expect };

/** Opens a view and waits for its graph. */
export async function open(page: Page, service: string, more: Record<string, string> = {}): Promise<void> {
  await page.goto(`./?${new URLSearchParams({ service, type: CPU, ...more })}`);
  await expect(page.locator('.status').first()).toBeVisible();
}

export function canvas(page: Page): Locator {
  return page.getByRole('tree', { name: 'Flame graph' });
}

/** What a screen reader says about the focused bar. */
export async function focused(page: Page): Promise<string> {
  const id = await canvas(page).getAttribute('aria-activedescendant');
  return (await page.locator(`[id="${id}"]`).textContent()) ?? '';
}

/** Options of the list that is open; native selects are not among them. */
export function options(page: Page): Locator {
  return page.locator('.options').getByRole('option');
}

/** Client position of a bar given by its horizontal share and level. */
export async function barPosition(page: Page, share: number, level: number): Promise<{ x: number; y: number }> {
  const box = await canvas(page).boundingBox();
  if (box === null) throw new Error('the graph is not visible');
  return { x: box.x + box.width * share, y: box.y + level * 20 + 10 };
}

/** Colour of the graph at a horizontal share and level, as `r,g,b`. */
export function colourAt(page: Page, share: number, level: number): Promise<string> {
  return canvas(page).evaluate(
    (element: HTMLCanvasElement, [x, y]) => {
      const at = [Math.round(element.width * x), Math.round((y * 20 + 3) * devicePixelRatio)] as const;
      return element.getContext('2d')!.getImageData(at[0], at[1], 1, 1).data.slice(0, 3).join();
    },
    [share, level] as const,
  );
}

/** Cells of the visible table rows, row by row. */
export async function tableRows(page: Page): Promise<string[][]> {
  const rows = page.locator('.grid-space [role=row]');
  return rows.evaluateAll((elements) =>
    elements.map((row) =>
      [...row.querySelectorAll('[role=gridcell]')].map((cell) =>
        [...cell.children].flatMap((part) => part.textContent || []).join(' '),
      ),
    ),
  );
}

/** The query parameters of the present address. */
export function address(page: Page): URLSearchParams {
  return new URL(page.url()).searchParams;
}
