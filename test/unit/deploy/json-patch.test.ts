import fc from 'fast-check';
import { expect, test } from 'vitest';
import { jsonPatch, type Operation } from '../../../deploy/injector/patch.ts';

/** RFC 6902 by its words, for the three operations there are. */
function apply(document: unknown, operations: readonly Operation[]): unknown {
  let result = structuredClone(document);
  for (const operation of operations) {
    const { op, path } = operation;
    const keys = path
      .split('/')
      .slice(1)
      .map((key) => key.replaceAll('~1', '/').replaceAll('~0', '~'));
    const last = keys.pop();
    if (last === undefined) {
      result = (operation as { value: unknown }).value;
      continue;
    }
    const parent = keys.reduce<unknown>((at, key) => (at as Record<string, unknown>)[key], result);
    if (Array.isArray(parent)) {
      if (op === 'add') parent.splice(Number(last), 0, operation.value);
      else if (op === 'replace') parent[Number(last)] = operation.value;
      else throw new Error(`remove from a list: ${path}`);
    } else {
      const object = parent as Record<string, unknown>;
      if (op !== 'add' && !Object.hasOwn(object, last)) throw new Error(`${op} of what is not there: ${path}`);
      if (op === 'remove') delete object[last];
      else object[last] = operation.value;
    }
  }
  return result;
}

test('applied to the one value, the patch makes the other', () => {
  const item = fc.record(
    { name: fc.constantFrom('a', 'b', 'c', 'd'), value: fc.integer() },
    { requiredKeys: ['name'] },
  );
  const list = fc.uniqueArray(item, { selector: (each) => each.name });
  const key = fc.constantFrom('a/b', '~', 'plain', 'x~1y');
  const { tree } = fc.letrec<{ tree: unknown }>((tie) => ({
    tree: fc.oneof(
      { maxDepth: 3 },
      fc.integer(),
      fc.string(),
      list,
      fc.dictionary(key, tie('tree'), { noNullPrototype: true }),
    ),
  }));
  fc.assert(
    fc.property(tree, tree, (before, after) => {
      expect(apply(before, jsonPatch(before, after))).toEqual(after);
    }),
    { seed: 3, numRuns: 500 },
  );
});

test('what comes first or last in a list is added there, and the rest is left alone', () => {
  const before = { list: [{ name: 'app', image: 1 }] };
  const after = { list: [{ name: 'new' }, { name: 'app', image: 2 }, { name: 'end' }] };
  expect(jsonPatch(before, after)).toEqual([
    { op: 'add', path: '/list/0', value: { name: 'new' } },
    { op: 'replace', path: '/list/1/image', value: 2 },
    { op: 'add', path: '/list/2', value: { name: 'end' } },
  ]);
});

test('equal values need no patch', () => {
  expect(jsonPatch({ a: [1, { b: null }] }, { a: [1, { b: null }] })).toEqual([]);
});
