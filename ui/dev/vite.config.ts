/** `npm run dev` and `npm run preview`: the page with the mock server behind it. */
import { defineConfig, mergeConfig, type Connect, type Plugin } from 'vite';
import base from '../vite.config.ts';
import { MockServer } from './mock.ts';
import { seed } from './seed.ts';

/** What the product's server sends with the page. */
const POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "worker-src 'self'",
  "style-src 'self'",
  "img-src 'self' data:",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
  "require-trusted-types-for 'script'",
  'trusted-types argand',
].join('; ');

function mockApi(): Plugin {
  const server = new MockServer();
  if (process.env.ARGAND_MOCK_EMPTY === undefined) seed(server, Date.now());
  const middleware: Connect.NextHandleFunction = (request, response, next) => {
    server.handle(request, response).then((handled) => handled || next(), next);
  };
  return {
    name: 'mock-api',
    configureServer: (dev) => void dev.middlewares.use(middleware),
    configurePreviewServer: (preview) => void preview.middlewares.use(middleware),
  };
}

export default mergeConfig(
  base,
  defineConfig({ plugins: [mockApi()], preview: { headers: { 'Content-Security-Policy': POLICY } } }),
);
