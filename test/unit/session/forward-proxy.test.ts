/** An HTTP proxy of the application's own choice, at an address that policy does not know, behind a redirect. */
import { afterEach, expect, test } from 'vitest';
import { directDestination } from '../../../proxy/config/link.ts';
import { keepsAbsolute } from '../../../proxy/session/admission.ts';
import type { Caller } from '../../../proxy/session/caller.ts';
import { UNKNOWN_SERVICE } from '../../../proxy/telemetry/record.ts';
import { eventually } from '../../support/eventually.ts';
import type { Heard } from '../../support/heard.ts';
import { RoomStage } from './room-stage.ts';

let stage: RoomStage;
afterEach(() => stage[Symbol.asyncDispose]());

const OK = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok';
const ESTABLISHED = 'HTTP/1.0 200 Fine\r\n\r\n';

/** A proxy that answers each request, and lets a tunnel say what it hears. */
async function open(): Promise<void> {
  stage = await RoomStage.open();
  stage.serve = (socket) =>
    socket.on('data', (chunk: Buffer) => {
      const text = chunk.toString('latin1');
      if (text.startsWith('CONNECT ')) socket.write(ESTABLISHED);
      else socket.write(text.includes(' HTTP/1.1\r\n') ? OK : `heard ${text}`);
    });
}

function headOf({ text }: Heard): string[] {
  return text.split('\r\n').filter((line) => !/^x-/i.test(line));
}

test.each([
  [
    'GET http://Shop.example:8080/a/../b?c HTTP/1.1\r\nHost: shop.example:8080',
    'GET http://shop.example:8080/b?c HTTP/1.1',
  ],
  ['GET http://shop.example HTTP/1.1\r\nHost: shop.example', 'GET http://shop.example/ HTTP/1.1'],
  ['GET https://shop.example/x HTTP/1.1\r\nHost: shop.example', 'GET https://shop.example/x HTTP/1.1'],
  ['OPTIONS http://shop.example HTTP/1.1\r\nHost: shop.example', 'OPTIONS http://shop.example HTTP/1.1'],
  ['GET /x HTTP/1.1\r\nHost: shop.example', 'GET /x HTTP/1.1'],
])('%j goes to it as %j', async (sent, arrives) => {
  await open();
  using client = await stage.connect();
  const answer = await client.exchange(`${sent}\r\nProxy-Authorization: Basic eA==\r\n\r\n`);
  expect(answer.status).toBe(200);
  const [first, ...fields] = headOf(await stage.connection(0));
  expect(first).toBe(arrives);
  expect(fields).toContain('Proxy-Authorization: Basic eA==');
});

test('a CONNECT behind another request goes to it, its answer comes back, and then bytes pass', async () => {
  await open();
  using client = await stage.connect();
  await client.exchange('GET http://shop.example/ HTTP/1.1\r\nHost: shop.example\r\n\r\n');
  const before = client.received.length;
  await client.write('CONNECT shop.example:443 HTTP/1.1\r\nHost: shop.example:443\r\nProxy-Authorization: x\r\n\r\n');
  await client.until(() => client.text.slice(before) === ESTABLISHED || undefined);
  const lines = headOf(await stage.connection(1));
  expect(lines.slice(0, 3)).toEqual([
    'CONNECT shop.example:443 HTTP/1.1',
    'Host: shop.example:443',
    'Proxy-Authorization: x',
  ]);
  await client.write('hello');
  await client.until(() => client.text.endsWith('heard hello') || undefined);
  client.finish();
  (await stage.connection(1)).socket.end();
  await eventually('the tunnel is over', () => stage.records[0]);
  expect(stage.records).toMatchObject([{ authority: 'shop.example:443', failure: null }]);
});

const CALLER: Caller = {
  direction: 'outbound',
  principal: '',
  certificateHash: '',
  sourceAddress: '10.0.0.1',
  sourcePort: 1,
  trusted: true,
  encrypted: false,
  original: { host: '10.9.9.9', port: 3128 },
};
const SERVICE = { host: 'shop.default', name: 'shop', namespace: 'default' };

// Does a target in absolute form go on as it came?
test.each([
  ['a stranger', CALLER, UNKNOWN_SERVICE, true],
  ['our own listener', { ...CALLER, original: null }, UNKNOWN_SERVICE, false],
  ['a Service', CALLER, SERVICE, false],
  ['the own application', { ...CALLER, direction: 'inbound' }, UNKNOWN_SERVICE, false],
] as const)('what was sent to %s', async (_to, caller, service, keeps) => {
  await open();
  expect(keepsAbsolute(caller, directDestination(stage.cluster, service))).toBe(keeps);
});
