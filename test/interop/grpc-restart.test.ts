/** Unary calls while what stands upstream of them is restarted, piece by piece: none may fail. */
import { status } from '@grpc/grpc-js';
import { expect, test } from 'vitest';
import { meshed, TinyMesh } from '../integration/mesh.ts';
import { eventually } from '../support/eventually.ts';
import { freePort, freePorts } from '../support/ports.ts';
import type { Weft } from '../support/weft.ts';
import { EchoCaller, EchoServer } from './grpc-echo.ts';

const CALLS = 1000;
const AT_ONCE = 8;

/** An application and its sidecar, each of which can be replaced by another one on the same port. */
class Pod {
  app: EchoServer;
  sidecar: Weft;
  readonly account: string;
  private readonly mesh: TinyMesh;

  private constructor(mesh: TinyMesh, account: string, app: EchoServer, sidecar: Weft) {
    this.mesh = mesh;
    this.account = account;
    this.app = app;
    this.sidecar = sidecar;
  }

  static async start(mesh: TinyMesh, account: string): Promise<Pod> {
    const app = mesh.own(await new EchoServer().listen(await freePort()));
    // Ports that nobody takes while the sidecar that comes back does not listen yet.
    const [inbound = 0, outbound = 0, admin = 0, metrics = 0, ready = 0] = await freePorts(5);
    const ports = { inbound, outbound, admin, metrics, ready };
    return new Pod(mesh, account, app, await mesh.start({ account, app: app.port, ports }));
  }

  /** The application says GOAWAY, ends its calls, goes, and another takes its port. */
  async restartApp(): Promise<void> {
    const { port } = this.app;
    await this.app.drain();
    this.app = this.mesh.own(await new EchoServer().listen(port));
  }

  async restartSidecar(): Promise<void> {
    const { ports } = this.sidecar;
    expect(await this.sidecar.stop()).toEqual({ code: 0, signal: null });
    this.sidecar = await this.mesh.start({ account: this.account, app: this.app.port, ports });
  }
}

test('1000 unary calls under a rolling restart of applications and sidecars: none fails', {
  timeout: 60_000,
}, async () => {
  await using mesh = new TinyMesh();
  const pods = [await Pod.start(mesh, 'echo-1'), await Pod.start(mesh, 'echo-2')];
  const service = (of: readonly Pod[]): string[] =>
    meshed({ name: 'echo', endpoints: of.map(({ sidecar }) => sidecar.ports.inbound), appProtocol: 'grpc' });
  const caller = await mesh.start({ account: 'caller', documents: service(pods) });
  using echo = new EchoCaller(caller.ports.outbound, 'echo');

  const codes = new Map<string, number>();
  const restarts = { done: false };
  let calls = 0;
  const callOn = async (): Promise<void> => {
    while (!restarts.done || calls < CALLS) {
      calls++;
      const { code, details } = await echo.unary(Buffer.from('still there?'));
      const outcome = code === status.OK ? 'OK' : `${status[code]} ${details}`;
      codes.set(outcome, (codes.get(outcome) ?? 0) + 1);
    }
  };
  const load = Promise.all(Array.from({ length: AT_ONCE }, callOn));

  for (const pod of pods) await pod.restartApp();
  for (const pod of pods) {
    // As a mesh does it: the endpoint leaves the slice, then its sidecar is told to go, then it comes back.
    await mesh.apply(caller, 'caller', service(pods.filter((each) => each !== pod)));
    await pod.restartSidecar();
    await mesh.apply(caller, 'caller', service(pods));
  }
  await eventually(
    'a call has gone to each new application',
    () => pods.every(({ app }) => app.calls > 0) || undefined,
  );
  restarts.done = true;
  await load;

  console.log(`${calls} calls: ${JSON.stringify([...codes])}`);
  expect([...codes]).toEqual([['OK', calls]]);
  expect(calls).toBeGreaterThanOrEqual(CALLS);
});
