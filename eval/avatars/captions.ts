/** @file Captions of drawn avatars: the traits that a drawing shows, in words, in one of many orders. */

/** Options that a drawing was made with, as DiceBear names them; colours with or without `#`. */
export type DrawnOptions = Readonly<Record<string, unknown>>;

/** Colour names by their codes; those that look alike share one. */
const HAIR: Readonly<Record<string, string>> = {
  cab188: 'blond',
  '603a14': 'brown',
  '83623b': 'light brown',
  a78961: 'dark blond',
  '611c17': 'auburn',
  '603015': 'chestnut',
  '612616': 'mahogany',
  '28150a': 'black',
  '009bbd': 'blue',
  bd1700: 'red',
  '91cb15': 'green',
};
const SKIN: Readonly<Record<string, string>> = {
  ffdbac: 'very pale',
  f5cfa0: 'pale',
  eac393: 'fair',
  e0b687: 'beige',
  cb9e6e: 'tan',
  b68655: 'light brown',
  a26d3d: 'brown',
  '8d5524': 'dark brown',
};
const CLOTHING: Readonly<Record<string, string>> = {
  '5bc0de': 'light blue',
  '428bca': 'blue',
  '03396c': 'navy',
  '88d8b0': 'mint',
  '44c585': 'green',
  '00b159': 'emerald',
  ff6f69: 'coral',
  d11141: 'crimson',
  ae0001: 'dark red',
  ffeead: 'cream',
  ffd969: 'yellow',
  ffc425: 'amber',
};
const EYES: Readonly<Record<string, string>> = {
  '76778b': 'grey',
  '697b94': 'blue',
  '647b90': 'blue',
  '5b7c8b': 'blue',
  '588387': 'green',
  '876658': 'brown',
};
const HAT: Readonly<Record<string, string>> = {
  '2e1e05': 'dark brown',
  '2663a3': 'blue',
  '989789': 'grey',
  '3d8a6b': 'green',
  cc6192: 'pink',
  '614f8a': 'purple',
  a62116: 'red',
};
const JEWELLERY: Readonly<Record<string, string>> = {
  daa520: 'gold',
  ffd700: 'gold',
  fafad2: 'silver',
  d3d3d3: 'silver',
  a9a9a9: 'silver',
};

const text = (options: DrawnOptions, key: string): string => (typeof options[key] === 'string' ? (options[key] as string) : '');
const colour = (names: Readonly<Record<string, string>>, options: DrawnOptions, key: string): string =>
  names[text(options, key).replace('#', '').toLowerCase()] ?? 'coloured';

/** What can be told of a drawing, and the values that each may have; `none` where the thing is not drawn. */
const named = (names: Readonly<Record<string, string>>): readonly string[] => [...new Set(Object.values(names))];
export const ATTRIBUTES = {
  hair: ['none', 'short', 'long'],
  'hair colour': ['none', ...named(HAIR)],
  skin: named(SKIN),
  top: ['none', ...named(CLOTHING)],
  eyes: ['none', ...named(EYES)],
  smile: ['no', 'yes'],
  glasses: ['none', 'dark', 'clear'],
  hat: ['none', ...named(HAT)],
  beard: ['none', 'yes'],
  jewellery: ['none', ...named(JEWELLERY)],
} as const satisfies Readonly<Record<string, readonly string[]>>;
export type Attribute = keyof typeof ATTRIBUTES;

/** The value of every attribute of a drawing. */
export function attributesOf(options: DrawnOptions): Readonly<Record<Attribute, string>> {
  const shown = (key: string, value: string): string => (text(options, key) === '' ? 'none' : value);
  return {
    hair: shown('hair', text(options, 'hair').startsWith('long') ? 'long' : 'short'),
    'hair colour': shown('hair', colour(HAIR, options, 'hairColor')),
    skin: colour(SKIN, options, 'skinColor'),
    top: shown('clothing', colour(CLOTHING, options, 'clothingColor')),
    eyes: shown('eyes', colour(EYES, options, 'eyesColor')),
    smile: text(options, 'mouth').startsWith('happy') ? 'yes' : 'no',
    glasses: shown('glasses', text(options, 'glasses').startsWith('dark') ? 'dark' : 'clear'),
    hat: shown('hat', colour(HAT, options, 'hatColor')),
    beard: shown('beard', 'yes'),
    jewellery: shown('accessories', colour(JEWELLERY, options, 'accessoriesColor')),
  };
}

/** What a drawing shows, a phrase for each trait. */
export function traitsOf(options: DrawnOptions): readonly string[] {
  const a = attributesOf(options);
  const shown = (name: Attribute, phrase: string): readonly string[] => (a[name] === 'none' ? [] : [phrase]);
  return [
    ...shown('hair', `${a.hair} ${a['hair colour']} hair`),
    `${a.skin} skin`,
    ...shown('top', `a ${a.top} top`),
    ...shown('eyes', `${a.eyes} eyes`),
    a.smile === 'yes' ? 'a smile' : 'no smile',
    ...shown('glasses', `${a.glasses} glasses`),
    ...shown('hat', `a ${a.hat} hat`),
    ...shown('beard', 'a beard'),
    ...shown('jewellery', `${a.jewellery} jewellery`),
  ];
}

const OPENINGS = ['a person with', 'someone with', 'a portrait of a person with', 'pixel art of a person with'] as const;

/** The traits as a sentence. @param chance numbers in [0, 1) that choose the opening and the order; none: the first opening and the order as it is */
export function captionOf(options: DrawnOptions, chance: ArrayLike<number> = []): string {
  const traits = [...traitsOf(options)];
  for (let i = traits.length - 1; i > 0; i--) {
    const j = Math.floor((chance[i] ?? 1 - 1e-9) * (i + 1));
    [traits[i], traits[j]] = [traits[j]!, traits[i]!];
  }
  const opening = OPENINGS[Math.floor((chance[0] ?? 0) * OPENINGS.length)]!;
  return `${opening} ${traits.slice(0, -1).join(', ')} and ${traits.at(-1)}`;
}
/** Numbers that `captionOf` uses at most. */
export const CAPTION_CHANCES = 9;

/** Every word that a caption may hold. */
export const CAPTION_WORDS: readonly string[] = [
  ...new Set(
    [
      ...OPENINGS,
      ...[HAIR, SKIN, CLOTHING, EYES, HAT, JEWELLERY].flatMap((names) => Object.values(names)),
      'and no smile beard hair skin top eyes glasses hat jewellery long short dark clear coloured , .',
    ].flatMap((words) => words.split(' ')),
  ),
].sort();
