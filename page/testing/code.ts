/** @file The page's modules, compiled afresh as the build does: what `dist/` holds at the moment does not matter. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const root = join(import.meta.dirname, '../..');

/** @returns a temporary folder that holds them */
export function compiledPage(): string {
  const folder = mkdtempSync(join(tmpdir(), 'onestep-page-'));
  const args = ['-p', 'tsconfig.page.json', '--outDir', folder];
  try {
    execFileSync(process.execPath, [join(root, 'node_modules/typescript/bin/tsc'), ...args], { cwd: root, stdio: 'pipe' });
  } catch (error) {
    throw new Error(`tsc: ${String((error as { stdout?: Buffer }).stdout)}`, { cause: error });
  }
  return folder;
}
