/** @file `onestep watch`: who is answered and what, that open pages follow the log, and that Ctrl-C ends it. */
import { appendFile, mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { type IncomingMessage, request } from 'node:http';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { BROWSER_NEEDED, hasBrowser, observed, openBrowser } from '../../eval/report/testing/browser.ts';
import { elements } from '../../eval/testing/markup.ts';
import { attempt, start } from '../testing/command.ts';
import { isLocalHost, openWatch, type Watch } from '../work/watch.ts';

let folder = '';
let run = '';
let watch: Watch;
const line = (step: number): string =>
  `${JSON.stringify({ step, nimg: 4 * step, seconds: step, terms: { 'student/loss': 1 / step }, rates: {}, skipped: 0 })}\n`;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'watch-'));
  run = join(folder, '<run>');
  await mkdir(run);
  await writeFile(join(run, 'config.json'), JSON.stringify({ command: 'distill', method: 'dmd2', steps: 9, secret: '<b>' }));
  await writeFile(join(run, 'log.jsonl'), line(1) + line(2));
  watch = await openWatch(run, 0, 50);
});
afterAll(async () => {
  await watch.close();
  await rm(folder, { recursive: true });
});

interface Answer {
  readonly status: number;
  readonly headers: IncomingMessage['headers'];
  readonly body: string;
}
/** A request as it stands: neither path nor host is tidied up. */
const ask = (path: string, { method = 'GET', host = `127.0.0.1:${watch.port}` } = {}): Promise<Answer> =>
  new Promise((resolve, reject) => {
    const sent = request({ host: '127.0.0.1', port: watch.port, path, method, headers: { Host: host } }, (response) => {
      let body = '';
      response.on('data', (part: Buffer) => {
        body += part.toString();
      });
      response.on('end', () => resolve({ status: response.statusCode!, headers: response.headers, body }));
    });
    sent.on('error', reject);
    sent.end();
  });

describe('who is answered', () => {
  test.each([
    ['localhost:PORT', 200],
    ['127.0.0.1:PORT', 200],
    ['LOCALHOST:PORT', 200],
    ['localhost', 200],
    ['evil.example', 403],
    ['evil.example:PORT', 403],
    ['localhost.evil.example:PORT', 403],
    ['127.0.0.1.evil.example', 403],
    ['evil@127.0.0.1:PORT', 403],
    ['127.0.0.1:PORT@evil.example', 403],
    ['127.0.0.1:1', 403],
    ['0.0.0.0:PORT', 403],
  ])('the host %s: %d', async (host, status) => {
    const answer = await ask('/', { host: host.replace('PORT', String(watch.port)) });
    expect(answer.status).toBe(status);
    if (status === 403) expect(answer.body).not.toContain('dmd2');
  });
  test('a host of several lines, or none, is none of ours', () => {
    for (const host of [undefined, '', 'localhost\nevil', ' localhost', 'localhost:', 'localhost:+80', 'localhost:000080x'])
      expect(isLocalHost(host, 80)).toBe(false);
    expect(isLocalHost('localhost:80', 80)).toBe(true);
  });
  test.each(['POST', 'PUT', 'DELETE', 'OPTIONS', 'PATCH', 'TRACE'])('the method %s: 405', async (method) => {
    for (const path of ['/', '/events', '/watch.js', '/other']) {
      const { status, headers } = await ask(path, { method });
      expect([status, headers.allow]).toEqual([405, 'GET, HEAD']);
    }
  });
  test.each([
    '/../config.json',
    '/config.json',
    '/%2e%2e/config.json',
    '/..%2f..%2fetc/passwd',
    '//etc/passwd',
    '/log.jsonl',
    '/watch.js/',
    'http://evil.example/',
  ])('the path %s: 404', async (path) => {
    const { status, body } = await ask(path);
    expect([status, body]).toEqual([404, 'there is nothing but /\n']);
  });
  test('bytes that are no request leave the server as it was', async () => {
    await new Promise<void>((resolve) => {
      const socket = connect(watch.port, '127.0.0.1', () => socket.end(Buffer.from([0, 255, 13, 10, 13, 10])));
      socket.on('close', () => resolve());
      socket.on('error', () => resolve());
      socket.resume();
    });
    expect((await ask('/')).status).toBe(200);
  });
});

describe('what is answered', () => {
  test('the page: well formed, escaped, kept from other sites, never stored', async () => {
    const { headers, body } = await ask('/');
    elements(body);
    expect(body).toContain('step 2 of 9');
    expect(body).toContain('&lt;run&gt;');
    expect(body).not.toContain('<b>');
    expect(headers).toMatchObject({
      'cache-control': 'no-store',
      'content-type': 'text/html; charset=utf-8',
      'cross-origin-resource-policy': 'same-origin',
      'x-content-type-options': 'nosniff',
      'referrer-policy': 'no-referrer',
    });
    expect(headers['content-security-policy']).toContain("frame-ancestors 'none'");
    expect(headers['access-control-allow-origin']).toBeUndefined();
  });
  test('HEAD: the same head, without the page', async () => {
    const [whole, head] = [await ask('/?again'), await ask('/', { method: 'HEAD' })];
    expect(head).toMatchObject({ status: 200, body: '' });
    expect(head.headers['content-length']).toBe(whole.headers['content-length']);
    expect(await ask('/events', { method: 'HEAD' })).toMatchObject({ status: 200, body: '' });
  });
  test('it reads only: the folder holds what it held', async () => {
    expect((await readdir(run)).toSorted()).toEqual(['config.json', 'log.jsonl']);
  });
});

test('events: one at once, another when the log has grown, and none without a change', async () => {
  const events: string[] = [];
  await new Promise<void>((resolve, reject) => {
    const sent = request({ host: '127.0.0.1', port: watch.port, path: '/events' }, (response) => {
      response.on('data', (part: Buffer) => {
        for (const [, data] of part.toString().matchAll(/event: update\ndata: (.*)\n\n/g)) events.push(data!);
        if (events.length === 1) setTimeout(() => void appendFile(join(run, 'log.jsonl'), line(3)), 300);
        if (events.length === 2) sent.destroy();
      });
      response.on('close', () => resolve());
      response.on('error', () => resolve());
    });
    sent.on('error', reject);
    sent.end();
  });
  expect(new Set(events).size).toBe(2);
  expect((await ask('/')).body).toContain('step 3 of 9');
});

describe.skipIf(!hasBrowser)(`in a browser (${BROWSER_NEEDED})`, () => {
  test('an open page follows the log, and keeps what the reader chose, opened and focused', async () => {
    const browser = await openBrowser();
    try {
      const { page, complaints } = await observed(browser, { viewport: { width: 390, height: 900 } });
      await page.goto(watch.url);
      const grown = async (step: number): Promise<void> => {
        await appendFile(join(run, 'log.jsonl'), line(step));
        await page.locator('#status', { hasText: `step ${step} of 9` }).waitFor({ timeout: 10_000 });
      };
      const focused = (): Promise<string> => page.evaluate<string>('document.activeElement.id || document.activeElement.tagName');
      await page.focus('#run-0-terms-0-x');
      await page.keyboard.press('Space');
      await grown(4);
      expect([await page.isChecked('#run-0-terms-0-x'), await focused()]).toEqual([true, 'run-0-terms-0-x']);
      await page.focus('#run-0 summary');
      await page.keyboard.press('Enter');
      await grown(5);
      expect(await page.evaluate<boolean>(`document.querySelector('#run-0').open`)).toBe(false);
      expect([await page.isChecked('#run-0-terms-0-x'), await focused()]).toEqual([true, 'SUMMARY']);
      expect(complaints).toEqual([]);
    } finally {
      await browser.close();
    }
  });
});

describe('the command', () => {
  test('Ctrl-C ends it, with a page open, in good order', { timeout: 60_000 }, async () => {
    const { child, ended } = start(['watch', run, '--json']);
    const said = await new Promise<{ url: string; port: number }>((resolve) => {
      child.stdout!.once('data', (part: Buffer) => resolve(JSON.parse(part.toString()) as { url: string; port: number }));
    });
    expect(said).toMatchObject({ kind: 'watch', run, url: `http://127.0.0.1:${said.port}/` });
    const closed = new Promise<void>((resolve) => {
      request(`${said.url}events`, (response) => {
        response.on('data', () => child.kill('SIGINT'));
        response.on('close', () => resolve());
        response.on('error', () => resolve());
      }).end();
    });
    await closed;
    const { code, signal, stderr } = await ended;
    expect([code, signal, stderr.replace(/^.*ExperimentalWarning.*\n.*\n/gm, '')]).toEqual([0, null, '']);
  });
  test('a port that is taken, and a folder that is no run: one line each', async () => {
    const taken = await attempt('watch', run, '--port', String(watch.port));
    expect(taken).toMatchObject({
      code: 2,
      stderr: `error: port: ${watch.port} is in use; choose another one, or leave --port out for a free one\n`,
    });
    const foreign = await attempt('watch', folder);
    expect(foreign.code).toBe(2);
    expect(foreign.stderr).toMatch(/^error: \S+: is no run folder .*\n$/);
  });
});
