/** @file The part of Windows-1252 that Latin-1 lacks. https://encoding.spec.whatwg.org/#windows-1252 */

/** Characters of the bytes 0x80 to 0x9f; the five that the code page leaves open stand for themselves. */
export const CP1252: readonly string[] = Array.from('€\u0081‚ƒ„…†‡ˆ‰Š‹Œ\u008dŽ\u008f\u0090‘’“”•–—˜™š›œ\u009džŸ');
