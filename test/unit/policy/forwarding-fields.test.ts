import { describe, expect, test } from 'vitest';
import { Fields, RequestHead } from '../../../proxy/http/message.ts';
import { stampForwarding } from '../../../proxy/policy/forwarding-fields.ts';
import type { Caller } from '../../../proxy/session/caller.ts';
import { Random } from '../../../shared/random.ts';

const OWN = 'spiffe://cluster.local/ns/default/sa/own';
const PEER = 'spiffe://cluster.local/ns/default/sa/peer';

const STRANGER: Caller = {
  direction: 'inbound',
  principal: '',
  certificateHash: '',
  sourceAddress: '10.0.0.9',
  sourcePort: 1234,
  original: null,
  trusted: false,
  encrypted: false,
};
const VERIFIED: Caller = { ...STRANGER, principal: PEER, certificateHash: 'ab12', trusted: true, encrypted: true };
const APPLICATION: Caller = { ...STRANGER, direction: 'outbound', sourceAddress: '127.0.0.1', trusted: true };

/** What the application gets for these fields from this caller. */
function stamped(
  caller: Caller,
  fields: Readonly<Record<string, string>>,
  scheme: 'http' | 'https' = 'http',
): { fields: Fields; id: string } {
  const list = new Fields(Object.keys(fields), Object.values(fields));
  const head = new RequestHead('GET', scheme, 'app', '/', list, 0, 11, false, false, false, null);
  const id = stampForwarding(head, caller, OWN, new Random(1));
  return { fields: list, id };
}

describe('from a caller that nobody verified', () => {
  test.each([
    'x-forwarded-for',
    'X-Forwarded-For',
    'x_forwarded_for',
    'x-forwarded-host',
    'x-forwarded-client-cert',
    'X_Forwarded-Client-Cert',
    'x-real-ip',
    'x-envoy-original-path',
    'weft-attempt',
  ])('%s is not believed', (name) => {
    const { fields } = stamped(STRANGER, { [name]: 'spoofed' });
    expect(fields.values).not.toContain('spoofed');
    expect(fields.wire).not.toContain('spoofed');
  });

  test('our view of it stands instead, and a request id of our own', () => {
    const { fields, id } = stamped(STRANGER, { 'x-request-id': 'theirs', 'x-forwarded-proto': 'https' });
    expect(fields.get('x-forwarded-for')).toBe('10.0.0.9');
    expect(fields.get('x-forwarded-proto')).toBe('http');
    expect(fields.getAll('x-request-id')).toEqual([id]);
    expect(id).toMatch(/^[0-9a-f-]{36}$/);
  });

  test('the scheme is that of its connection, whatever its target or :scheme says', () => {
    expect(stamped(STRANGER, {}, 'https').fields.get('x-forwarded-proto')).toBe('http');
    expect(stamped({ ...STRANGER, encrypted: true }, {}).fields.get('x-forwarded-proto')).toBe('https');
  });

  test('other fields pass as they came', () => {
    const { fields } = stamped(STRANGER, { 'X-Custom': '1', 'x-forwarded': '2', Accept: '3' });
    expect([fields.get('x-custom'), fields.get('x-forwarded'), fields.get('accept')]).toEqual(['1', '2', '3']);
  });
});

describe('from a verified peer', () => {
  test('what it says of the caller before it is kept', () => {
    const given = { 'x-forwarded-for': '1.2.3.4', 'x-request-id': 'theirs', 'x-forwarded-proto': 'https' };
    const { fields, id } = stamped(VERIFIED, given);
    for (const [name, value] of Object.entries(given)) expect(fields.getAll(name)).toEqual([value]);
    expect(id).toBe('theirs');
  });

  test('its identity is the last element of x-forwarded-client-cert', () => {
    const ours = `By=${OWN};Hash=ab12;Subject="";URI=${PEER}`;
    expect(stamped(VERIFIED, {}).fields.get('x-forwarded-client-cert')).toBe(ours);
    const chained = stamped(VERIFIED, { 'x-forwarded-client-cert': 'By=a;URI=b' });
    expect(chained.fields.getAll('x-forwarded-client-cert')).toEqual([`By=a;URI=b,${ours}`]);
  });

  test('a twin of x-forwarded-client-cert in another spelling is not believed', () => {
    const { fields } = stamped(VERIFIED, { x_forwarded_client_cert: 'spoofed' });
    expect(fields.wire).not.toContain('spoofed');
  });
});

test('from the own application its forwarding fields pass, and no x-forwarded-client-cert', () => {
  const { fields } = stamped(APPLICATION, { 'x-forwarded-for': '1.2.3.4', 'x-forwarded-client-cert': 'spoofed' });
  expect(fields.get('x-forwarded-for')).toBe('1.2.3.4');
  expect(fields.has('x-forwarded-client-cert')).toBe(false);
});

test('the own application says by its target which scheme it meant', () => {
  expect(stamped(APPLICATION, {}, 'https').fields.get('x-forwarded-proto')).toBe('https');
});

test('a request id that is too long for a log line is replaced', () => {
  const { fields, id } = stamped(VERIFIED, { 'x-request-id': 'x'.repeat(129) });
  expect(id).toHaveLength(36);
  expect(fields.getAll('x-request-id')).toEqual([id]);
});
