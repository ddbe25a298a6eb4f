/** From the start of the process to the first request answered through it, without tracing. */
import { request } from 'node:http';
import { cpus } from 'node:os';
import { setTimeout as pause } from 'node:timers/promises';
import { PLAIN } from '../../support/policy.ts';
import { launchWeft } from '../../support/weft.ts';
import { median } from '../compare.ts';
import { cpuMicros } from '../cpu.ts';
import { benchOptions } from '../peers/weft.ts';
import { backendPolicy } from '../policies.ts';
import { valueLine } from '../report.ts';
import type { Bench, Scenario } from '../scenario.ts';

const DEADLINE_MS = 10_000;

export const start: Scenario = {
  name: 'start',
  isQuick: true,
  async run(bench) {
    const warm = await starts(bench, bench.isQuick ? 5 : 9, true);
    const cold = await starts(bench, 3, false);
    const unit = 'ms';
    return [
      valueLine({ name: 'start to first request, p50', unit, weft: warm.ms }, { target: 400 }),
      valueLine({ name: 'start to first request, CPU time of it', unit, weft: warm.cpuMs }),
      valueLine({ name: 'start to first request, no compile cache', unit, weft: cold.ms }),
    ];
  },
};

interface Start {
  readonly ms: number;
  readonly cpuMs: number;
}

/** Medians of so many starts. */
async function starts(bench: Bench, count: number, withCache: boolean): Promise<Start> {
  const all: Start[] = [];
  while (all.length < count) all.push(await firstAnswer(bench, withCache));
  return { ms: median(all.map((one) => one.ms)), cpuMs: median(all.map((one) => one.cpuMs)) };
}

async function firstAnswer({ site }: Bench, withCache: boolean): Promise<Start> {
  const documents = backendPolicy(site.origin.port, 10, PLAIN);
  const options = await benchOptions(site, { tracing: false }, { account: 'caller', documents });
  const env = withCache ? options.env : { ...options.env, NODE_COMPILE_CACHE: undefined };
  const began = performance.now();
  // On any core, as a pod is: what starts is two threads. Without a word it would share the core of the load.
  const weft = await launchWeft({ ...options, env, cpu: `0-${cpus().length - 1}` });
  try {
    for (;;) {
      if ((await statusOf(weft.ports.outbound)) === 200) {
        return { ms: performance.now() - began, cpuMs: cpuMicros([weft.pid]) / 1_000 };
      }
      if (performance.now() - began > DEADLINE_MS) throw new Error(`no answer within ${DEADLINE_MS} ms`);
      await pause(1);
    }
  } finally {
    await weft.kill();
  }
}

/** 0 where nobody accepts yet. */
function statusOf(port: number): Promise<number> {
  return new Promise((resolve) => {
    const call = request(
      { host: '127.0.0.1', port, path: '/1k', headers: { host: 'backend' }, agent: false },
      (answer) => {
        answer.resume();
        answer.once('close', () => resolve(answer.statusCode ?? 0));
      },
    );
    call.once('error', () => resolve(0));
    call.end();
  });
}
