/** @file What users get wrong: one line that says what, where and what would be right, exit code 2, and a stack only with --debug. */
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { writeSafetensors } from '../engine/io/safetensors.ts';
import { interruption } from './show.ts';
import { attempt, start } from './testing/command.ts';
import { TINY_RUN, tinyModel, writePictures, writeTinyRun } from './testing/tiny.ts';
import { saveModel } from './work/model.ts';

let folder = '';
let pictures = '';
let teacher = '';
let student = '';
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'mistakes-'));
  pictures = await writePictures(join(folder, 'pictures'), 4, 8);
  teacher = await writeTinyRun(join(folder, 'teacher'));
  student = await writeTinyRun(join(folder, 'student'), { levels: [80] });
});
afterAll(() => rm(folder, { recursive: true }));

const file = async (name: string, content: string | Uint8Array): Promise<string> => {
  await writeFile(join(folder, name), content);
  return join(folder, name);
};
const train = (...args: readonly string[]) => [
  'train',
  '--data',
  pictures,
  '--image-size',
  '8',
  '--image-channels',
  '1',
  ...TINY_RUN,
  '--steps',
  '2',
  '--out',
  join(folder, 'out'),
  ...args,
];

/** Exactly one line that begins with `error:` and contains the message. */
async function refused(args: readonly string[], message: string | RegExp): Promise<void> {
  const { code, stderr } = await attempt(...args);
  expect(stderr).toMatch(/^error: [^\n]+\n$/);
  expect(stderr).toMatch(typeof message === 'string' ? new RegExp(message.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')) : message);
  expect(code).toBe(2);
}

describe('words', () => {
  test.each([
    [['trian'], "unknown command 'trian' (Did you mean train?)"],
    [['train', '--stesp', '3'], "unknown option '--stesp' (Did you mean --steps?)"],
    [['distill', 'dmd3', '--teacher', 'x'], 'distill: there is no method dmd3; did you mean dmd'],
    [['distill'], 'distill: name a method: '],
    [['distill', 'dmd2', '--raito', '5'], "unknown option '--raito' (Did you mean --ratio?)"],
    [['distill', 'dmd2'], 'distill: no teacher given; use --teacher with a run folder, a file or digit-teacher'],
    [['train', '--steps', 'ten'], "option '--steps <n>' argument 'ten' is invalid. It should be a whole number in [1, ∞]."],
    [['train', '--skip-bad', 'perhaps'], "argument 'perhaps' is invalid. It should be true or false."],
  ])('%j', (args, message) => refused(args, message));
  test('values out of range name the option, the value and the range', async () => {
    await refused(train('--steps', '0'), 'run.steps: 0 is not a whole number in [1, ∞]');
    await refused(train('--steps', '2.5'), 'run.steps: 2.5 is not a whole number in [1, ∞]');
    await refused(train('--optimizer', 'adma'), 'optimizer.kind: "adma" is not one of adam, adamw, radam, sgd');
    await refused(train('--lr-scale', 'teacher=3'), 'lrScale: teacher=3 is not PLAYER=FACTOR with a player of model');
    await refused(train('--parts', '3'), 'parts: a batch of 4 cannot be cut into 3 equal parts');
    await refused(train('--averages', 'constant:2'), 'average: constant:2 is not constant:BETA (0 to 1)');
    await refused(train('--sigma-min', '90'), 'karras: sigmaMin 90 is not below sigmaMax 80');
  });
  test('networks', async () => {
    await refused(train('--network', 'song-net'), 'network: there is no song-net (did you mean song-unet?)');
    await refused(
      train('--depth', '3'),
      'train: --depth is no option of the network song-unet; leave it out, or choose another network with --network',
    );
  });
});

describe('configuration files', () => {
  test('that are not there, or no JSON or YAML', async () => {
    await refused(
      train('--config', join(folder, 'none.json')),
      /config: cannot read .*none\.json \(ENOENT\); give a JSON or YAML file, or a run folder/,
    );
    await refused(train('--config', await file('bad.json', '{"steps": 3,}')), /config: .*bad\.json is not valid JSON: /);
    await refused(train('--config', await file('bad.yaml', 'steps: [3')), /config: .*bad\.yaml is not valid YAML: /);
    await refused(
      train('--config', await file('list.yaml', '- 3')),
      /list\.yaml holds no names and values; write name: value lines or a JSON object/,
    );
    await mkdir(join(folder, 'empty'), { recursive: true });
    await refused(train('--config', join(folder, 'empty')), /cannot read .*empty\/config\.json \(ENOENT\)/);
  });
  test('with unknown names, or values that are wrong', async () => {
    await refused(
      train('--config', await file('name.yaml', 'leraning: 3\nlogEvry: 2')),
      /config .*name\.yaml: unknown option leraning; there are data, /,
    );
    await refused(
      train('--config', await file('near.yaml', 'logEvry: 2')),
      /config .*near\.yaml: unknown option logEvry; did you mean logEvery\?/,
    );
    await refused(['train', '--config', await file('value.yaml', 'steps: many')], 'run.steps: "many" is not a whole number in [1, ∞]');
    await refused(
      train('--config', await file('method.json', '{"method": "dmd2"}')),
      /method\.json is of the method dmd2, not of train edm; use it with onestep distill dmd2/,
    );
  });
});

describe('models', () => {
  const card = tinyModel().card;
  test('that are not there, or something else', async () => {
    const sample = (model: string) => ['sample', model, '--out', join(folder, 'never.png')];
    await refused(
      sample(join(folder, 'none')),
      /model: there is no .*none; give a run folder, a checkpoint, a \.safetensors file or one of digit-teacher/,
    );
    await refused(sample(await file('notes.txt', 'these are no weights, but longer than a header')), /notes\.txt: /);
    await refused(sample(pictures), 'holds neither model.safetensors nor checkpoint.json');
    await refused(sample(await file('text.onnx', 'no model')), /text\.onnx: is no complete ONNX file; give one that onestep export wrote/);
    await refused(sample(join(folder, 'none.onnx')), /none\.onnx: cannot read: no such file \(ENOENT\)/);
    await refused(
      ['distill', 'dmd2', '--teacher', join(folder, 'text.onnx')],
      'is a finished student, which can be sampled and evaluated only',
    );
    await writeSafetensors(join(folder, 'bare.safetensors'), {});
    await refused(sample(join(folder, 'bare.safetensors')), 'does not say which network it belongs to (no onestep entry in its metadata)');
  });
  test('that are truncated or changed', async () => {
    const bytes = await readFile(join(teacher, 'model.safetensors'));
    await refused(['sample', await file('cut.safetensors', bytes.subarray(0, bytes.length - 100))], /cut\.safetensors: /);
    const changed = Buffer.from(bytes);
    changed[changed.length - 1]! ^= 1;
    await refused(
      ['sample', await file('changed.safetensors', changed)],
      /changed\.safetensors is damaged: the SHA-256 of its weights is [0-9a-f]{64}, it should be [0-9a-f]{64}; copy it again/,
    );
    const onnx = join(folder, 'student.onnx');
    await attempt('export', student, '--out', onnx, '--no-check');
    const whole = await readFile(onnx);
    await refused(['sample', await file('cut.onnx', whole.subarray(0, whole.length >> 1))], /cut\.onnx: is no complete ONNX file/);
  });
  test('whose weights do not fit their network: the first three are named', async () => {
    const path = join(folder, 'misfit.safetensors');
    await saveModel(path, { ...card, networkOptions: { ...card.networkOptions, channels: 8 } }, tinyModel().weights);
    await refused(
      ['sample', path],
      /^error: model: .*misfit\.safetensors: the weights do not fit the network: ([^;]* is \[[\d,]+\], should be \[[\d,]+\]; ){3}and \d+ more\n$/,
    );
  });
  test('whose card is wrong', async () => {
    const with_ = async (name: string, onestep: string): Promise<string> => {
      await writeSafetensors(join(folder, name), {}, { onestep });
      return join(folder, name);
    };
    await refused(
      ['sample', await with_('a.safetensors', '{')],
      /a\.safetensors: the model card is not JSON; give a file written by onestep/,
    );
    await refused(
      ['sample', await with_('b.safetensors', JSON.stringify({ ...card, format: 9 }))],
      'has format 9, newer than this version reads (1); update onestep',
    );
    await refused(
      ['sample', await with_('c.safetensors', JSON.stringify({ ...card, sample: { shape: [0], classes: 1 } }))],
      "the model card's sample.shape.0 is wrong",
    );
    await refused(['sample', await with_('d.safetensors', JSON.stringify({ ...card, network: 'unet' }))], 'network: there is no unet');
  });
  test('a teacher that does not fit the data', async () => {
    await refused(
      [
        'distill',
        'dmd2',
        '--teacher',
        teacher,
        '--data',
        pictures,
        '--image-size',
        '8',
        '--image-channels',
        '1',
        '--out',
        join(folder, 'unfit'),
      ],
      'distill: the data pictures is [1,8,8] with 0 classes, the teacher makes [1,28,28] with 10; use the data that the teacher was trained on',
    );
  });
  test('--raw without a described network', async () => {
    const input = join(folder, 'in.safetensors');
    await writeSafetensors(input, {});
    await refused(
      ['forward', teacher, '--input', input, '--output', input, '--raw'],
      'forward: --raw needs a network described with --network',
    );
  });
});

describe('data', () => {
  test('that is not there, empty, or unreadable', async () => {
    const on = (data: string, ...more: readonly string[]) => [
      'train',
      '--data',
      data,
      '--image-size',
      '8',
      '--image-channels',
      '1',
      ...TINY_RUN,
      '--steps',
      '1',
      '--out',
      join(folder, 'data-out'),
      ...more,
    ];
    await refused(on('digist'), "data: 'digist' is neither a data set nor a folder (did you mean digits?)");
    await mkdir(join(folder, 'void'));
    await refused(on(join(folder, 'void')), 'has no images; .png, ');
    const mixed = await writePictures(join(folder, 'mixed'), 6, 8);
    await writeFile(join(mixed, '000002-2.png'), 'no picture');
    await refused(
      on(mixed),
      /folder: 1 of 6 images in .*mixed cannot be read, the first is .*000002-2\.png \(.*\); repair or remove them, or leave them out with --skip-bad/,
    );
    const { code, stdout, stderr } = await attempt(...on(mixed, '--skip-bad'));
    expect(code, stderr).toBe(0);
    expect(stdout).toContain('1 images of mixed cannot be read and are left out');
    await refused(
      ['train', '--data', 'digits', '--image-size', '16', '--out', join(folder, 'data-out-2')],
      /data: digits has 1 channels of 28x28, but .*16x16 was asked for/,
    );
  });
});

describe('what does not go together in a run', { timeout: 120_000 }, () => {
  const name = (path: string): string => join(folder, path);
  const distill = (method: string, from: string, ...args: readonly string[]) => [
    'distill',
    method,
    '--teacher',
    from,
    '--steps',
    '1',
    '--batch',
    '4',
    '--threads',
    '1',
    '--sample-every',
    '0',
    '--out',
    name('together'),
    ...args,
  ];
  const plain = (method: string, ...args: readonly string[]) =>
    distill(method, name('plain'), '--data', pictures, '--image-size', '8', '--image-channels', '1', ...args);
  beforeAll(async () => {
    await writeTinyRun(name('plain'), { sample: { shape: [1, 8, 8], classes: 0 } });
  });
  test('pairs: none for a method that learns from them, and some for one that does not', async () => {
    await refused(distill('kd', teacher), 'kd: learns from pairs; make them with onestep pairs and give the file with --pairs');
    await refused(
      distill('dmd2', teacher, '--pairs', 'some.safetensors'),
      'pairs: dmd2 does not learn from pairs with these settings; leave --pairs out',
    );
  });
  test('guidance of a teacher without classes, under whatever name the method has for it', async () => {
    await refused(
      plain('dmd2', '--guidance', '2'),
      /dmd2\.guidance: guidance needs a teacher with classes or texts, which .*plain does not have; leave --guidance out/,
    );
    await refused(plain('ctm', '--guidance', '3'), /ctm\.guidance: .*; leave --guidance out/);
    // What a method does by itself is no mistake.
    const { code, stderr } = await attempt(...plain('gdd', '--dry-run'));
    expect([code, stderr]).toEqual([0, '']);
  });
  test('methods that learn guidance, of a teacher without classes', async () => {
    for (const method of ['agd', 'decoupled-dmd', 'lcm', 'sana-sprint', 'snoopi'])
      await refused(
        plain(method),
        new RegExp(`${method}: learns how classes or texts guide the teacher, and .*plain has none; give a teacher that has`),
      );
  });
  test('guidance in drawing, and classes, of a model that has none', async () => {
    const out = ['--out', name('never.safetensors')];
    await refused(
      ['sample', name('plain'), '--guidance', '2', ...out],
      /guidance 2 needs a model with classes or texts, which .*plain does not have/,
    );
    await refused(['sample', name('plain'), '--label', '3', ...out], /label: .*plain has no classes; leave --label out/);
    await refused(
      ['pairs', name('plain'), '--guidance', '2', ...out],
      /guidance 2 needs a model with classes or texts, which .*plain does not have/,
    );
  });
  test('hidden maps that the network lacks', () =>
    refused(
      distill('dmd2', teacher, '--taps', 'botleneck'),
      /discriminator: the network has no hidden map botleneck; it has .*bottleneck/,
    ));
  test('a level above those of the teacher', () =>
    refused(
      distill('dmd2', teacher, '--student-levels', '100,5'),
      /dmd2\.studentLevels: 100 is above 80, the highest level that the teacher .*teacher knows/,
    ));
  test('a student of one level as teacher', async () => {
    await writeTinyRun(name('dmd2'), { method: 'dmd2', levels: [80], teacher: 'digit-teacher' });
    await refused(
      distill('dmd2', name('dmd2')),
      /teacher: .*dmd2 is a student of dmd2, which knows level 80 alone; give a teacher, such as the one that it comes from \(digit-teacher\)/,
    );
  });
  test('evaluations of what cannot be measured', () =>
    refused(
      plain('dmd2', '--evaluate-every', '1'),
      /evaluateEvery: samples of .*pictures cannot be measured, those of digits and fashion-mnist can; leave --evaluate-every out/,
    ));
  test('guidance of a teacher that never learnt to speak without a label is told, not refused', async () => {
    const taught = await writeTinyRun(name('taught'));
    const notes = async (...args: readonly string[]): Promise<readonly string[]> => {
      await rm(name('together'), { recursive: true, force: true });
      const { code, stdout, stderr } = await attempt(...distill('dmd2', taught, ...args), '--json');
      expect([code, stderr]).toEqual([0, '']);
      const lines = stdout
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line) as { kind: string; text?: string });
      return lines.flatMap(({ kind, text }) => (kind === 'note' ? [text!] : []));
    };
    await writeFile(join(taught, 'config.json'), JSON.stringify({ labelDropout: 0 }));
    expect(await notes('--guidance', '2')).toEqual([
      expect.stringMatching(
        /^guidance asks .*taught without a label, which it was never trained for \(--label-dropout 0\): its answer means nothing$/,
      ),
    ]);
    expect(await notes()).toEqual([]);
    await writeFile(join(taught, 'config.json'), JSON.stringify({ labelDropout: 0.1 }));
    expect(await notes('--guidance', '2')).toEqual([]);
  });
});

describe('output', () => {
  test('that cannot be written', async () => {
    const blocker = await file('blocker', 'a file');
    await refused(
      train('--out', join(blocker, 'run')),
      /blocker\/run: cannot write: a part of the path is a file, not a folder \(ENOTDIR\)/,
    );
    await refused(
      ['export', student, '--out', join(folder, 'none', 'student.onnx')],
      /none\/student\.onnx: cannot write: its folder does not exist; create it first \(ENOENT\)/,
    );
    await refused(
      ['evaluate', student, '--n', '2', '--save', join(blocker, 'f.safetensors')],
      /cannot write: a part of the path is a file, not a folder \(ENOTDIR\)/,
    );
  });
});

describe('the process', () => {
  test('ends with 2 and one line; --debug, before or after the command, adds the stack', { timeout: 60_000 }, async () => {
    const [plain, before, after] = await Promise.all([
      start(['sample', 'none']).ended,
      start(['--debug', 'sample', 'none']).ended,
      start(['sample', 'none', '--debug']).ended,
    ]);
    expect(plain).toMatchObject({ code: 2, stdout: '', stderr: expect.stringMatching(/^error: model: there is no none; [^\n]*\n$/) });
    for (const outcome of [before, after])
      expect(outcome).toMatchObject({ code: 2, stderr: expect.stringMatching(/^InputError: model: there is no none.*\n {4}at /) });
  });
  test('the second SIGINT ends it at once with 130', () => {
    const exit = vi.spyOn(process, 'exit').mockImplementation((() => undefined) as never);
    const write = vi.spyOn(process.stdout, 'write').mockReturnValue(true);
    const before = process.listeners('SIGINT');
    const signal = interruption();
    const ours = process.listeners('SIGINT').filter((listener) => !before.includes(listener));
    expect(ours).toHaveLength(1);
    ours[0]!('SIGINT');
    expect([signal.aborted, exit.mock.calls]).toEqual([true, []]);
    ours[0]!('SIGINT');
    expect(exit.mock.calls[0]).toEqual([130]);
    exit.mockRestore();
    write.mockRestore();
    for (const name of ['SIGINT', 'SIGTERM'] as const) process.removeAllListeners(name);
  });
});
