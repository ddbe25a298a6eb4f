import { once } from 'node:events';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { after, fixed, startBackend, text } from '../support/backend.ts';
import { openClient, type RawClient } from '../support/client.ts';
import { eventually } from '../support/eventually.ts';
import { closedLoop } from '../support/load.ts';
import type { Weft } from '../support/weft.ts';
import { ask, countLines, get, logLine, plain, TinyMesh } from './mesh.ts';

const mesh = new TinyMesh();
const app = mesh.own(await startBackend(fixed(512)));
/** Answers at once, whatever `app` does. */
const alive = mesh.own(await startBackend(fixed(16)));
const ALIVE = plain({ name: 'alive', endpoints: [alive.port] });
let weft: Weft;
let inspector: Inspector;

beforeAll(async () => {
  const documents = [...ALIVE, ...plain({ name: 'app', endpoints: [app.port] })];
  weft = await mesh.start({
    account: 'caller',
    documents,
    flags: ['--threads', '2'],
    nodeFlags: ['--inspect=127.0.0.1:0'],
  });
  inspector = await Inspector.attach(weft);
});
afterAll(async () => {
  inspector.close();
  await mesh[Symbol.asyncDispose]();
});

/** The debugger's way into the data threads: the product itself has no switch to kill one. */
class Inspector {
  /** Session of each data thread that lives, by its name. */
  readonly threads = new Map<string, string>();
  private readonly socket: WebSocket;
  private ids = 0;

  private constructor(socket: WebSocket) {
    this.socket = socket;
    socket.addEventListener('message', ({ data }) => {
      const { method, params } = JSON.parse(String(data)) as { method?: string; params?: WorkerEvent };
      const name = /weft-data-\d+/.exec(params?.workerInfo?.title ?? '')?.[0];
      if (method === 'NodeWorker.attachedToWorker' && name !== undefined)
        this.threads.set(name, params?.sessionId ?? '');
    });
  }

  static async attach({ program }: Weft): Promise<Inspector> {
    const url = await program.waitForLine((line) => /ws:\S+/.exec(line)?.[0]);
    const socket = new WebSocket(url);
    await once(socket, 'open');
    const inspector = new Inspector(socket);
    inspector.send('NodeWorker.enable', { waitForDebuggerOnStart: false });
    await eventually('both data threads are there', () => inspector.threads.size === 2 || undefined);
    return inspector;
  }

  /** An exception that nobody catches, in the next turn of this thread. */
  async kill(thread: string): Promise<void> {
    const sessionId = await eventually(`${thread} is there`, () => this.threads.get(thread));
    this.threads.delete(thread);
    const expression = "setImmediate(() => { throw new Error('killed by a test'); })";
    const message = JSON.stringify({ id: 1, method: 'Runtime.evaluate', params: { expression } });
    this.send('NodeWorker.sendMessageToWorker', { sessionId, message });
  }

  close(): void {
    this.socket.close();
  }

  private send(method: string, params: object): void {
    this.socket.send(JSON.stringify({ id: ++this.ids, method, params }));
  }
}

interface WorkerEvent {
  readonly sessionId: string;
  readonly workerInfo?: { readonly title: string };
}

/** The kernel deals them to two threads at random: enough that each gets some of them. */
const CALLERS = 32;

/** Kills data thread `number` and returns, with the time it took, when new connections are served by all threads again. */
async function kill(number: number): Promise<number> {
  const deaths = countLines(weft, 'a data thread has died');
  const started = performance.now();
  await inspector.kill(`weft-data-${number}`);
  await eventually('it has died', () => countLines(weft, 'a data thread has died') > deaths || undefined);
  await Promise.all(
    Array.from({ length: CALLERS }, async () => {
      const answer = await ask(weft.ports.outbound, get('alive'));
      expect(answer.status).toBe(200);
    }),
  );
  return performance.now() - started;
}

test('a data thread that dies is replaced within a second, and log and metric say why', async () => {
  const ms = await kill(0);
  console.log(`a data thread was replaced within ${Math.round(ms)} ms`);
  // A second on a machine of its own; the tests share theirs with each other.
  expect(ms).toBeLessThan(10_000);
  expect(await logLine(weft, ({ msg }) => String(msg).startsWith('a data thread has died'))).toMatchObject({
    thread: 0,
    reason: 'crash',
    err: { message: 'killed by a test' },
  });
  expect(await weft.metric('weft_thread_restarts_total', 'reason="crash"')).toBe(1);
});

test('no new connection is refused and no connection of the other thread is touched when one dies under load', async () => {
  const clients: RawClient[] = [];
  for (let i = 0; i < CALLERS; i++) clients.push(await openClient(weft.ports.outbound));
  for (const client of clients) expect((await client.exchange(get('app'))).status).toBe(200);
  const stop = new AbortController();
  const load = closedLoop({
    port: weft.ports.outbound,
    headers: { host: 'app', connection: 'close' },
    connections: 8,
    signal: stop.signal,
  });
  const sent = app.requests.length;
  await eventually('the load runs', () => app.requests.length > sent + 50 || undefined);
  await kill(1);
  const seen = app.requests.length;
  await eventually('the load runs on', () => app.requests.length > seen + 50 || undefined);
  stop.abort();
  const { failures, sent: all } = await load;
  expect([...failures.keys()].filter((kind) => kind !== 'ECONNRESET' && kind !== 'socket hang up')).toEqual([]);
  // Only what the dead thread had in hand, its accept queue included.
  expect([...failures.values()].reduce((sum, count) => sum + count, 0)).toBeLessThanOrEqual(8);
  expect(all).toBeGreaterThan(100);
  const open = clients.filter((client) => !client.socket.destroyed && !client.socket.readableEnded);
  expect(open.length).toBeGreaterThan(0);
  for (const client of open) expect((await client.exchange(get('app'))).status).toBe(200);
  for (const client of clients) client.close();
});

test('a request under way on the other thread is answered when one dies', async () => {
  const { promise, resolve } = Promise.withResolvers<void>();
  app.behaviour = after(promise, text('late'));
  const clients: RawClient[] = [];
  const seen = app.requests.length;
  for (let i = 0; i < CALLERS; i++) {
    const client = await openClient(weft.ports.outbound);
    await client.write(get('app'));
    clients.push(client);
  }
  await eventually('all are under way', () => app.requests.length >= seen + CALLERS || undefined);
  await kill(0);
  resolve();
  const answers = await Promise.allSettled(clients.map((client) => client.answer()));
  const answered = answers.filter(({ status }) => status === 'fulfilled').length;
  expect(answered).toBeGreaterThan(0);
  expect(answered).toBeLessThan(CALLERS);
  for (const client of clients) client.close();
});

test('a reload while threads die reaches the thread that replaces them', async () => {
  app.behaviour = text('second');
  for (const number of [0, 1]) {
    const dead = kill(number);
    await mesh.apply(weft, 'caller', [...ALIVE, ...plain({ name: `app${number}`, endpoints: [app.port] })]);
    await dead;
    for (let i = 0; i < 8; i++) {
      using client = await openClient(weft.ports.outbound);
      expect((await client.exchange(get(`app${number}`))).status).toBe(200);
    }
  }
});
