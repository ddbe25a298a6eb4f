import { once } from 'node:events';
import { mkdirSync, readdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { createServer, request } from 'node:https';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { connect } from 'node:tls';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { writeAuthority, writeWorkload } from '../../certs/ca-folder.ts';
import { type Authority, createRoot, issueLeaf } from '../../certs/issue.ts';
import { eventually } from '../support/eventually.ts';
import { Folder } from '../support/policy.ts';
import { type Program, startProgram } from '../support/process.ts';
import { ROOT } from '../support/weft.ts';

/** Reviews as API servers of these versions send them. */
const reviews = join(import.meta.dirname, '../config/reviews');
const HOST = 'weft-injector.weft-system.svc';
const folder = new Folder('weft-injector-');
const root = authority('injector root');
afterAll(() => folder[Symbol.dispose]());

function authority(commonName: string): Authority {
  return createRoot({ commonName, now: Date.now() });
}

async function start(...args: string[]): Promise<{ program: Program; port: number }> {
  return startWith({}, ...args);
}

async function startWith(env: Record<string, string>, ...args: string[]): Promise<{ program: Program; port: number }> {
  const program = startProgram({
    command: process.execPath,
    args: [join(ROOT, 'proxy/main.ts'), 'injector', '--listen', '127.0.0.1:0', ...args],
    env,
  });
  const port = await program.waitForLine((line) => /"listening","address":"127.0.0.1:(\d+)"/.exec(line)?.[1]);
  return { program, port: Number(port) };
}

interface Reply {
  readonly status: number;
  readonly body: string;
}

function call(
  port: number,
  path: string,
  body: string | null,
  headers: Record<string, string> = {},
  ca = root,
): Promise<Reply> {
  const { promise, resolve, reject } = Promise.withResolvers<Reply>();
  const asked = request(
    {
      host: '127.0.0.1',
      port,
      path,
      method: body === null ? 'GET' : 'POST',
      headers: { 'content-type': 'application/json', ...headers },
      ca: ca.trustBundle,
      servername: HOST,
      agent: false,
    },
    (answer) => {
      let text = '';
      answer.setEncoding('utf8').on('data', (chunk: string) => {
        text += chunk;
      });
      answer.on('end', () => resolve({ status: answer.statusCode ?? 0, body: text }));
    },
  );
  asked.on('error', reject).end(body ?? undefined);
  return promise;
}

interface Review {
  apiVersion: string;
  kind: string;
  request: {
    uid: string;
    object: {
      metadata: object;
      spec: { containers: Record<string, unknown>[]; initContainers?: Record<string, unknown>[] };
    };
  };
  response: {
    uid: string;
    allowed: boolean;
    patchType?: string;
    patch?: string;
    warnings?: string[];
    status?: { message: string };
  };
}

function review(file: string): Review {
  return JSON.parse(readFileSync(join(reviews, file), 'utf8')) as Review;
}

async function answerTo(port: number, sent: Review): Promise<Review['response']> {
  const { status, body } = await call(port, '/inject?timeout=10s', JSON.stringify(sent));
  expect(status).toBe(200);
  const { apiVersion, kind, response } = JSON.parse(body) as Review;
  expect([apiVersion, kind, response.uid]).toEqual(['admission.k8s.io/v1', 'AdmissionReview', sent.request.uid]);
  return response;
}

function operations(response: Review['response']): { op: string; path: string; value?: unknown }[] {
  return JSON.parse(Buffer.from(response.patch ?? '', 'base64').toString()) as { op: string; path: string }[];
}

/** The review of the pod that the patch makes of the one in `sent`. */
function patched(sent: Review, patch: ReturnType<typeof operations>): Review {
  const result = structuredClone(sent);
  for (const { op, path, value } of patch) {
    const keys = path
      .split('/')
      .slice(1)
      .map((key) => key.replaceAll('~1', '/').replaceAll('~0', '~'));
    const last = keys.pop() as string;
    const object = result.request.object as unknown as Record<string, unknown>;
    const parent = keys.reduce((at, key) => at[key] as Record<string, unknown>, object);
    if (op === 'add' && Array.isArray(parent)) parent.splice(Number(last), 0, value);
    else if (op === 'remove') delete parent[last];
    else parent[last] = value;
  }
  return result;
}

describe('the webhook', () => {
  let port = 0;
  let program: Program;
  beforeAll(async () => {
    const dir = join(folder.path, 'issuer');
    await writeAuthority(dir, root);
    writeFileSync(join(folder.path, 'mesh-root.crt'), authority('mesh root').trustBundle);
    ({ program, port } = await start('--issuer', dir, '--ca-bundle', join(folder.path, 'mesh-root.crt')));
  });
  afterAll(() => program.kill());

  test.each(readdirSync(reviews).filter((file) => file.startsWith('pod-')))(
    'answers %s with a patch that adds the sidecar',
    async (file) => {
      const sent = review(file);
      const response = await answerTo(port, sent);
      expect(response).toMatchObject({ allowed: true, patchType: 'JSONPatch' });
      const patch = operations(response);
      const had = sent.request.object.spec.initContainers !== undefined;
      const init = patch.filter(({ path }) => /^\/spec\/initContainers(?:\/\d+)?$/.test(path));
      expect(init.map(({ op, path }) => `${op} ${path}`)).toEqual(
        had ? ['add /spec/initContainers/0', 'add /spec/initContainers/1'] : ['add /spec/initContainers'],
      );
      expect(JSON.stringify(init)).toContain('"restartPolicy":"Always"');
      expect(JSON.stringify(patch)).toContain('BEGIN CERTIFICATE');
      // Whatever is taken away or replaced is a probe, or an annotation for the scraper.
      const changed = patch.filter(({ op }) => op !== 'add').map(({ path }) => path);
      expect(changed.filter((path) => !/Probe\/|annotations\/prometheus/.test(path))).toEqual([]);
      expect(JSON.stringify(patch)).toContain('/app-health/');
    },
  );

  test.each(readdirSync(reviews).filter((file) => file.startsWith('pod-')))(
    'does not patch again what it has patched (reinvocation), whatever others have done to it since: %s',
    async (file) => {
      const again = patched(review(file), operations(await answerTo(port, review(file))));
      expect(await answerTo(port, again)).toEqual({ uid: again.request.uid, allowed: true });
      const { containers, initContainers = [] } = again.request.object.spec;
      // As AlwaysPullImages, a plug-in for a registry and the API server's own defaults do.
      for (const each of [...containers, ...initContainers]) {
        each['imagePullPolicy'] = 'Always';
        each['image'] = `mirror.example/${String(each['image'])}`;
        each['terminationMessagePath'] = '/dev/termination-log';
        for (const { httpGet } of ['livenessProbe', 'readinessProbe'].map(
          (name) => (each[name] ?? {}) as { httpGet?: object },
        ))
          Object.assign(httpGet ?? {}, { scheme: 'HTTP' });
      }
      containers.push({ name: 'late', image: 'late:1' });
      expect(await answerTo(port, again)).toEqual({ uid: again.request.uid, allowed: true });
    },
  );

  test('leaves alone who opts out, and what is no new pod', async () => {
    const sent = review('pod-1.29.json');
    const metadata = { ...sent.request.object.metadata, annotations: { 'sidecar.istio.io/inject': 'false' } };
    const out = { ...sent, request: { ...sent.request, object: { ...sent.request.object, metadata } } };
    expect(await answerTo(port, out)).toEqual({ uid: sent.request.uid, allowed: true });
    const update = { ...sent, request: { ...sent.request, operation: 'UPDATE' } };
    expect(await answerTo(port, update)).toEqual({ uid: sent.request.uid, allowed: true });
  });

  test('refuses a pod whose annotations are wrong, with the sentence that kubectl shows', async () => {
    const sent = review('pod-1.27.json');
    const metadata = { ...sent.request.object.metadata, annotations: { 'weft.dev/cpu': 'lots' } };
    const wrong = { ...sent, request: { ...sent.request, object: { ...sent.request.object, metadata } } };
    expect(await answerTo(port, wrong)).toMatchObject({
      allowed: false,
      status: {
        code: 400,
        message: 'weft: metadata.annotations["weft.dev/cpu"]: is "lots", but must be a quantity such as 100m or 128Mi',
      },
    });
  });

  test.each([
    ['a record in another shape', { 'weft.dev/injected': '{"absent":1}' }],
    ['a record that is no object', { 'weft.dev/injected': '[[]]' }],
  ])('survives %s of its own, which anybody can write into a pod', async (_what, annotations) => {
    const sent = review('pod-1.29.json');
    const metadata = { ...sent.request.object.metadata, annotations };
    const forged = { ...sent, request: { ...sent.request, object: { ...sent.request.object, metadata } } };
    expect(await answerTo(port, forged)).toMatchObject({ uid: sent.request.uid, allowed: true });
    expect(await call(port, '/healthz', null)).toEqual({ status: 200, body: 'ok\n' });
  });

  test('says on /healthz that it is there', async () => {
    expect(await call(port, '/healthz', null)).toEqual({ status: 200, body: 'ok\n' });
  });

  test.each([
    ['no JSON', '{', {}, 400],
    ['no review', '{"kind":"Pod"}', {}, 400],
    ['an older version', '{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1beta1","request":{}}', {}, 400],
    ['a review without a request', '{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1"}', {}, 400],
    ['another content type', '{}', { 'content-type': 'text/plain' }, 415],
    ['more than 4 MiB', ' '.repeat(4 * 1024 * 1024 + 1), {}, 413],
  ])('answers a caller that sends %s with a status, and lives on', async (_case, body, headers, status) => {
    // A body that is not read to its end may break the connection before the answer is read.
    const reply = await call(port, '/inject', body, headers as Record<string, string>).catch(
      (error: NodeJS.ErrnoException) => error.code,
    );
    if (typeof reply === 'object') expect(reply.status).toBe(status);
    else expect(reply).toMatch(/EPIPE|ECONNRESET/);
    expect((await call(port, '/healthz', null)).status).toBe(200);
    expect((await call(port, '/elsewhere', null)).status).toBe(404);
    expect((await call(port, '/inject', null)).status).toBe(405);
  });

  test('holds 32 MiB of reviews that are being sent, and refuses what is more', async () => {
    const bytes = 4 * 1024 * 1024;
    const slow = Array.from({ length: 8 }, () => {
      const headers = { 'content-type': 'application/json', 'content-length': bytes };
      const where = { host: '127.0.0.1', port, path: '/inject', method: 'POST', headers };
      return request({ ...where, ca: root.trustBundle, servername: HOST, agent: false });
    });
    const answered = async (status: number): Promise<true | undefined> =>
      (await call(port, '/inject', 'no review')).status === status ? true : undefined;
    for (const each of slow) each.on('error', () => {}).write(' '.repeat(bytes - 1));
    await eventually('there is no room for another', () => answered(503));
    for (const each of slow) each.destroy();
    await eventually('what was held is free again', () => answered(400));
  });

  test('ends with 0 on SIGTERM', async () => {
    const { program: own } = await start('--issuer', join(folder.path, 'issuer'));
    expect(await own.stop()).toEqual({ code: 0, signal: null });
  });
});

describe('the serving certificate', () => {
  const serialOf = async (port: number): Promise<string> => {
    const socket = connect({ host: '127.0.0.1', port, servername: HOST, ca: root.trustBundle });
    await once(socket, 'secureConnect');
    const { serialNumber } = socket.getPeerCertificate();
    socket.destroy();
    return serialNumber;
  };

  test('that is mounted is used anew when it changes, and half a one never', async () => {
    const dir = join(folder.path, 'mounted');
    const leaf = (): Parameters<typeof writeWorkload>[1] => {
      const issued = issueLeaf(root, { spiffeId: 'spiffe://cluster.local/i', dnsNames: [HOST], now: Date.now() });
      if (!issued.ok) throw new Error(issued.error);
      return issued.value;
    };
    await writeWorkload(dir, leaf());
    const { program, port } = await start('--certs', dir);
    await using _ = program;
    const first = await serialOf(port);
    const second = leaf();
    writeFileSync(join(dir, '.new'), second.certificateChain);
    renameSync(join(dir, '.new'), join(dir, 'tls.crt'));
    await program.waitForLine((line) => line.includes('cannot be renewed') || undefined);
    expect(await serialOf(port)).toBe(first);
    await writeWorkload(dir, second);
    await eventually(
      'the new certificate is served',
      async () => (await serialOf(port)) === second.serialNumber || undefined,
    );
  });

  test('is announced to the API server, and again when somebody takes it away', async () => {
    const api = authority('cluster CA');
    const leaf = issueLeaf(api, { spiffeId: 'spiffe://cluster.local/api', dnsNames: ['localhost'], now: Date.now() });
    if (!leaf.ok) throw new Error(leaf.error);
    const configuration = { webhooks: [{ clientConfig: { caBundle: '' } }, { clientConfig: { caBundle: 'b2xk' } }] };
    const seen: string[] = [];
    const server = createServer({ cert: leaf.value.certificateChain, key: leaf.value.privateKey }, (asked, answer) => {
      let body = '';
      asked.setEncoding('utf8').on('data', (chunk: string) => {
        body += chunk;
      });
      asked.on('end', () => {
        seen.push(`${asked.method} ${asked.url} ${asked.headers.authorization} ${asked.headers['content-type'] ?? ''}`);
        const patch = asked.method === 'PATCH' ? (JSON.parse(body) as { path: string; value: string }[]) : [];
        for (const { path, value } of patch) {
          const hook = configuration.webhooks[Number(path.split('/')[2])];
          if (hook !== undefined) hook.clientConfig.caBundle = value;
        }
        answer.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(configuration));
      });
    });
    await once(server.listen(0, '127.0.0.1'), 'listening');
    const account = join(folder.path, 'account');
    mkdirSync(account);
    writeFileSync(join(account, 'token'), 'the-token\n');
    writeFileSync(join(account, 'ca.crt'), api.trustBundle);
    const env = {
      KUBERNETES_SERVICE_HOST: 'localhost',
      KUBERNETES_SERVICE_PORT: String((server.address() as AddressInfo).port),
      WEFT_ACCOUNT_DIR: account,
    };
    const { program } = await startWith(env, '--issuer', join(folder.path, 'issuer'), '--register', 'weft-injector');
    await using _ = program;
    await program.waitForLine((line) => line.includes('"the webhook is registered"') || undefined);
    const path = '/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/weft-injector Bearer the-token';
    expect(seen).toEqual([`GET ${path} `, `PATCH ${path} application/json-patch+json`]);
    const bundle = Buffer.from(root.trustBundle).toString('base64');
    expect(configuration.webhooks.map(({ clientConfig }) => clientConfig.caBundle)).toEqual([bundle, bundle]);
    server.close();
    server.closeAllConnections();
  });
});

test.each([
  [[], 2, 'give one of --issuer and --certs'],
  [['--issuer', '/nowhere'], 1, '/nowhere holds no CA that can be read (ENOENT): weft ca init /nowhere makes one'],
  [['--certs', '/nowhere'], 1, '/nowhere does not exist'],
  [['--issuer', 'x', '--ca-bundle', '/nowhere'], 2, '--ca-bundle /nowhere: is no readable PEM certificate'],
])('weft injector %j ends with %d and says why', async (args, code, why) => {
  const program = startProgram({ command: process.execPath, args: [join(ROOT, 'proxy/main.ts'), 'injector', ...args] });
  expect((await program.exit).code).toBe(code);
  expect(program.lines[0]).toBe(`weft injector: ${why}`);
});
