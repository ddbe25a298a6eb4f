/**
 * Upstream connections are shared by callers: one with a request that never ended, or a response that nobody asked for, must
 * never carry another caller's request. Attackers and victims run side by side, and every victim must get its own answer.
 */
import type { Socket } from 'node:net';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { get, post, wordOf } from '../integration/mesh.ts';
import { eventually } from '../support/eventually.ts';
import { answerWith, echoTarget, type Seen, Stage, targetOf } from './stage.ts';

let stage: Stage;
beforeAll(async () => {
  stage = await Stage.open();
});
afterAll(() => stage[Symbol.asyncDispose]());

const ROUNDS = 125;
const VICTIMS_AT_ONCE = 8;

/** Victims on connections of their own, `ROUNDS` times `VICTIMS_AT_ONCE` requests, while `attack` is made before each round. */
async function expectUnharmedVictims(attack: (round: number) => Promise<void>): Promise<void> {
  const clients = await Promise.all(Array.from({ length: VICTIMS_AT_ONCE }, () => stage.outbound()));
  const wrong: string[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    await attack(round);
    await Promise.all(
      clients.map(async (client, i) => {
        const path = `/victim-${round}-${i}`;
        const answer = await client.exchange(get('app', path));
        if (answer.status !== 200 || answer.body.toString() !== path)
          wrong.push(`${path}: ${answer.status} ${answer.body.toString()}`);
      }),
    );
  }
  for (const client of clients) client.close();
  expect(wrong).toEqual([]);
}

/** Answers attackers as told, victims with their own path. */
function trap(onAttack: (seen: Seen, socket: Socket) => void): (seen: Seen, socket: Socket) => void {
  return (seen, socket) => {
    if (targetOf(seen.head).startsWith('/attack')) onAttack(seen, socket);
    else echoTarget(seen, socket);
  };
}

function over(socket: Socket | undefined): true | undefined {
  return socket !== undefined && (socket.readableEnded || socket.destroyed) ? true : undefined;
}

const SMUGGLED = 'GET /smuggled HTTP/1.1\r\nHost: app\r\n\r\n';

describe('1000 victims get their own answers', () => {
  test('while callers leave in the middle of their bodies', async () => {
    stage.begin();
    await expectUnharmedVictims(async (round) => {
      using client = await stage.outbound();
      await client.write(`POST /attack HTTP/1.1\r\nHost: app\r\nContent-Length: 99\r\n\r\n${SMUGGLED}`);
      if (round % 2 === 0) client.finish();
      else client.reset();
      if (round % 2 === 0) await client.ended;
    });
    expect(stage.app.seen.some(({ head }) => targetOf(head) === '/smuggled')).toBe(false);
  });

  test('while an application answers before the body has come, and the body is a request', async () => {
    const early = new Set<Socket>();
    stage.begin();
    stage.app.early = (socket, arriving) => {
      if (!arriving.startsWith('POST /attack')) return false;
      if (!early.has(socket)) socket.write(answerWith('early'));
      early.add(socket);
      return true;
    };
    await expectUnharmedVictims(async () => {
      using client = await stage.outbound();
      await client.write(`POST /attack HTTP/1.1\r\nHost: app\r\nContent-Length: ${SMUGGLED.length}\r\n\r\n`);
      const answer = await client.answer();
      expect(answer.body.toString()).toBe('early');
      expect(answer.headers.get('connection')).toEqual(['close']);
      await client.write(SMUGGLED);
      await client.ended;
    });
    expect(early.size, 'no connection was used again after an early answer').toBe(ROUNDS);
    expect(stage.app.seen.some(({ head }) => targetOf(head) === '/smuggled')).toBe(false);
  });

  test('while an application sends a second answer behind the first', async () => {
    stage.begin(trap((_seen, socket) => void socket.write(answerWith('mine') + answerWith('poison'))));
    await expectUnharmedVictims(async () => {
      using client = await stage.outbound();
      expect((await client.exchange(get('app', '/attack'))).body.toString()).toBe('mine');
      expect(client.text).not.toContain('poison');
    });
  });

  test('while an application sends an answer that nobody asked for on an idle connection', async () => {
    const poisoned: Socket[] = [];
    stage.begin(
      trap((_seen, socket) => {
        poisoned.push(socket);
        socket.write(answerWith('mine'), () => setImmediate(() => socket.write(answerWith('poison'))));
      }),
    );
    await expectUnharmedVictims(async (round) => {
      using client = await stage.outbound();
      expect((await client.exchange(get('app', '/attack'))).body.toString()).toBe('mine');
      await eventually('weft closes the connection that spoke unasked', () => over(poisoned[round]));
    });
  });

  test('while a HEAD is answered with a body', async () => {
    stage.begin(trap((_seen, socket) => void socket.write(answerWith(answerWith('poison')))));
    await expectUnharmedVictims(async () => {
      using client = await stage.outbound();
      expect((await client.exchange('HEAD /attack HTTP/1.1\r\nHost: app\r\n\r\n', 'HEAD')).status).toBe(200);
    });
  });
});

test('a refused expectation ends the exchange without its body reaching the application', async () => {
  stage.begin();
  await stage.expectRefusal(post('app', SMUGGLED, '/x', 'Expect: 200-ok'), 417, 'unsupported_expectation');
  await stage.expectRefusal(post('app', SMUGGLED, '/x', 'Expect: 100-continue, x'), 417, 'unsupported_expectation');
});

test('a caller that waits for 100 and gets a final answer loses its connection, and its late body goes nowhere', async () => {
  stage.begin();
  const answered: Socket[] = [];
  stage.app.early = (socket) => {
    if (answered.push(socket) === 1) socket.write('HTTP/1.1 417 Expectation Failed\r\nContent-Length: 0\r\n\r\n');
    return true;
  };
  using client = await stage.outbound();
  await client.write(
    `POST /x HTTP/1.1\r\nHost: app\r\nExpect: 100-continue\r\nContent-Length: ${SMUGGLED.length}\r\n\r\n`,
  );
  expect((await client.answer()).status).toBe(417);
  await client.write(SMUGGLED);
  await client.ended;
  await eventually('the application loses the connection too', () => over(answered[0]));
  expect(stage.bytes).not.toContain('smuggled');
});

test('a flood of interim answers is cut and the caller told so', async () => {
  stage.begin(
    trap((_seen, socket) => void socket.write('HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n'.repeat(10_000))),
  );
  using client = await stage.outbound();
  await client.write(get('app', '/attack'));
  await client.until(() => (client.text.includes('interim_flood') ? true : undefined));
  expect(client.text.match(/HTTP\/1\.1 103/g)?.length).toBeLessThanOrEqual(16);
  expect(client.text).toContain('HTTP/1.1 502 ');
});

describe('an answer that breaks its framing is a 502, and its connection is closed', () => {
  const head = (fields: string, body = ''): string => `HTTP/1.1 200 OK\r\n${fields}\r\n\r\n${body}`;
  test.for([
    ['Content-Length and Transfer-Encoding', head('Content-Length: 3\r\nTransfer-Encoding: chunked', '0\r\n\r\n')],
    ['two lengths', head('Content-Length: 3\r\nContent-Length: 4', 'abcd')],
    ['a list of lengths', head('Content-Length: 3, 3', 'abc')],
    ['chunked, gzip', head('Transfer-Encoding: chunked, gzip', '0\r\n\r\n')],
    ['gzip, chunked', head('Transfer-Encoding: gzip, chunked', '0\r\n\r\n')],
    ['chunked in HTTP/1.0', 'HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n'],
    ['204 with a body', 'HTTP/1.1 204 No Content\r\nContent-Length: 3\r\n\r\nabc'],
    ['204 with chunks', 'HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n'],
    ['101 unasked', 'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n'],
    ['a bare LF', 'HTTP/1.1 200 OK\nContent-Length: 0\r\n\r\n'],
    ['a NUL', head('X: a\0b\r\nContent-Length: 0')],
    ['a folded line', head('X: a\r\n b\r\nContent-Length: 0')],
    ['a space before the colon', head('Content-Length : 0')],
    ['no HTTP at all', 'SSH-2.0-OpenSSH_9.6\r\n\r\n'],
    ['HTTP/2', 'HTTP/2 200\r\nContent-Length: 0\r\n\r\n'],
    ['status 99', 'HTTP/1.1 099 X\r\nContent-Length: 0\r\n\r\n'],
    ['a head beyond the limit', head(`X: ${'x'.repeat(70_000)}`)],
    ['too many fields', head('X: y\r\n'.repeat(200).trimEnd())],
  ] as const)('%s', async ([, bytes]) => {
    const used: Socket[] = [];
    stage.begin((_seen, socket) => {
      used.push(socket);
      socket.write(Buffer.from(bytes, 'latin1'));
    });
    using client = await stage.outbound();
    const answer = await client.exchange(get('app', '/attack'));
    expect(answer.status).toBe(502);
    expect(wordOf(answer)).toMatch(/^upstream_/);
    expect(client.text).not.toContain('abc');
    await eventually('the connection is closed', () => over(used[0]));
    stage.begin();
    expect((await client.exchange(get('app', '/next'))).body.toString()).toBe('/next');
  });
});

test('an answer that turns bad in its body is cut short for the caller, never repaired', async () => {
  stage.begin(
    (_seen, socket) =>
      void socket.write('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n01234\r\n-1\r\nabc'),
  );
  using client = await stage.outbound();
  await client.write(get('app', '/attack'));
  expect(await client.ended).toBe('reset');
  expect(client.text).not.toMatch(/0\r\n\r\n$/);
});

test('an answer that ends too early is cut short for the caller', async () => {
  stage.begin((_seen, socket) => void socket.end('HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n01234'));
  using client = await stage.outbound();
  await client.write(get('app', '/attack'));
  expect(await client.ended).toBe('reset');
});

test('an answer that lasts until the connection ends is cut short for the caller by a reset', async () => {
  let upstream: Socket | undefined;
  stage.begin((_seen, socket) => {
    upstream = socket;
    socket.write('HTTP/1.1 200 OK\r\n\r\nhalf');
  });
  using client = await stage.outbound();
  await client.write(get('app', '/attack'));
  await client.until(() => client.text.includes('half') || undefined);
  upstream?.resetAndDestroy();
  expect(await client.ended).toBe('reset');
  expect(client.text).not.toMatch(/0\r\n\r\n$/);
});
