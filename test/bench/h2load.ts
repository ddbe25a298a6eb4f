/** One slice of closed-loop unary gRPC calls by h2load (one thread), on the core of the load. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { runProgram } from '../support/process.ts';
import { GRPC_METHOD, MESSAGE_BYTES, messageFrame } from './grpc-message.ts';

export interface H2Load {
  readonly port: number;
  readonly host: string;
  readonly connections: number;
  /** Calls open at a time on each connection. */
  readonly streams: number;
  readonly seconds: number;
  /** Where its message is written. */
  readonly folder: string;
}

/** Calls answered with status 200 and a message. Rejects when any was not. */
export async function runH2load(load: H2Load): Promise<number> {
  const { port, host, connections, streams, seconds, folder } = load;
  const message = join(folder, 'grpc-message');
  writeFileSync(message, messageFrame());
  const args = ['-t1', '-c', `${connections}`, '-m', `${streams}`, '-D', `${seconds}s`, '-d', message];
  args.push('-H', 'content-type: application/grpc', '-H', 'te: trailers');
  args.push(`--connect-to=127.0.0.1:${port}`, `http://${host}${GRPC_METHOD}`);
  const output = await runProgram({ command: 'h2load', args });
  const [, done, succeeded, failed] =
    /(\d+) done, (\d+) succeeded, (\d+) failed, \d+ errored, \d+ timeout/.exec(output)?.map(Number) ?? [];
  const data = Number(/\((\d+)\) data/.exec(output)?.[1]);
  if (done === undefined || succeeded === undefined || !(succeeded > 0))
    throw new Error(`h2load counted nothing:\n${output}`);
  // A refused call is a 200 too, but one without a message.
  if (failed !== 0 || succeeded !== done || data < succeeded * MESSAGE_BYTES)
    throw new Error(`h2load saw failures:\n${output}`);
  return succeeded;
}
