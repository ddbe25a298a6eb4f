import { expect, test } from 'vitest';
import { exportedNames, importsOf } from './imports.ts';

const read = (source: string): string[] =>
  importsOf(source).map(
    (one) => `${one.line} ${one.dynamic ? 'dynamic ' : ''}${one.typeOnly ? 'type ' : ''}${one.specifier}`,
  );

test('every form of import and re-export is read with its line', () => {
  const source = `import 'a';
import b from "b";
import type { C, type D } from 'c';
import type D from 'd';
import type from 'e';
import { type F, f as 'odd name' } from 'f';
import * as g from 'g' with { type: 'json' };
export * from 'h'; export * as i from 'i';
export type { J } from 'j';
export {
  k,
} from 'k';
const l = await import('l'); const m = import('m', { with: {} });
const n = import(n + '.ts');`;
  expect(read(source)).toEqual([
    '1 a',
    '2 b',
    '3 type c',
    '4 type d',
    '5 e',
    '6 f',
    '7 g',
    '8 h',
    '8 i',
    '9 type j',
    '10 k',
    '13 dynamic l',
    '13 dynamic m',
    '14 dynamic null',
  ]);
});

test('what only looks like an import is none', () => {
  const source = `// import 'a'
/* import 'b'
*/ const text = "import 'c'" + 'it\\'s import "d"';
const nested = \`import 'e' \${inner(\`\${{ a: "import 'f'" }}\`)} import 'g'\`;
const pattern = /import 'h'[/"]/g.test(x) ? a / b : c / import.meta.url.length;
export { nested, from };
export const from = 'i';
const object = { import: 'j', from: 'k' }; object.import('l');
export type Name = 'm' | 'n';
export default class Last {}`;
  expect(read(source)).toEqual([]);
});

test('exported declarations are named, re-exports and expressions are not', () => {
  const source = `export const a = 1; export async function b() {} export abstract class C {} export type D = 1;
export default class E {} export interface F {} export { a as g }; export default 5; const h = 1;`;
  expect(exportedNames(source)).toEqual(['a', 'b', 'C', 'D', 'E', 'F']);
});
