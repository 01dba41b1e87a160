/** @file Serves the page of a run on this machine alone, and tells open pages when the run has gone on. Nothing but this page can be had from it. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { InputError } from '../../engine/io/errors.ts';
import { errorCode } from '../../engine/io/failures.ts';
import { readRun } from './report-run.ts';
import { watchScript } from './watch-client.ts';
import { type WatchedPage, watchedPage } from './watch-page.ts';

export interface Watch {
  readonly url: string;
  readonly port: number;
  /** Ends open pages' connections and the server. */
  close(): Promise<void>;
}

const ADDRESS = '127.0.0.1';
const SCRIPT = '/watch.js';
/** Milliseconds between looks at the folder, while somebody watches; and between signs of life to a page. */
const [POLL, ALIVE] = [500, 15_000] as const;

/**
 * Starts the server. Reads only.
 * @param port 0 for a free one
 * @throws InputError where the folder is no run, or the port cannot be had
 */
export async function openWatch(run: string, port: number, poll: number = POLL): Promise<Watch> {
  await readRun(run);
  const page = watchedPage(run, SCRIPT);
  const clients = openClients(page, poll);
  const server = createServer((request, response) => {
    respond(request, response, page, clients).catch((error: unknown) => refuse(response, error));
  });
  await listen(server, port);
  const taken = (server.address() as AddressInfo).port;
  return {
    url: `http://${ADDRESS}:${taken}/`,
    port: taken,
    async close() {
      clients.close();
      await new Promise<void>((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      });
    },
  };
}

function listen(server: Server, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', (error) => {
      const why = { EADDRINUSE: 'is in use', EACCES: 'may not be used' }[errorCode(error) ?? ''];
      reject(why ? new InputError(`port: ${port} ${why}; choose another one, or leave --port out for a free one`) : error);
    });
    server.listen(port, ADDRESS, resolve);
  });
}

/** A page of another site may point a name of its own at this address (DNS rebinding): its requests bear that name. */
export function isLocalHost(host: string | undefined, port: number): boolean {
  const match = /^(?:localhost|127\.0\.0\.1)(?::(\d{1,5}))?$/i.exec(host ?? '');
  return match !== null && (match[1] === undefined || Number(match[1]) === port);
}

const HEADERS = {
  'Cache-Control': 'no-store',
  'Content-Security-Policy':
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; script-src 'self'; connect-src 'self'; frame-ancestors 'none'",
  'Cross-Origin-Resource-Policy': 'same-origin',
  'Referrer-Policy': 'no-referrer',
  'X-Content-Type-Options': 'nosniff',
} as const;

async function respond(request: IncomingMessage, response: ServerResponse, page: WatchedPage, clients: Clients): Promise<void> {
  const { method = '', url = '', headers, socket } = request;
  if (!isLocalHost(headers.host, socket.localPort ?? -1)) return send(response, 403, 'text/plain', 'ask for localhost or 127.0.0.1\n');
  if (method !== 'GET' && method !== 'HEAD') {
    response.setHeader('Allow', 'GET, HEAD');
    return send(response, 405, 'text/plain', 'only GET and HEAD\n');
  }
  // Three addresses, compared as they come: no path leads to a file.
  const [path] = url.split('?');
  if (path === '/') return send(response, 200, 'text/html', await page.html());
  if (path === SCRIPT) return send(response, 200, 'text/javascript', watchScript);
  if (path === '/events') return method === 'HEAD' ? send(response, 200, 'text/event-stream', '') : clients.add(response);
  return send(response, 404, 'text/plain', 'there is nothing but /\n');
}

function send(response: ServerResponse, status: number, type: string, content: string): void {
  const bytes = Buffer.from(content);
  response.writeHead(status, { ...HEADERS, 'Content-Type': `${type}; charset=utf-8`, 'Content-Length': bytes.length });
  response.end(bytes);
}

function refuse(response: ServerResponse, error: unknown): void {
  const known = error instanceof InputError;
  if (response.headersSent) response.destroy();
  else send(response, known ? 503 : 500, 'text/plain', known ? `${error.message}\n` : 'internal: the page cannot be made\n');
}

interface Clients {
  add(response: ServerResponse): Promise<void>;
  close(): void;
}

/** Open pages, which are told when the version changes. While there are none, nobody looks at the folder. */
function openClients(page: WatchedPage, poll: number): Clients {
  const open = new Set<ServerResponse>();
  let timer: NodeJS.Timeout | null = null;
  let told = '';
  let alive = 0;
  const tell = (response: ServerResponse): boolean => response.write(`event: update\ndata: ${told}\n\n`);
  const look = async (): Promise<void> => {
    const now = await page.version();
    if (now !== told) {
      told = now;
      for (const one of open) tell(one);
    } else if (performance.now() - alive > ALIVE) {
      alive = performance.now();
      for (const one of open) one.write(': still here\n\n');
    }
    timer = open.size > 0 ? setTimeout(look, poll) : null;
  };
  return {
    async add(response) {
      response.writeHead(200, { ...HEADERS, 'Content-Type': 'text/event-stream; charset=utf-8' });
      response.write('retry: 2000\n\n');
      open.add(response);
      response.on('close', () => open.delete(response));
      told ||= await page.version();
      tell(response);
      timer ??= setTimeout(look, poll);
    },
    close() {
      if (timer) clearTimeout(timer);
      timer = null;
      for (const one of open) one.end();
      open.clear();
    },
  };
}
