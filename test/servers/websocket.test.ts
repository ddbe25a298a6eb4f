import { on, once } from 'node:events';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { logLine } from '../integration/mesh.ts';
import { loadWs, type WebSocketEnd, type WebSocketModule } from '../support/ws.ts';
import { carriages, type Way } from './pair.ts';
import { behindSidecars, expectIdentity, randomText } from './stage.ts';

const MESSAGE_BYTES = 1024 * 1024;

let ws: WebSocketModule;
const ends: WebSocketEnd[] = [];
/** Welcomes, echoes, and on `bye` closes. */
const stage = behindSidecars(['node-ws'], async (owned) => {
  ws = loadWs();
  const server = new ws.WebSocketServer({ port: 0, host: '127.0.0.1', perMessageDeflate: true });
  owned.defer(() => server.close());
  server.on('connection', (socket: WebSocketEnd) => {
    ends.push(socket);
    socket.on('error', () => socket.terminate());
    socket.on('message', (message: Buffer, isBinary: boolean) => {
      if (String(message) === 'bye') socket.close(4001, 'as you wish');
      else socket.send(isBinary ? message : String(message));
    });
    socket.send('welcome');
  });
  await once(server, 'listening');
  return server.address().port;
});
afterEach(() => {
  for (const end of ends.splice(0)) end.terminate();
});

/** A request for the Service is an extended CONNECT between the sidecars; through a tunnel it is what it was. */
const APPROACHES = [
  { approach: 'as a request for the Service', url: ({ outboundPort }: Way) => `ws://127.0.0.1:${outboundPort}/chat` },
  { approach: 'through a tunnel', url: ({ port }: Way) => `ws://127.0.0.1:${port}/chat` },
];
const VARIANTS = carriages('http').flatMap((carriage) => APPROACHES.map((approach) => ({ ...carriage, ...approach })));

describe.each(VARIANTS)('a WebSocket $approach to $name', (variant) => {
  const bytes = Math.min(variant.bulk, MESSAGE_BYTES);
  let way: Way;
  beforeEach(async () => {
    way = await stage().pair.carry(variant);
  });

  /** Opens, and answers what reads the messages one by one; the first is the server's own. */
  async function open(perMessageDeflate: boolean): Promise<{ socket: WebSocketEnd; next: () => Promise<Buffer> }> {
    const socket = new ws.WebSocket(variant.url(way), { perMessageDeflate, headers: { host: way.authority } });
    ends.push(socket);
    const messages = on(socket, 'message');
    const next = async (): Promise<Buffer> => ((await messages.next()).value as [Buffer])[0];
    expect(String(await next())).toBe('welcome');
    return { socket, next };
  }

  test.each([true, false])('echoes large messages, text and binary, compressed: %s', async (compressed) => {
    const { socket, next } = await open(compressed);
    expect(socket.extensions).toBe(compressed ? 'permessage-deflate' : '');
    const text = 'weft and warp '.repeat(Math.ceil(bytes / 14));
    const binary = Buffer.from(randomText(bytes));
    socket.send(text);
    socket.send(binary);
    expect(String(await next()) === text).toBe(true);
    expect((await next()).equals(binary)).toBe(true);
  });

  test('passes pings, and the close of either side with its code and reason', async () => {
    const { socket } = await open(true);
    socket.ping('are you there');
    const [payload] = (await once(socket, 'pong')) as [Buffer];
    expect(String(payload)).toBe('are you there');
    socket.send('bye');
    const [code, reason] = (await once(socket, 'close')) as [number, Buffer];
    expect([code, String(reason)]).toEqual([4001, 'as you wish']);

    const { socket: another } = await open(true);
    const far = ends.at(-1);
    if (far === undefined) throw new Error('the server has no such connection');
    another.close(4002, 'enough');
    const [heard, why] = (await once(far, 'close')) as [number, Buffer];
    expect([heard, String(why)]).toEqual([4002, 'enough']);
  });

  test('had its connections from a verified identity, and no others', () => expectIdentity(stage(), variant));
});

test('a WebSocket that is a request for the Service travels over HTTP/2 between the sidecars', async () => {
  const [carriage] = carriages('http');
  if (carriage === undefined) throw new Error('no carriage');
  const { outboundPort, authority } = await stage().pair.carry(carriage);
  const socket = new ws.WebSocket(`ws://127.0.0.1:${outboundPort}/once`, {
    perMessageDeflate: true,
    headers: { host: authority },
  });
  ends.push(socket);
  await once(socket, 'message');
  socket.close(1000, '');
  await once(socket, 'close');
  const line = await logLine(stage().pair.callee(carriage).weft, ({ path }) => path === '/once');
  // The request that its extended CONNECT stands for, by the name it has over HTTP/1.
  expect(line).toMatchObject({ method: 'GET', protocol: 'HTTP/2' });
});
