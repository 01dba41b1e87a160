/** @file Runs what the README and the pages of docs/ tell their readers to run, with budgets of seconds. */
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { InferenceSession } from 'onnxruntime-node';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { builtPackage, type Finished, finished } from './cli/testing/package.ts';

const root = import.meta.dirname;
const page = (name: string): string => readFileSync(join(root, name), 'utf8');
/** Fenced blocks of a language. */
const blocks = (name: string, language: string): string[] =>
  [...page(name).matchAll(/^```(\w+)\n([\s\S]*?)^```$/gm)].filter(([, l]) => l === language).map(([, , code]) => code!);

const TRAINING = '--steps 2 --batch 4 --sample-every 0 --evaluate-every 0 --checkpoint-every 2 --threads 1';
const DRAWING = '--n 20 --threads 1';
/** What is added to a command so that it takes seconds, by its beginning. Later flags win. The longest beginning counts. */
const BUDGETS: Readonly<Record<string, string>> = {
  'npx onestep methods': '',
  'npx onestep doctor': '',
  'npx onestep train': TRAINING,
  'npx onestep distill': TRAINING,
  'npx onestep distill regression': `${TRAINING} --teacher-steps 2`,
  'npx onestep pairs': `${DRAWING} --steps 3`,
  'npx onestep sample': DRAWING,
  'npx onestep sample digit-teacher': `${DRAWING} --steps 3`,
  'npx onestep evaluate': `${DRAWING} --neighbours 0`,
  'npx onestep features': '--n 100 --workers 1',
  'npx onestep export': '',
  'npx onestep page': '',
  'npx onestep inspect': '--n 1 --steps 3 --threads 1',
  'npx onestep search-levels': '--samples 20 --iterations 1 --threads 1',
  'npx onestep report': '--samples 10 --threads 1',
  'npx onestep benchmark configs/digits-benchmark.yaml --dry-run': '',
  'npm start': '--smoke --threads 1',
};
/** Commands that something else runs: .ci/run, pack.test.ts, and the tests of watch, which does not end, of benchmark, which takes minutes, and of forward, on files that others have. */
const ELSEWHERE = [
  'npm ci',
  'npm run build',
  'npm pack',
  'ONNXRUNTIME_NODE_INSTALL=skip npm install ./onestep-0.1.0.tgz',
  'npx onestep watch runs/student',
  'npx onestep benchmark configs/digits-benchmark.yaml --out runs/digits-benchmark',
  'npx onestep forward network-snapshot.pkl --input in.safetensors --output out.safetensors',
  'npx onestep forward weights.safetensors --network network.json --input in.safetensors --output out.safetensors --raw',
];

const commandsOf = (name: string): string[] =>
  blocks(name, 'sh').flatMap((block) => block.split('\n').filter((line) => line.trim() !== ''));
const pages = ['README.md', ...readdirSync(join(root, 'docs')).flatMap((file) => (file.endsWith('.md') ? [`docs/${file}`] : []))];
const method = blocks('docs/add-a-method.md', 'ts')[0]!;

let built: string;
let folder: string;
beforeAll(() => {
  built = builtPackage({ 'losses/regression.ts': method });
  // A folder as a reader's clone, where runs and pictures go.
  folder = mkdtempSync(join(tmpdir(), 'onestep-reader-'));
  symlinkSync(join(built, 'configs'), join(folder, 'configs'));
  mkdirSync(join(folder, 'node_modules'));
  symlinkSync(built, join(folder, 'node_modules/onestep'));
  for (const name of ['onnxruntime-node', 'sharp']) symlinkSync(join(root, 'node_modules', name), join(folder, 'node_modules', name));
}, 120_000);
afterAll(() => {
  for (const path of [built, folder]) if (path) rmSync(path, { recursive: true, force: true });
});

/** Runs a command of a page with its budget added. */
function run(command: string): Promise<Finished> {
  const beginning = Object.keys(BUDGETS)
    .filter((start) => command.startsWith(start))
    .sort((a, b) => b.length - a.length)[0]!;
  const words = `${command.replace(/^npx onestep|^npm start( --)?/, '')} ${BUDGETS[beginning]}`.trim().split(/\s+/);
  const first = command.startsWith('npm start') ? ['quickstart'] : [];
  return finished(process.execPath, [join(built, 'dist/cli/main.js'), ...first, ...words.filter((w) => w !== '')], folder, {
    ONESTEP_CACHE: join(folder, 'cache'),
  });
}

describe('commands', { timeout: 180_000 }, () => {
  // In order: later ones use what earlier ones made.
  test.each(pages.flatMap((name) => commandsOf(name).map((command) => ({ name, command }))))('$name: $command', async ({ command }) => {
    if (ELSEWHERE.includes(command)) return;
    expect(
      Object.keys(BUDGETS).filter((start) => command.startsWith(start)),
      'a beginning in the table of budgets',
    ).not.toEqual([]);
    const { code, stderr } = await run(command);
    expect(code, stderr).toBe(0);
    const out = / --out (\S+)/.exec(command)?.[1];
    if (out && !command.includes('--dry-run')) expect(existsSync(join(folder, out)), out).toBe(true);
  });
  test('npm start leaves the files that the README lists', () => {
    const files = readdirSync(join(folder, 'runs/quickstart'));
    const listed = [
      'student.onnx',
      'samples.png',
      'report.html',
      'metrics.json',
      'model.safetensors',
      'checkpoints',
      'log.jsonl',
      'config.json',
    ];
    expect(listed.filter((name) => !page('README.md').includes(`\`${name}`))).toEqual([]);
    expect(files).toEqual(expect.arrayContaining(listed));
    expect(files.some((file) => file.startsWith('events.out.tfevents.'))).toBe(true);
  });
});

describe('programs', { timeout: 180_000 }, () => {
  test("the README's TypeScript", async () => {
    const [code] = blocks('README.md', 'ts');
    // Small numbers, and without the type annotations that there are none of: Node runs it as it stands.
    const small = code!.replace('steps: 1000, batch: 64, threads: 2', 'steps: 2, batch: 4, threads: 1, sampleEvery: 0, evaluateEvery: 0');
    expect(small).not.toBe(code);
    writeFileSync(join(folder, 'program.mjs'), `${small}\nconsole.log(slope.shape.join(), images.length);\n`);
    const { code: exit, stdout, stderr } = await finished(process.execPath, ['program.mjs'], folder);
    expect(exit, stderr).toBe(0);
    expect(stdout.trim().split('\n').at(-1)).toBe(`N,2 ${3 * 784}`);
  });
  test('features of a pool, from a program', async () => {
    writeFileSync(join(folder, 'pool.mjs'), blocks('docs/evaluation.md', 'js')[0]!);
    const { code: exit, stdout, stderr } = await finished(process.execPath, ['pool.mjs'], folder);
    expect(exit, stderr).toBe(0);
    expect(stdout).toBe('100 64 digit classifier 6400\n');
  });
  test('a student runs on onnxruntime-node alone', async () => {
    const [code] = blocks('docs/formats.md', 'js');
    expect(existsSync(join(folder, 'student.onnx'))).toBe(true);
    writeFileSync(join(folder, 'alone.mjs'), code!);
    const { code: exit, stdout, stderr } = await finished(process.execPath, ['alone.mjs'], folder);
    expect(exit, stderr).toBe(0);
    const [, low, high] = /\[ 2, 1, 28, 28 \] (\S+) (\S+)/.exec(stdout)!.map(Number);
    expect(low).toBeGreaterThanOrEqual(-1);
    expect(high).toBeLessThanOrEqual(1);
    expect(high).toBeGreaterThan(low!);
  });
});

describe('deploying', { timeout: 60_000 }, () => {
  test('the program for Node', async () => {
    const [code] = blocks('docs/deploy.md', 'js');
    writeFileSync(join(folder, 'deploy.mjs'), code!);
    const { code: exit, stdout, stderr } = await finished(process.execPath, ['deploy.mjs'], folder);
    expect(exit, stderr).toBe(0);
    expect(stdout.trim().split('\n')).toEqual(['[ 1, 28, 28 ] 10 1', '4 of 6', '6 of 6', `${6 * 784} 3 7 3 7 3 7`]);
    for (const name of ['student-0.png', 'student-1.png'])
      expect([...readFileSync(join(folder, name)).subarray(1, 4)]).toEqual([...Buffer.from('PNG')]);
  });
  test('the program that an export leaves', async () => {
    const { code, stdout, stderr } = await finished(process.execPath, ['student/student.mjs'], folder);
    expect(code, stderr).toBe(0);
    expect(stdout).toContain('[ 4, 1, 28, 28 ]');
  });
});

describe('formats', () => {
  /** First column of the tables between a heading and the next. */
  const names = (heading: string): string[] => {
    const section = page('docs/formats.md').split(`## ${heading}\n`)[1]!.split('\n## ')[0]!;
    return [...section.matchAll(/^\| (`[^|]+`) \|/gm)].flatMap(([, cell]) => cell!.split(', ').map((name) => name.replaceAll('`', '')));
  };
  test('the model card has the entries of the table', async () => {
    const bytes = readFileSync(join(folder, 'runs/student/model.safetensors'));
    const header = JSON.parse(bytes.subarray(8, 8 + Number(bytes.readBigUInt64LE())).toString()) as { __metadata__: { onestep: string } };
    expect(Object.keys(JSON.parse(header.__metadata__.onestep)).toSorted()).toEqual(names('Model file').toSorted());
  });
  test('the student has the inputs and outputs of the table', async () => {
    const session = await InferenceSession.create(join(folder, 'student.onnx'));
    const documented = names('student.onnx').filter((name) => !/^noise\d|^…/.test(name));
    expect([...session.inputNames, ...session.outputNames].toSorted()).toEqual(documented.toSorted());
  });
  test('a checkpoint holds the files of the table', () => {
    const [checkpoint] = readdirSync(join(folder, 'runs/student/checkpoints'));
    const files = readdirSync(join(folder, 'runs/student/checkpoints', checkpoint!));
    for (const name of names('Checkpoint')) {
      const pattern = new RegExp(`^${name.replaceAll('.', '\\.').replace('PLAYER', '[a-z]+').replace('NAME', '.+')}$`);
      expect(
        files.filter((file) => pattern.test(file)),
        name,
      ).not.toEqual([]);
    }
  });
  test('the configuration of the page is one that runs accept', async () => {
    writeFileSync(join(folder, 'settings.yaml'), blocks('docs/formats.md', 'yaml')[0]!);
    const { code, stderr } = await run('npx onestep distill dmd2 --config settings.yaml --dry-run');
    expect(code, stderr).toBe(0);
  });
});

describe('links', () => {
  test('every relative link leads somewhere', () => {
    const targets = pages.flatMap((name) =>
      [...page(name).matchAll(/\]\((?!https?:|#)([^)#]+)[^)]*\)/g)].map(([, target]) => join(dirname(name), target!)),
    );
    expect(targets.length).toBeGreaterThan(5);
    expect(targets.filter((target) => !existsSync(join(root, target)))).toEqual([]);
  });
  test('pages have no numbers of measurements outside their section', () => {
    const outside = page('README.md').replace(/<!-- results -->[\s\S]*<!-- \/results -->/, '');
    expect(outside).not.toMatch(/images\/s|\d+(\.\d+)? (images|samples) (a|per) second|FID of \d/);
  });
});
