import { once } from 'node:events';
import { request as httpRequest, type Server } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { afterEach, describe, expect, test } from 'vitest';
import type { ClusterStatus } from '../../../proxy/admin/clusters.ts';
import {
  type AdminSources,
  createAdminServer,
  createMetricsServer,
  createReadinessServer,
  type ExplainQuestion,
} from '../../../proxy/admin/routes.ts';

const CANARY = 'CANARY-4711';

interface Reply {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: string;
}

/** What was called, in order. */
class Sources implements AdminSources {
  readonly calls: string[] = [];
  readonly errors: unknown[] = [];
  reasons: string[] = [];
  dump: unknown = {};
  metrics: () => Promise<string> = () => Promise.resolve('# nothing\n');

  ready(): { ready: boolean; reasons: string[] } {
    return { ready: this.reasons.length === 0, reasons: this.reasons };
  }
  configDump(): unknown {
    return this.dump;
  }
  clusters(): Promise<ClusterStatus[]> {
    const endpoint = { address: '10.0.0.7:80', state: 'admitting', ready: true, weight: 1 };
    const numbers = { activeRequests: 1, connections: 2, requests: 3, failures: 0 };
    const cluster = { key: 'shop/catalog:80', activeRequests: 1, connections: 2, breaker: 'admitting', ...NUMBERS };
    return Promise.resolve([{ ...cluster, endpoints: [{ ...endpoint, ...numbers }] }]);
  }
  explain({ method, url, headers }: ExplainQuestion): Promise<object | string> {
    return Promise.resolve(url === '' ? 'no such question' : { method, url, headers });
  }
  certs(): ReturnType<AdminSources['certs']> {
    const identity = {
      spiffeId: 'spiffe://cluster.local/ns/shop/sa/catalog',
      serialNumber: '0A',
      fingerprint: 'ff',
      bundleHash: 'ee',
      notBefore: 0,
      notAfter: 86_400_000,
      privateKey: CANARY,
    };
    return [identity];
  }
  metricsText(): Promise<string> {
    this.calls.push('metrics');
    return this.metrics();
  }
  setLogLevel(level: string): void {
    this.calls.push(`level ${level}`);
  }
  drain(): void {
    this.calls.push('drain');
  }
  quit(): void {
    this.calls.push('quit');
  }
  onError(error: unknown): void {
    this.errors.push(error);
  }
}

const open: Server[] = [];

afterEach(() => {
  for (const server of open.splice(0)) {
    server.close();
    server.closeAllConnections();
  }
});

async function listen(server: Server): Promise<number> {
  open.push(server.listen(0, '127.0.0.1'));
  await once(server, 'listening');
  return (server.address() as AddressInfo).port;
}

async function admin(): Promise<{ sources: Sources; port: number }> {
  const sources = new Sources();
  return { sources, port: await listen(createAdminServer(sources)) };
}

const NUMBERS = { concurrencyLimit: 0, concurrencyRefused: 0, breakerFailures: 3, breakerRequests: 9, retries: 4 };

function ask(port: number, method: string, path: string, headers: Record<string, string> = {}): Promise<Reply> {
  return new Promise((resolve, reject) => {
    const request = httpRequest({ host: '127.0.0.1', port, method, path, headers, agent: false }, (response) => {
      let body = '';
      response.setEncoding('latin1').on('data', (chunk: string) => {
        body += chunk;
      });
      response.on('end', () => resolve({ status: response.statusCode ?? 0, headers: response.headers, body }));
    });
    request.on('error', reject).end();
  });
}

describe('the admin server', () => {
  test('lists its endpoints on the index page', async () => {
    const { port } = await admin();
    const { status, headers, body } = await ask(port, 'GET', '/');
    expect([status, headers['content-type']]).toEqual([200, 'text/html; charset=utf-8']);
    for (const path of ['/ready', '/config_dump', '/clusters', '/certs', '/stats/prometheus', '/logging', '/drain']) {
      expect(body).toContain(path);
    }
  });

  test('says whether the sidecar is ready, and why not', async () => {
    const { sources, port } = await admin();
    expect(await ask(port, 'GET', '/ready')).toMatchObject({ status: 200, body: 'ready\n' });
    sources.reasons = ['no certificate yet', 'policy is broken'];
    const reply = await ask(port, 'GET', '/ready');
    expect(reply).toMatchObject({ status: 503, body: 'not ready\nno certificate yet\npolicy is broken\n' });
  });

  test('shows clusters as text and as JSON', async () => {
    const { port } = await admin();
    expect((await ask(port, 'GET', '/clusters')).body).toContain('shop/catalog:80::10.0.0.7:80::state::admitting\n');
    const parsed = JSON.parse((await ask(port, 'GET', '/clusters?format=json')).body) as { clusters: ClusterStatus[] };
    expect(parsed.clusters[0]?.endpoints[0]?.requests).toBe(3);
  });

  test('explains a request, GET where no method is asked for, and says what is wrong with a question', async () => {
    const { port } = await admin();
    const reply = await ask(port, 'GET', '/explain?url=http%3A%2F%2Fcatalog%2F&header=x-a:%201&header=x-b:%202');
    expect(JSON.parse(reply.body)).toEqual({ url: 'http://catalog/', method: 'GET', headers: ['x-a: 1', 'x-b: 2'] });
    expect(await ask(port, 'GET', '/explain?method=PUT')).toMatchObject({ status: 400, body: 'which url?\n' });
    expect(await ask(port, 'GET', '/explain?url=')).toMatchObject({ status: 400, body: 'no such question\n' });
  });

  test('shows a certificate and its validity, never its key, even when handed one', async () => {
    const { port } = await admin();
    const { body } = await ask(port, 'GET', '/certs');
    expect(JSON.parse(body)).toEqual({
      certificates: [
        {
          spiffe_id: 'spiffe://cluster.local/ns/shop/sa/catalog',
          serial_number: '0A',
          fingerprint_sha256: 'ff',
          trust_bundle_sha256: 'ee',
          not_before: '1970-01-01T00:00:00.000Z',
          not_after: '1970-01-02T00:00:00.000Z',
        },
      ],
    });
  });

  test('dumps the configuration without any secret in it', async () => {
    const { sources, port } = await admin();
    sources.dump = {
      hash: 'abc',
      identity: { privateKey: CANARY, certificateChain: 'public' },
      text: `a\n-----BEGIN EC PRIVATE KEY-----\n${CANARY}\n-----END EC PRIVATE KEY-----\nb`,
      cut: `-----BEGIN PRIVATE KEY-----\n${CANARY}`,
      ca: `https://user:${CANARY}@ca.example/sign`,
      filters: [
        { kind: 'RequestHeaderModifier', config: { set: [{ name: 'Authorization', value: `Bearer ${CANARY}` }] } },
        {
          kind: 'RequestHeaderModifier',
          config: {
            add: [
              { name: 'X-Api-Key', value: CANARY },
              { name: 'x-a', value: 'kept' },
            ],
          },
        },
      ],
      settings: { caToken: CANARY, password: CANARY, caTokenFile: '/var/run/token' },
    };
    const { status, body } = await ask(port, 'GET', '/config_dump');
    expect(status).toBe(200);
    expect(body).not.toContain(CANARY);
    expect(JSON.parse(body)).toMatchObject({
      hash: 'abc',
      identity: { certificateChain: 'public' },
      filters: [
        { kind: 'RequestHeaderModifier' },
        { config: { add: [{ name: 'X-Api-Key' }, { name: 'x-a', value: 'kept' }] } },
      ],
      settings: { caTokenFile: '/var/run/token' },
    });
  });

  test('sets the log level, and only to one there is', async () => {
    const { sources, port } = await admin();
    expect((await ask(port, 'POST', '/logging?level=debug')).status).toBe(200);
    expect((await ask(port, 'POST', '/logging?level=loud')).status).toBe(400);
    expect((await ask(port, 'POST', '/logging')).status).toBe(400);
    expect(sources.calls).toEqual(['level debug']);
  });

  test('drains and quits by POST; the caller hears of it first', async () => {
    const { sources, port } = await admin();
    expect((await ask(port, 'POST', '/drain')).status).toBe(202);
    expect((await ask(port, 'POST', '/quitquitquit')).status).toBe(200);
    await expect.poll(() => sources.calls, { timeout: 10_000 }).toEqual(['drain', 'quit']);
  });

  test('changes nothing on GET or HEAD and names the method it wants', async () => {
    const { sources, port } = await admin();
    for (const path of ['/logging?level=debug', '/drain', '/quitquitquit']) {
      for (const method of ['GET', 'HEAD', 'PUT', 'DELETE']) {
        expect(await ask(port, method, path)).toMatchObject({ status: 405, headers: { allow: 'POST' } });
      }
    }
    expect(await ask(port, 'POST', '/ready')).toMatchObject({ status: 405, headers: { allow: 'GET, HEAD' } });
    expect((await ask(port, 'GET', '/nowhere')).status).toBe(404);
    expect((await ask(port, 'GET', '//')).status).toBe(400);
    expect(sources.calls).toEqual([]);
  });

  test('answers HEAD like GET without the body', async () => {
    const { port } = await admin();
    expect(await ask(port, 'HEAD', '/ready')).toMatchObject({
      status: 200,
      body: '',
      headers: { 'content-length': '6' },
    });
  });

  test.each(['localhost', 'LOCALHOST:15000', '127.0.0.1', '127.8.9.10:1', '[::1]:15000'])(
    'admits the Host %s',
    async (host) => {
      const { port } = await admin();
      expect((await ask(port, 'GET', '/ready', { host })).status).toBe(200);
    },
  );

  test.each(['evil.example', 'localhost.evil.example', '127.0.0.1.evil.example', '10.0.0.1', '[fd00::1]'])(
    'refuses the Host %j, so that no page reaches it by DNS rebinding',
    async (host) => {
      const { sources, port } = await admin();
      expect((await ask(port, 'GET', '/config_dump', { host })).status).toBe(403);
      expect((await ask(port, 'POST', '/quitquitquit', { host })).status).toBe(403);
      expect(sources.calls).toEqual([]);
    },
  );

  test('refuses a request that names no host at all', async () => {
    const { port } = await admin();
    const socket = connect(port, '127.0.0.1');
    socket.write('GET /config_dump HTTP/1.0\r\n\r\n');
    const [answer] = (await once(socket, 'data')) as [Buffer];
    expect(answer.toString()).toMatch(/^HTTP\/1\.1 403 /);
    socket.destroy();
  });

  test('refuses what a page of another origin sends', async () => {
    const { sources, port } = await admin();
    for (const headers of [
      { origin: 'https://evil.example' },
      { origin: 'null' },
      { 'sec-fetch-site': 'cross-site' },
    ]) {
      expect((await ask(port, 'POST', '/quitquitquit', headers as Record<string, string>)).status).toBe(403);
    }
    expect(sources.calls).toEqual([]);
    expect((await ask(port, 'POST', '/drain', { origin: 'http://localhost:15000' })).status).toBe(202);
  });

  test('answers 500 without the reason when something breaks, and reports it', async () => {
    const { sources, port } = await admin();
    sources.metrics = () => Promise.reject(new Error(CANARY));
    const reply = await ask(port, 'GET', '/stats/prometheus');
    expect(reply.status).toBe(500);
    expect(reply.body).not.toContain(CANARY);
    expect(sources.errors).toEqual([new Error(CANARY)]);
    sources.metrics = () => Promise.resolve('again\n');
    expect((await ask(port, 'GET', '/stats/prometheus')).body).toBe('again\n');
  });

  test('refuses bytes that are no HTTP and goes on', async () => {
    const { port } = await admin();
    const socket = connect(port, '127.0.0.1');
    socket.write('\x16\x03\x01 nonsense\r\n\r\n');
    const [answer] = (await once(socket, 'data')) as [Buffer];
    expect(answer.toString()).toMatch(/^HTTP\/1\.1 400 /);
    socket.destroy();
    expect((await ask(port, 'GET', '/ready')).status).toBe(200);
  });

  test('bounds its connections and every wait', () => {
    const server = createAdminServer(new Sources());
    expect(server.maxConnections).toBe(64);
    expect([server.headersTimeout, server.requestTimeout, server.keepAliveTimeout]).toEqual([5000, 10_000, 5000]);
  });
});

describe('the metrics server', () => {
  test('serves the same text under both paths, in the format version that scrapers ask for', async () => {
    const port = await listen(createMetricsServer(new Sources()));
    for (const path of ['/metrics', '/stats/prometheus']) {
      const reply = await ask(port, 'GET', path, { host: 'catalog.shop:15020' });
      expect(reply).toMatchObject({ status: 200, body: '# nothing\n' });
      expect(reply.headers['content-type']).toBe('text/plain; version=0.0.4; charset=utf-8');
    }
  });

  test('asks the threads once for scrapes that overlap', async () => {
    const sources = new Sources();
    const { promise, resolve } = Promise.withResolvers<string>();
    sources.metrics = () => promise;
    const server = createMetricsServer(sources);
    const port = await listen(server);
    let arrived = 0;
    const both = new Promise<void>((done) => {
      server.on('request', () => {
        if (++arrived === 2) done();
      });
    });
    const replies = [ask(port, 'GET', '/metrics'), ask(port, 'GET', '/metrics')];
    await both;
    resolve('once\n');
    expect((await Promise.all(replies)).map((reply) => reply.body)).toEqual(['once\n', 'once\n']);
    expect(sources.calls).toEqual(['metrics']);
  });

  test('lets only this machine end the process', async () => {
    const sources = new Sources();
    const port = await listen(createMetricsServer(sources));
    expect((await ask(port, 'POST', '/quitquitquit', { host: 'evil.example' })).status).toBe(403);
    expect((await ask(port, 'GET', '/quitquitquit')).status).toBe(405);
    expect(sources.calls).toEqual([]);
    expect((await ask(port, 'POST', '/quitquitquit')).status).toBe(200);
    await expect.poll(() => sources.calls, { timeout: 10_000 }).toEqual(['quit']);
  });
});

describe('the readiness server', () => {
  test('answers 200 or 503 to anyone, and knows nothing else', async () => {
    const sources = new Sources();
    const port = await listen(createReadinessServer(sources));
    expect((await ask(port, 'GET', '/healthz/ready', { host: 'pod:15021' })).status).toBe(200);
    sources.reasons = ['draining'];
    expect((await ask(port, 'GET', '/healthz/ready')).status).toBe(503);
    expect((await ask(port, 'GET', '/config_dump')).status).toBe(404);
    expect((await ask(port, 'POST', '/quitquitquit')).status).toBe(404);
  });
});
