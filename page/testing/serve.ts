/** @file A plain file server for tests of pages. */
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { extname, join, normalize, sep } from 'node:path';

const TYPES: Readonly<Record<string, string>> = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript',
  '.mjs': 'text/javascript',
  '.json': 'application/json',
  '.wasm': 'application/wasm',
};
/** With them a browser lets the page have threads that share memory. */
const ISOLATED = { 'Cross-Origin-Opener-Policy': 'same-origin', 'Cross-Origin-Embedder-Policy': 'require-corp' };

export interface Served {
  readonly url: string;
  close(): Promise<void>;
}

/** Serves a folder on a free port. */
export async function serveFolder(folder: string, { isolated = false } = {}): Promise<Served> {
  const server = createServer(async ({ url }, response) => {
    const path = normalize(join(folder, decodeURIComponent(new URL(url!, 'http://localhost').pathname)));
    try {
      const bytes = await readFile(path.endsWith(sep) ? join(path, 'index.html') : path);
      response.writeHead(200, {
        'Content-Type': TYPES[extname(path)] ?? (path.endsWith(sep) ? TYPES['.html']! : 'application/octet-stream'),
        ...(isolated ? ISOLATED : {}),
      });
      response.end(bytes);
    } catch {
      response.writeHead(404).end();
    }
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}
