/** What callers send must not grow the metrics, break the log, or tell secrets; and the admin port is for this machine only. */

import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { join } from 'node:path';
import { connect } from 'node:tls';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { ask, get, logLines, residentBytes, TinyMesh } from '../integration/mesh.ts';
import { openClient } from '../support/client.ts';
import { eventually } from '../support/eventually.ts';
import { httpRoute } from '../support/policy.ts';
import type { Weft } from '../support/weft.ts';
import { answerWith, PERMISSIVE, Stage } from './stage.ts';

const CANARY = 'canary5f3a';
let stage: Stage;
beforeAll(async () => {
  const secret = { name: 'Authorization', value: `Bearer ${CANARY}-policy` };
  const rules = [
    {
      filters: [{ type: 'RequestHeaderModifier', requestHeaderModifier: { set: [secret] } }],
      matches: [{ path: { type: 'PathPrefix', value: '/signed' } }],
      backendRefs: [{ name: 'app', port: 80 }],
    },
    { backendRefs: [{ name: 'app', port: 80 }] },
  ];
  stage = await Stage.open({
    flags: ['--access-log', 'json'],
    documents: [httpRoute({ name: 'all', parent: 'app', rules })],
  });
});
afterAll(() => stage[Symbol.asyncDispose]());
beforeEach(() => stage.begin());

async function series(weft: Weft): Promise<string[]> {
  const lines = (await weft.metrics()).split('\n').filter((line) => line !== '' && !line.startsWith('#'));
  return lines.map((line) => line.slice(0, line.lastIndexOf(' ')));
}

/** Sends these requests on `lanes` connections, each after the answer to the one before it. */
async function flood(port: number, lanes: number, requests: readonly string[]): Promise<void> {
  const lane = async (first: number): Promise<void> => {
    using client = await openClient(port);
    client.socket.removeAllListeners('data');
    for (let i = first; i < requests.length; i += lanes) {
      const answered = once(client.socket, 'data');
      client.socket.write(requests[i] as string);
      await answered;
    }
  };
  await Promise.all(Array.from({ length: lanes }, (_, i) => lane(i)));
}

describe('metrics', () => {
  test('do not grow with hosts, paths, methods, field names or user agents', { timeout: 60_000 }, async () => {
    await using mesh = new TinyMesh();
    const plain = createServer((socket) => {
      socket.on('data', () => socket.write(answerWith('')));
      socket.on('error', () => socket.destroy());
    }).listen(0, '127.0.0.1');
    await once(plain, 'listening');
    const weft = await mesh.start({
      account: 'victim',
      app: (plain.address() as AddressInfo).port,
      documents: [PERMISSIVE],
    });
    const odd = (i: number): string =>
      `M${i} /path-${i}?q=${i} HTTP/1.1\r\nHost: host-${i}.example:${(i % 60_000) + 1}\r\nUser-Agent: agent-${i}\r\nX-${i}: ${i}\r\n\r\n`;
    await flood(
      weft.ports.inbound,
      16,
      Array.from({ length: 1_000 }, (_, i) => odd(i)),
    );
    const before = await series(weft);
    const memory = residentBytes(weft.pid);
    await flood(
      weft.ports.inbound,
      16,
      Array.from({ length: 30_000 }, (_, i) => odd(1_000 + i)),
    );
    expect(await series(weft)).toEqual(before);
    expect(residentBytes(weft.pid) - memory).toBeLessThan(48 * 2 ** 20);
    plain.close();
  });

  test('do not grow with destinations that nobody knows, nor do connections and clusters', {
    timeout: 60_000,
  }, async () => {
    const refused = Array.from({ length: 1_300 }, (_, i) => get(`127.1.${i >> 8}.${i & 255 || 1}:1`));
    await flood(stage.weft.ports.outbound, 16, refused.slice(0, 50));
    const before = await series(stage.weft);
    await flood(stage.weft.ports.outbound, 16, refused);
    expect(await series(stage.weft)).toEqual(before);
    const clusters = (await (await stage.weft.ask('admin', '/clusters?format=json')).json()) as { clusters: unknown[] };
    expect(clusters.clusters.length).toBeGreaterThan(1000);
    expect(clusters.clusters.length).toBeLessThanOrEqual(1024 + 16);
  });

  test('do not grow with the server names that callers of opaque TLS ask for', { timeout: 60_000 }, async () => {
    const count = 100;
    const carried = (): Promise<number> => stage.weft.metric('istio_tcp_connections_closed_total');
    const hello = async (serverName: string): Promise<void> => {
      const asked = stage.backend.sockets.length;
      const socket = connect({ host: '127.0.0.1', port: stage.weft.ports.inbound, servername: serverName });
      socket.on('error', () => socket.destroy());
      await eventually('it is heard', () => (stage.backend.received[asked]?.length ?? 0) > 0 || undefined);
      expect(stage.backend.received[asked]?.toString('latin1')).toContain(serverName);
      socket.destroy();
      stage.backend.sockets[asked]?.destroy();
    };
    const hellos = async (from: number): Promise<void> => {
      const before = await carried();
      for (let i = from; i < from + count; i++) await hello(`host-${i}.example`);
      await eventually('all are over', async () => (await carried()) === before + count || undefined);
    };
    await hellos(0);
    const before = await series(stage.weft);
    await hellos(count);
    expect(await series(stage.weft)).toEqual(before);
  });

  test('do not grow with the statuses that an application invents', async () => {
    const statuses = Array.from({ length: 900 }, (_, i) => 100 + i).filter((status) => status >= 200);
    let next = 0;
    stage.app.respond = (_seen, socket) =>
      void socket.write(`HTTP/1.1 ${statuses[next++]} X\r\nContent-Length: 0\r\n\r\n`);
    const before = (await series(stage.weft)).length;
    using client = await stage.outbound();
    for (const status of statuses) {
      await client.write(get('app', '/x'));
      expect((await client.answer()).status).toBe(status);
    }
    // 24 endings and then one a class, each with three histograms: not 800.
    expect((await series(stage.weft)).length - before).toBeLessThan(33 * 70);
  });
});

/** A terminal or a line reader may obey it. */
function isUnsafe(character: string): boolean {
  return (
    character < ' ' || (character >= '\x7f' && character <= '\x9f') || character === '\u2028' || character === '\u2029'
  );
}

describe('log lines', () => {
  test('stay one line each and parse, whatever a caller writes', async () => {
    const forged = '{"level":"info","msg":"forged"}';
    const nasty = [
      get('app', `/a?\\n"}${forged}`, `User-Agent: "},\\u000a${forged}`),
      get('app', '/b', 'User-Agent: \xe2\x80\xa8\x85\x9b31m\xff'),
      get('app', '/c\\u2028%0a%0d%1b', 'X-Request-Id: a"b\\c\xe9'),
      get('app', `/d?${'x'.repeat(8_000)}`),
      get(`${'h'.repeat(60)}.`.repeat(4).slice(0, 250), '/e'),
      `${'METHOD'.repeat(100)} /f HTTP/1.1\r\nHost: app\r\n\r\n`,
      get('app', '/g', 'X: a\x1bb'),
      get('app\x1b', '/h'),
      `GET /i\r\n${forged}\r\n HTTP/1.1\r\n\r\n`,
      `GET /j HTTP/1.1\r\nHost: app\r\n${forged}\n\r\n`,
      `${forged}\n${forged}\n`,
      `\n${forged}\nGET / HTTP/1.1\r\n\r\n`,
      'CONNECT app":81 HTTP/1.1\r\nHost: app\r\n\r\n',
      get('app', '/last'),
    ];
    for (const bytes of nasty) {
      for (const port of [stage.weft.ports.outbound, stage.weft.ports.inbound]) {
        using client = await openClient(port);
        await client.write(bytes);
        await client.answer('GET', 200).catch(() => undefined);
      }
    }
    await eventually(
      'the last one is logged',
      () => logLines(stage.weft).some((line) => line['path'] === '/last') || undefined,
    );
    for (const line of stage.weft.program.lines) {
      expect(() => JSON.parse(line) as unknown, line).not.toThrow();
      expect(line.split('').filter(isUnsafe), line).toEqual([]);
    }
    expect(logLines(stage.weft).some((line) => line.msg === 'forged')).toBe(false);
  });
});

test('a request that cannot be read leaves a line that says why, and a flood of them few', {
  timeout: 30_000,
}, async () => {
  const refused = (): number =>
    logLines(stage.weft).filter((line) => line['word'] === 'ambiguous_length' && line['detail'] !== '').length;
  const unreadable = 'GET / HTTP/1.1\r\nHost: app\r\nContent-Length: x\r\n\r\n';
  const started = performance.now();
  for (let i = 0; i < 300; i++) await flood(stage.weft.ports.outbound, 1, [unreadable]);
  // The test before may have used up this second's lines.
  await eventually('one is logged', async () => {
    await flood(stage.weft.ports.outbound, 1, [unreadable]);
    return refused() > 0 || undefined;
  });
  const seconds = Math.ceil((performance.now() - started) / 1000) + 1;
  expect(refused()).toBeLessThanOrEqual(10 * seconds);
  const counted = stage.weft.metric('weft_refusals_total', 'word="ambiguous_length"');
  expect(await counted).toBeGreaterThanOrEqual(301);
});

test('secrets are told by no log line, metric, dump or answer', async () => {
  const secrets = [
    `Authorization: Bearer ${CANARY}`,
    `Cookie: session=${CANARY}`,
    `X-Api-Key: ${CANARY}`,
    `Proxy-Authorization: Basic ${CANARY}`,
  ];
  const query = `?access_token=${CANARY}&code=${CANARY}&sig=${CANARY}`;
  const requests = [
    get('app', `/signed/ok${query}`, ...secrets),
    get('unknown.invalid', `/dns${query}`, ...secrets),
    get('app', `/malformed${query}`, ...secrets, `Bad Name: ${CANARY}`),
    get('app', `/control${query}`, `Authorization: \x01${CANARY}`),
    `POST /length${query} HTTP/1.1\r\nHost: app\r\nContent-Length: ${CANARY}\r\n\r\n`,
    `POST /chunk${query} HTTP/1.1\r\nHost: app\r\nTransfer-Encoding: chunked\r\n\r\n${CANARY}\r\n`,
    `GET http://user:${CANARY}@app/ HTTP/1.1\r\nHost: app\r\n\r\n`,
    get('app', `/upgrade${query}`, ...secrets, 'Connection: Upgrade', 'Upgrade: x'),
    `GET /target-${CANARY}\x01 HTTP/1.1\r\nHost: app\r\n\r\n`,
  ];
  const answers: string[] = [];
  for (const request of requests) {
    using client = await stage.outbound();
    await client.write(request);
    const { headers } = await client.answer();
    answers.push(JSON.stringify([...headers]));
  }
  stage.app.respond = (_seen, socket) =>
    void socket.write(`HTTP/1.1 200 OK\r\nSet-Cookie: ${CANARY}\r\nContent-Length: ${CANARY}\r\n\r\n`);
  answers.push(JSON.stringify([...(await stage.victim('/bad-answer')).headers]));
  await eventually(
    'the last one is logged',
    () => logLines(stage.weft).some((line) => line['path'] === '/bad-answer') || undefined,
  );

  const told = [stage.weft.program.output, ...answers];
  for (const path of ['/', '/ready', '/config_dump', '/clusters', '/certs', '/stats/prometheus']) {
    told.push(await (await stage.weft.ask('admin', path)).text());
  }
  told.push(await stage.weft.metrics());
  const key = readFileSync(join(stage.mesh.folder.path, 'victim-certs/tls.key'), 'latin1').split('\n')[1] as string;
  expect(key.length).toBeGreaterThan(30);
  for (const text of told) {
    const lines = text.split('\n').filter((line) => line.includes(CANARY));
    expect(lines).toEqual([]);
    expect(text).not.toContain(key);
  }
  expect(told.join('').includes('[redacted]')).toBe(true);
});

describe('the admin port', () => {
  const origin = (): string => `http://127.0.0.1:${stage.weft.ports.admin}`;

  test('answers nobody who calls it by another name', async () => {
    for (const host of ['evil.example', 'app', '10.0.0.1', `localhost.evil.example:${stage.weft.ports.admin}`]) {
      for (const path of ['/', '/config_dump', '/certs', '/ready']) {
        expect((await ask(stage.weft.ports.admin, get(host, path))).status, `${host} ${path}`).toBe(403);
      }
    }
  });

  test('changes nothing by GET, and nothing for pages of other origins', async () => {
    for (const path of ['/quitquitquit', '/drain', '/logging?level=silent']) {
      expect((await fetch(origin() + path)).status, path).toBe(405);
      const foreign = await fetch(origin() + path, { method: 'POST', headers: { origin: 'http://evil.example' } });
      expect(foreign.status, path).toBe(403);
    }
    expect((await ask(stage.weft.ports.metrics, `GET /quitquitquit HTTP/1.1\r\nHost: evil\r\n\r\n`)).status).toBe(405);
    expect(
      (await ask(stage.weft.ports.metrics, `POST /quitquitquit HTTP/1.1\r\nHost: evil\r\nContent-Length: 0\r\n\r\n`))
        .status,
    ).toBe(403);
    expect(await stage.weft.isReady()).toBe(true);
    expect((await stage.victim('/alive')).status).toBe(200);
  });

  test('is not to be reached through inbound, however it is addressed', async () => {
    const { admin, inbound } = stage.weft.ports;
    for (const target of [`http://127.0.0.1:${admin}/config_dump`, `http://localhost:${admin}/ready`]) {
      const host = new URL(target).host;
      const answer = await ask(inbound, `GET ${target} HTTP/1.1\r\nHost: ${host}\r\n\r\n`);
      expect(answer.body.toString()).toBe(new URL(target).pathname);
    }
  });
});
