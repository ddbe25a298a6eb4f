/** One slice of closed-loop load by wrk (one thread), on the core of the load. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { runProgram } from '../support/process.ts';

export interface WrkLoad {
  readonly port: number;
  readonly host: string;
  readonly connections: number;
  readonly seconds: number;
  /** Asked for in turn. */
  readonly paths: readonly string[];
  /** Where its script is written. */
  readonly folder: string;
}

/** Requests answered with 2xx or 3xx. Rejects when any was not. */
export async function runWrk(load: WrkLoad): Promise<number> {
  const { port, connections, seconds, folder } = load;
  const script = join(folder, 'requests.lua');
  writeFileSync(script, lua(load));
  const args = ['-t1', `-c${connections}`, `-d${seconds}s`, '-s', script, `http://127.0.0.1:${port}`];
  const output = await runProgram({ command: 'wrk', args });
  if (/Non-2xx|Socket errors/.test(output)) throw new Error(`wrk saw failures:\n${output}`);
  const requests = Number(/(\d+) requests in/.exec(output)?.[1]);
  if (!(requests > 0)) throw new Error(`wrk counted nothing:\n${output}`);
  return requests;
}

/** Requests are formatted once: what remains per request is an array access. */
function lua({ host, paths }: WrkLoad): string {
  const list = paths.map((path) => JSON.stringify(path)).join(',');
  return `
wrk.headers["Host"] = ${JSON.stringify(host)}
local paths, requests, turn = {${list}}, {}, 0
function init() for i, path in ipairs(paths) do requests[i] = wrk.format("GET", path) end end
function request() turn = turn % #requests + 1 return requests[turn] end
`;
}
