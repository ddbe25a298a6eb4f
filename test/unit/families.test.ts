import { expect, test } from 'vitest';
import { parseBootstrap } from '../../proxy/config/bootstrap.ts';
import { ipv4Only } from '../../proxy/families.ts';

function listeners(...args: string[]): unknown[] {
  const parsed = parseBootstrap(args, {});
  if (!parsed.ok) throw new Error(parsed.error.join('\n'));
  const { inbound, outbound, admin, metrics, ready } = ipv4Only(parsed.value);
  return [inbound, ...outbound, admin, metrics, ready].map(({ host, port }) => `${host} ${port}`);
}

test('without IPv6 the usual listeners are those of IPv4', () => {
  expect(listeners()).toEqual([
    '0.0.0.0 15006',
    '127.0.0.1 15001',
    '127.0.0.1 15000',
    '0.0.0.0 15020',
    '0.0.0.0 15021',
  ]);
});

test('what was asked for by an address of IPv6 alone stays, to fail with its name', () => {
  expect(listeners('--outbound', '[::1]:1', '--inbound', '[fd00::7]:2').slice(0, 2)).toEqual(['fd00::7 2', '::1 1']);
});
