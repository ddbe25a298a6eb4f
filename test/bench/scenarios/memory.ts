/** Resident memory: a sidecar with nothing to do, and what each idle connection adds. */
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { setTimeout as pause } from 'node:timers/promises';
import type { SecureContext } from 'node:tls';
import { residentKb } from '../cpu.ts';
import { withDeployments } from '../deploy.ts';
import type { Deployment, Kind, Peer } from '../peer.ts';
import { nginx } from '../peers/nginx.ts';
import { settled, weft, weftPeer } from '../peers/weft.ts';
import { type Bounds, type Line, valueLine } from '../report.ts';
import type { Scenario } from '../scenario.ts';
import { callerContext, openTls } from '../tls-load.ts';

/** The first connections grow what is shared between all; the slope is taken over those that follow. */
const FIRST = 260;
const MORE = 1_000;
const AT_A_TIME = 20;
/** Idle is a sidecar that has been left alone for a while: what a start or a burst of handshakes needed is given back by then. */
const TIDIED_MS = 2_500;

interface IdleCase {
  readonly label: string;
  readonly kind: Kind;
  readonly open: (port: number, callers: SecureContext) => Socket;
  readonly opened: string;
  readonly withRequest: boolean;
  readonly bounds: Bounds;
}

const plain = (port: number): Socket => connect({ port, host: '127.0.0.1' });

const CASES: readonly IdleCase[] = [
  {
    label: 'plain, after accept',
    kind: 'hop',
    open: plain,
    opened: 'connect',
    withRequest: false,
    bounds: { target: 8 },
  },
  {
    label: 'plain, after a request',
    kind: 'hop',
    open: plain,
    opened: 'connect',
    withRequest: true,
    bounds: { target: 20 },
  },
  {
    label: 'mTLS, after accept',
    kind: 'callee',
    open: openTls,
    opened: 'session',
    withRequest: false,
    bounds: { target: 64 },
  },
  {
    label: 'mTLS, after a request',
    kind: 'callee',
    open: openTls,
    opened: 'session',
    withRequest: true,
    bounds: { target: 75 },
  },
];

export const idleMemory: Scenario = {
  name: 'idle-memory',
  isQuick: true,
  async run(bench) {
    const resident = (peer: Peer): Promise<number> =>
      withDeployments(bench, [peer], 'callee', async ([subject]) => {
        await pause(TIDIED_MS);
        return residentKb(subject?.deployment.pids ?? []) / 1024;
      });
    const bare = await resident(weftPeer({ tracing: false }));
    const traced = await resident(weft);
    return [
      valueLine({ name: 'idle RSS without tracing', unit: 'MB', weft: bare }, { target: 85 }),
      valueLine({ name: 'idle RSS with tracing', unit: 'MB', weft: traced }, { target: 150 }),
    ];
  },
};

export const connectionMemory: Scenario = {
  name: 'connection-memory',
  isQuick: false,
  async run(bench) {
    const callers = callerContext(bench.site.callerCerts);
    const lines: Line[] = [];
    for (const idle of CASES) {
      const cost = (peer: Peer): Promise<number> =>
        withDeployments(bench, [peer], idle.kind, async ([subject]) => {
          if (subject === undefined) throw new Error(`${peer.name} cannot be deployed`);
          return perConnection(idle, subject.deployment, callers);
        });
      const name = `RSS per idle connection, ${idle.label}`;
      const line = valueLine({ name, unit: 'KB', weft: await cost(weft) }, idle.bounds);
      lines.push({ ...line, peer: nginx.name, peerFigure: await cost(nginx) });
    }
    return lines;
  },
};

/** KB that each of the later connections adds. */
async function perConnection(idle: IdleCase, deployment: Deployment, callers: SecureContext): Promise<number> {
  const sockets: Socket[] = [];
  const hold = async (wanted: number): Promise<number> => {
    while (sockets.length < wanted) {
      await Promise.all(Array.from({ length: AT_A_TIME }, () => open(idle, deployment, callers, sockets)));
    }
    for (const pid of deployment.pids) await settled(pid);
    await pause(TIDIED_MS);
    return residentKb(deployment.pids);
  };
  try {
    const before = await hold(FIRST);
    const after = await hold(FIRST + MORE);
    const gone = sockets.filter((socket) => socket.destroyed || socket.readableEnded).length;
    if (gone > 0) throw new Error(`${gone} of ${sockets.length} idle connections were closed`);
    return (after - before) / (sockets.length - FIRST);
  } finally {
    for (const socket of sockets) socket.destroy();
  }
}

async function open(
  idle: IdleCase,
  { port, host }: Deployment,
  callers: SecureContext,
  sockets: Socket[],
): Promise<void> {
  const socket = idle.open(port, callers);
  sockets.push(socket);
  socket.resume();
  await once(socket, idle.opened);
  if (idle.withRequest) await ask(socket, host);
}

async function ask(socket: Socket, host: string): Promise<void> {
  let seen = 0;
  const { promise, resolve } = Promise.withResolvers<void>();
  const count = (chunk: Buffer): void => {
    seen += chunk.length;
    if (seen > 1024) resolve();
  };
  socket.on('data', count);
  socket.write(`GET /1k HTTP/1.1\r\nHost: ${host}\r\n\r\n`);
  await promise;
  socket.off('data', count);
}
