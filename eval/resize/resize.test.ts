/** @file Tests of resizing against stored values, Pillow's whole outputs by hash, and closed forms. */
import { describe, expect, test } from 'vitest';
import { InputError } from '../../engine/io/errors.ts';
import { goldenPath } from '../../engine/testing/golden.ts';
import { type Geometry, pilFloatResizer, pilResizer, RESIZERS, resizerNamed, tf1Resizer, torchResizer } from './index.ts';
import { meanError, picture, type ResizeFacts, readResizeFacts, sha256, worst } from './testing/pictures.ts';

/** The stated tolerances belong to positions in float64; in float32, as here, a tenth is enough. */
const toleranceOf = ({ tolerance }: ResizeFacts, name: string): number => {
  const wanted = Object.keys(tolerance).filter((key) => (key.endsWith('*') ? name.startsWith(key.slice(0, -1)) : name === key))[0];
  if (name.startsWith('pil_') || name.includes('uint8') || name.startsWith('torch_nearest')) return 0;
  return tolerance[wanted!]! / 10;
};

describe('stored values', () => {
  const path = goldenPath('resize/resize.json');
  test.skipIf(!path)('every resizer agrees on every picture', { timeout: 30_000 }, async () => {
    const facts = await readResizeFacts(path!);
    const faults: string[] = [];
    let compared = 0;
    for (const [name, { image, input_hw: from, output_hw: to, input_sha256_hwc, outputs }] of Object.entries(facts.cases)) {
      const pixels = picture(image, from);
      expect(sha256(pixels)).toBe(input_sha256_hwc);
      for (const [kind, output] of Object.entries(outputs)) {
        const got = resizerNamed(kind, { from, to, channels: 3 })(pixels);
        const off = worst(got, facts, `${name}.${kind}`, `${name}.yx`, to);
        const allowed = toleranceOf(facts, kind);
        compared++;
        if (off > allowed || meanError(got, output) > allowed + 1e-9) faults.push(`${name} ${kind} is off by ${off}`);
        if (output.sha256_hwc && sha256(Uint8Array.from(got)) !== output.sha256_hwc) faults.push(`${name} ${kind}: another hash`);
      }
    }
    expect(faults).toEqual([]);
    expect(compared).toBe(14 * 19);
  });
});

/** Hashes of Pillow 13.0.0's `resize` of the picture 'zone': the order of the passes, one-pixel sides, filters and mode F (not clipped). */
const PILLOW = [
  [100, 64, 20, 60, 'uint8', 'bicubic', '495b17bf425c6f5e258e3e954d96c6f092f162d47cfc40c003b794fac4764f41'],
  [100, 64, 20, 25, 'uint8', 'bicubic', '4dc6893b2b7605220396c70e3fdc755d40cf0f80ceb7ba31f4088e014f495b84'],
  [120, 50, 40, 90, 'float32', 'lanczos', '9a2bfc89bed778bfbda4a736c9ed8e60c90d0204b90033b15d0fe3b68f4a06f5'],
  [97, 31, 96, 13, 'uint8', 'lanczos', '8924859c4d2e3644225d39ef5a4072fcf302bc137d3bcaa05ee5431c78579db0'],
  [64, 48, 1, 1, 'uint8', 'bilinear', '4fcb81198f79e3502b9459e60479d00b20650635bdbf959ee0d25ba870ee2ac2'],
  [1, 50, 7, 30, 'uint8', 'box', '404399946ffff27c66c8eeda81399ee28b66a08b210d40fa30002f3556d71b26'],
  [50, 1, 30, 7, 'float32', 'bicubic', '6467437ae588444c253306b4088a775335a7827a6853e2b2af9f7c76883fb009'],
  [77, 90, 77, 33, 'uint8', 'hamming', '983235c78725280f34521ec380b38146e5a3416518503cbcc3ca5b3304634244'],
  [90, 77, 33, 77, 'float32', 'box', '70b3879c339957bea727dac5f7bbc5bd47f33edb9a77927127137d2c338f4cfe'],
  [37, 101, 101, 37, 'uint8', 'nearest', '3947276d20e001571b7bbb9340dccc68678a2803d381bc05a9ac2c5023261ca4'],
  [300, 256, 16, 777, 'uint8', 'bicubic', 'eeeda694297ad9d54d7fd67b1c67c542ad77b5c2a8153a21f51328f395887f74'],
] as const;

describe('Pillow at other sizes', () => {
  test.each(PILLOW)('%ix%i to %ix%i by %s %s', (h, w, high, wide, type, filter, hash) => {
    const options = { from: [h, w], to: [high, wide], channels: 3, filter, clip: false } as const;
    const resized = (type === 'uint8' ? pilResizer(options) : pilFloatResizer(options))(picture('zone', [h, w]));
    expect(sha256(new Uint8Array(resized.buffer))).toBe(hash);
  });
});

const plain = (from: number, to: number): Geometry => ({ from: [1, from], to: [1, to], channels: 1 });

describe('closed forms', () => {
  test('a flat image stays flat, whatever the resizer and the sizes', () => {
    for (const name of RESIZERS) {
      for (const [from, to] of [
        [
          [7, 5],
          [3, 11],
        ],
        [
          [1, 1],
          [4, 2],
        ],
        [
          [9, 4],
          [9, 6],
        ],
        [
          [40, 3],
          [5, 3],
        ],
      ] as const) {
        const out = resizerNamed(name, { from, to, channels: 2 })(new Uint8Array(from[0] * from[1] * 2).fill(97));
        expect(out.length).toBe(to[0] * to[1] * 2);
        for (const value of out) expect(Math.abs(value - 97), name).toBeLessThan(2e-5);
      }
    }
  });

  test('the same size gives the same pixels in memory of their own', () => {
    const pixels = picture('hash', [5, 4]);
    for (const name of RESIZERS) {
      const out = resizerNamed(name, { from: [5, 4], to: [5, 4], channels: 3 })(pixels);
      expect([...out], name).toEqual([...pixels]);
      expect(out.buffer).not.toBe(pixels.buffer);
    }
  });

  test('box and area by a whole factor are means', () => {
    const row = Uint8Array.of(10, 20, 60, 100, 0, 7);
    expect([...pilFloatResizer({ ...plain(6, 3), filter: 'box' })(row)]).toEqual([15, 80, 3.5]);
    expect([...torchResizer({ ...plain(6, 2), mode: 'area' })(row)]).toEqual([30, Math.fround(107 / 3)]);
    // Rounded half up.
    expect([...pilResizer({ ...plain(6, 3), filter: 'box' })(row)]).toEqual([15, 80, 4]);
  });

  test('twice as wide: centres lie a quarter pixel aside, TensorFlow 1 starts at the first pixel', () => {
    const row = Uint8Array.of(0, 100);
    const quarters = [0, 25, 75, 100];
    expect([...torchResizer({ ...plain(2, 4), mode: 'bilinear' })(row)]).toEqual(quarters);
    expect([...pilFloatResizer({ ...plain(2, 4), filter: 'bilinear' })(row)]).toEqual(quarters);
    expect([...tf1Resizer(plain(2, 4))(row)]).toEqual([0, 50, 100, 100]);
  });

  test("PyTorch's plain cubic has a = −3/4: at half a pixel the weights are (a, 4−a, 4−a, a)/8", () => {
    // Half as wide: output 1 lies between pixels 2 and 3, output 2 between 4 and 5.
    const half = torchResizer({ ...plain(8, 4), mode: 'bicubic' })(Uint8Array.of(0, 0, 0, 80, 0, 0, 0, 0));
    expect([...half]).toEqual([0, (80 * 4.75) / 8, (80 * -0.75) / 8, 0]);
  });

  test("Pillow's cubic has a = −1/2: at a quarter pixel the weight is (a+2)/64 − (a+3)/16 + 1", () => {
    const twice = pilFloatResizer({ ...plain(9, 18), filter: 'bicubic' })(Uint8Array.of(0, 0, 0, 0, 128, 0, 0, 0, 0));
    expect([twice[8], twice[9]]).toEqual([111, 111]); // 128·(1.5/64 − 2.5/16 + 1)
  });

  test('bicubic overshoots: clipped by clean-fid, not by PyTorch', () => {
    const edge = Uint8Array.of(0, 0, 0, 255, 255, 255);
    const clipped = pilFloatResizer({ ...plain(6, 12), filter: 'bicubic' })(edge);
    expect([Math.min(...clipped), Math.max(...clipped)]).toEqual([0, 255]);
    for (const open of [
      pilFloatResizer({ ...plain(6, 12), filter: 'bicubic', clip: false })(edge),
      torchResizer({ ...plain(6, 12), mode: 'bicubic' })(edge),
    ]) {
      expect(Math.min(...open)).toBeLessThan(-5);
      expect(Math.max(...open)).toBeGreaterThan(260);
    }
  });

  test('PyTorch antialiased and enlarging bilinear is the plain one', () => {
    const pixels = picture('hash', [6, 7]);
    const geometry = { from: [6, 7], to: [13, 20], channels: 3, mode: 'bilinear' } as const;
    const [a, b] = [torchResizer(geometry)(pixels), torchResizer({ ...geometry, antialias: true })(pixels)];
    for (const [i, value] of a.entries()) expect(Math.abs(value - b[i]!)).toBeLessThan(1e-3);
  });

  test('rows and columns are treated alike', () => {
    const [h, w] = [9, 14];
    const tall = picture('hash', [h, w]);
    const turn = (pixels: ArrayLike<number>, rows: number, columns: number): number[] =>
      Array.from(
        { length: rows * columns * 3 },
        (_, i) => pixels[((Math.floor(i / 3) % rows) * columns + Math.floor(i / 3 / rows)) * 3 + (i % 3)]!,
      );
    for (const name of RESIZERS.filter((each) => !each.includes('uint8'))) {
      const straight = resizerNamed(name, { from: [h, w], to: [5, 8], channels: 3 })(tall);
      const turned = resizerNamed(name, { from: [w, h], to: [8, 5], channels: 3 })(Uint8Array.from(turn(tall, h, w)));
      const back = turn(turned, 8, 5);
      for (const [i, value] of straight.entries()) expect(Math.abs(value - back[i]!), name).toBeLessThan(1e-3);
    }
  });
});

describe('mistakes are one line', () => {
  const cases: readonly [() => unknown, string][] = [
    [() => resizerNamed('pil_uint8_bicubc', plain(2, 2)), 'did you mean pil_uint8_bicubic?'],
    [() => pilResizer({ ...plain(2, 2), filter: 'cubic' as never }), 'resize: no filter "cubic"; one of box, bilinear'],
    [() => pilResizer({ ...plain(2, 0), filter: 'box' }), 'resize: [1, 2] to [1, 0] with 1 channels; whole numbers of at least 1 expected'],
    [() => pilResizer({ from: [1e5, 1], to: [1, 1e5], channels: 3, filter: 'box' }), 'at most 2147483647 values expected'],
    [
      () => torchResizer({ ...plain(2, 4), mode: 'area', antialias: true }),
      'resize: antialias with area; it exists for bilinear and bicubic',
    ],
    [() => tf1Resizer(plain(2, 4))(new Uint8Array(3)), 'resize: 3 values; [1, 2, 1] takes 2'],
  ];
  test.each(cases)('%s', (act, words) => {
    expect(act).toThrow(InputError);
    expect(act).toThrow(words);
  });
});

test('299x299 from 32x32 takes a few milliseconds', () => {
  const resize = pilFloatResizer({ from: [32, 32], to: [299, 299], channels: 3, filter: 'bicubic' });
  const pixels = picture('hash', [32, 32]);
  const times = Array.from({ length: 20 }, () => {
    const start = performance.now();
    resize(pixels);
    return performance.now() - start;
  });
  // 2 to 3 ms; the fastest of many, so that a busy machine does not count.
  expect(Math.min(...times)).toBeLessThan(15);
});
