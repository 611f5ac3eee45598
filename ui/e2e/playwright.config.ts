/** End-to-end tests against a running server: `ARGAND_URL=http://127.0.0.1:4040 npm run e2e`. */
import { defineConfig } from '@playwright/test';
import { BROWSER } from './browser.mjs';

const server = process.env.ARGAND_URL?.replace(/\/*$/, '/');

export default defineConfig({
  testDir: '.',
  outputDir: '../test-results',
  globalSetup: './seed.ts',
  fullyParallel: true,
  workers: 2,
  timeout: 60_000,
  expect: { timeout: 15_000 },
  reporter: 'list',
  use: {
    ...(server === undefined ? {} : { baseURL: server }),
    viewport: { width: 1440, height: 900 },
    colorScheme: 'dark',
    timezoneId: 'UTC',
    locale: 'en-GB',
    launchOptions: BROWSER,
    screenshot: 'only-on-failure',
  },
});
