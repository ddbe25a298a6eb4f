import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { dnsQuestions } from '../../../proxy/upstream/dns.ts';

const A = 1;
const AAAA = 28;
const BROKEN = 2;
const NO_SUCH_NAME = 3;
const TTL = 42;

/** What the server has: records by name, as bytes. */
const ZONE: Readonly<Record<string, { readonly type: number; readonly records: readonly Buffer[] }>> = {
  'four.example': { type: A, records: [Buffer.from([10, 0, 0, 2]), Buffer.from([10, 0, 0, 1])] },
  'six.example': { type: AAAA, records: [Buffer.from('20010db8000000000000000000000001', 'hex')] },
};

const server = createSocket('udp4');
const ask = (): ReturnType<typeof dnsQuestions> => dnsQuestions([`127.0.0.1:${server.address().port}`]);

beforeAll(async () => {
  server.on('message', (query, from) => server.send(reply(query), from.port, from.address));
  server.bind(0, '127.0.0.1');
  await once(server, 'listening');
});
afterAll(() => server.close());

/** RFC 1035 section 4.1: the question again, with the records of its name, each of which points back to it. */
function reply(query: Buffer): Buffer {
  const labels: string[] = [];
  let end = 12;
  for (let length = query[end] ?? 0; length > 0; length = query[end] ?? 0) {
    labels.push(query.toString('latin1', end + 1, end + 1 + length));
    end += length + 1;
  }
  const type = query.readUInt16BE(end + 1);
  const name = labels.join('.').toLowerCase();
  const zone = ZONE[name];
  const code = name === 'broken.example' ? BROKEN : zone === undefined ? NO_SUCH_NAME : 0;
  const records = zone?.type === type ? zone.records : [];
  const header = Buffer.alloc(12);
  query.copy(header, 0, 0, 2);
  header.writeUInt16BE(0x8180 | code, 2);
  header.writeUInt16BE(1, 4);
  header.writeUInt16BE(records.length, 6);
  const answers = records.map((record) => {
    const fields = Buffer.alloc(12);
    fields.writeUInt16BE(0xc00c, 0);
    fields.writeUInt16BE(type, 2);
    fields.writeUInt16BE(1, 4);
    fields.writeUInt32BE(TTL, 6);
    fields.writeUInt16BE(record.length, 10);
    return Buffer.concat([fields, record]);
  });
  return Buffer.concat([header, query.subarray(12, end + 5), ...answers]);
}

test('every IPv4 address of a name comes with its time to live', async () => {
  const answers = await ask()('four.example');
  expect(answers.toSorted((a, b) => a.address.localeCompare(b.address))).toEqual([
    { address: '10.0.0.1', ttlSeconds: TTL },
    { address: '10.0.0.2', ttlSeconds: TTL },
  ]);
});

test('IPv6 addresses come of names that have no others, in their canonical form', async () => {
  expect(await ask()('six.example')).toEqual([{ address: '2001:db8::1', ttlSeconds: TTL }]);
});

test('what DNS does not know the host may: the names of its hosts file', async () => {
  expect((await ask()('localhost'))[0]?.address).toMatch(/^127\.0\.0\.1$|^::1$/);
});

test('a server that is broken has not answered: the host is not asked in its place', async () => {
  await expect(ask()('broken.example')).rejects.toThrow('ESERVFAIL');
});

test('a name that nobody knows is no answer', async () => {
  await expect(ask()('nobody.invalid')).rejects.toThrow('ENOTFOUND');
});
