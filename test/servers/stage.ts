/** What each test file here begins with: packages found or installed, the server started, a sidecar pair before it. */
import { createCipheriv, createHash } from 'node:crypto';
import { afterAll, beforeAll, beforeEach, expect } from 'vitest';
import { type DebianPackage, INSTALL_TIMEOUT_MS, lacking } from '../support/debian.ts';
import { eventually } from '../support/eventually.ts';
import { answersOn } from '../support/ports.ts';
import { type Program, type ProgramOptions, runProgram, startProgram } from '../support/process.ts';
import { skip } from '../support/skips.ts';
import { unprivileged } from '../support/unprivileged.ts';
import { sumOfSeries } from '../support/weft.ts';
import { type Carriage, type ServerPair, startPair } from './pair.ts';

/** Starts the server and answers its port on loopback; what it puts into `owned` ends after the tests, last first. */
export type StartServer = (owned: AsyncDisposableStack) => Promise<number>;

export interface Stage {
  readonly pair: ServerPair;
  /** Port of the server itself. */
  readonly serverPort: number;
}

/** Registers the hooks of a test file. Where a package cannot be had, all its tests are skipped with the reason. */
export function behindSidecars(packages: readonly DebianPackage[], startServer: StartServer): () => Stage {
  const owned = new AsyncDisposableStack();
  let lack: string | null = null;
  let stage: Stage | null = null;
  beforeAll(async () => {
    lack = await lacking(...packages);
    if (lack !== null) return;
    const serverPort = await startServer(owned);
    stage = { serverPort, pair: owned.use(await startPair(serverPort)) };
  }, INSTALL_TIMEOUT_MS);
  afterAll(() => owned.disposeAsync());
  beforeEach(() => {
    if (lack !== null) skip(lack);
  });
  return () => {
    if (stage === null) throw new Error('the stage is not set');
    return stage;
  };
}

/** Fails unless the sidecar before the server has seen connections or requests, each from the caller's verified identity. */
export async function expectIdentity({ pair }: Stage, carriage: Carriage): Promise<void> {
  const { weft, callers } = pair.callee(carriage);
  const metrics = await weft.metrics();
  for (const metric of ['istio_tcp_connections_opened_total', 'istio_requests_total']) {
    const served = 'reporter="destination"';
    const known = sumOfSeries(metrics, metric, served, `source_principal="${callers}"`);
    expect(known).toBe(sumOfSeries(metrics, metric, served));
    if (known > 0) return;
  }
  throw new Error(`nothing came through the sidecar before the server:\n${weft.program.output}`);
}

/** Runs a server as a user without rights until it accepts on its port. */
export async function startServer(options: ProgramOptions, port: number): Promise<Program> {
  const program = startProgram(unprivileged(options));
  await eventually(`${options.command} accepts`, () => answersOn(program, [port]), 30_000);
  return program;
}

/** Runs a line of shell, for what a client reads from or writes to a file; answers all it printed. */
export function shell(line: string, env: Readonly<Record<string, string>> = {}): Promise<string> {
  return runProgram({ command: 'sh', args: ['-c', line], env });
}

/** Text of so many characters of base64 that nothing compresses; the same for the same seed. */
export function randomText(length: number, seed = 1): string {
  const stream = createCipheriv('aes-128-ctr', Buffer.alloc(16, seed), Buffer.alloc(16));
  const bytes = stream.update(Buffer.alloc(Math.ceil((length * 3) / 4)));
  return bytes.toString('base64').slice(0, length);
}

export function sha256(bytes: string | Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}
