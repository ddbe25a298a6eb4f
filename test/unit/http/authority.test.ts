import { expect, test } from 'vitest';
import { AuthorityMemo, canonicalAuthority, splitAuthority } from '../../../proxy/http/authority.ts';

test('A canonical authority is its own canonical form.', () => {
  for (const raw of ['A.B.:080', '[::FFFF:1.2.3.4]:80', '[FE80:0::1]', '10.0.0.1', 'x_y', '1.example', '0x.example']) {
    const once = canonicalAuthority(raw);
    expect(once).not.toBeNull();
    expect(canonicalAuthority(once as string)).toBe(once);
  }
});

test('A name of 253 characters is a host, one of 254 is not.', () => {
  const name = `${'a'.repeat(63)}.`.repeat(3) + 'a'.repeat(61);
  expect(canonicalAuthority(name)).toBe(name);
  expect(canonicalAuthority(`${name}.:80`)).toBe(`${name}:80`);
  expect(canonicalAuthority(`${name}a`)).toBeNull();
});

test('An authority is split into host and port, an IPv6 host without its brackets.', () => {
  expect(splitAuthority('a.b:80')).toEqual({ host: 'a.b', port: 80 });
  expect(splitAuthority('a.b')).toEqual({ host: 'a.b', port: -1 });
  expect(splitAuthority('[2001:db8::1]:443')).toEqual({ host: '2001:db8::1', port: 443 });
  expect(splitAuthority('[2001:db8::1]')).toEqual({ host: '2001:db8::1', port: -1 });
});

test('The memo answers as the function does, also when hosts alternate.', () => {
  const memo = new AuthorityMemo();
  for (const raw of ['', 'A', 'A', 'b:80', 'u@b', 'u@b', 'A', ''])
    expect(memo.canonicalOf(raw)).toBe(canonicalAuthority(raw));
});
