/** What stands behind every proxy of the gRPC scenarios, on the core of the load. */
import { join } from 'node:path';
import { eventually } from '../support/eventually.ts';
import { answersOn, freePort } from '../support/ports.ts';
import { startProgram } from '../support/process.ts';
import type { Origin } from './origin.ts';

const PROGRAM = join(import.meta.dirname, 'programs/grpc-origin.ts');

export async function startGrpcOrigin(): Promise<Origin> {
  const port = await freePort();
  const program = startProgram({ command: process.execPath, args: [PROGRAM, String(port)] });
  await eventually('the gRPC origin accepts', () => answersOn(program, [port]));
  return {
    port,
    async stop() {
      await program.kill();
    },
  };
}
