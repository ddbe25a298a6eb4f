import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { Fields, initialOf } from '../../../proxy/http/message.ts';

const NAMES = ['Host', 'host', 'Accept', 'accept-language', 'Accept-Encoding', 'a', 'A', 'x-a', 'X-A-B'];
const VALUES = ['', 'a', 'a: b', 'host: other', ': x', 'x-a:', 'c'.repeat(40)];
const field = fc.tuple(fc.constantFrom(...NAMES), fc.constantFrom(...VALUES));

function spelled(fields: readonly (readonly [string, string])[]): Fields {
  let initials = 0;
  for (const [name] of fields) initials |= initialOf(name.charCodeAt(0));
  return Fields.spelled(fields.map(([name, value]) => `${name}: ${value}\r\n`).join(''), initials);
}

test('a value is the same whether it is looked for in the text or among fields that were taken apart', () => {
  fc.assert(
    fc.property(fc.array(field, { maxLength: 8 }), fc.array(field, { maxLength: 3 }), (arrived, added) => {
      const [text, apart] = [spelled(arrived), spelled(arrived)];
      for (const [name, value] of added) {
        text.append(name, value);
        apart.append(name, value);
      }
      expect(apart.size).toBe(arrived.length + added.length);
      for (const name of [...NAMES, 'hos', 'hostx', 'absent', 'x-a-']) {
        expect(text.get(name.toLowerCase()), name).toBe(apart.get(name.toLowerCase()));
      }
    }),
    { seed: 11, numRuns: 500 },
  );
});
