/**
 * `ARGAND_URL=… node scripts/screenshot/take.mjs FILE 'service=shop&fn=tokens' [dark]`: a picture of a view, 1440 pixels wide.
 *
 * The picture in the project's README shows the last quarter of an hour of `shop.py`.
 */
import { chromium } from '@playwright/test';
import { BROWSER } from '../../e2e/browser.mjs';

const [file, view, scheme = 'light'] = process.argv.slice(2);
if (view === undefined || process.env.ARGAND_URL === undefined) {
  console.error("usage: ARGAND_URL=http://127.0.0.1:4040 node scripts/screenshot/take.mjs FILE 'service=shop' [dark]");
  process.exit(2);
}

const browser = await chromium.launch(BROWSER);
try {
  const page = await browser.newPage({ viewport: { width: 1440, height: 800 }, colorScheme: scheme, timezoneId: 'UTC', locale: 'en-GB' });
  await page.goto(`${process.env.ARGAND_URL.replace(/\/*$/, '/')}?${view}`);
  await page.waitForFunction(() => performance.getEntriesByName('argand-flame-painted').length > 0);
  await page.locator('.u-over').waitFor();
  await page.locator('.grid-space [role=row]').first().waitFor();
  await page.screenshot({ path: file });
} finally {
  await browser.close();
}
