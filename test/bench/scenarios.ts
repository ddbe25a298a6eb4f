/** Every scenario of the bench, in the order of the table. */
import type { Scenario } from './scenario.ts';
import { grpc } from './scenarios/grpc.ts';
import { handshakes } from './scenarios/handshakes.ts';
import { http1Pair } from './scenarios/http1-pair.ts';
import { latency } from './scenarios/latency.ts';
import { connectionMemory, idleMemory } from './scenarios/memory.ts';
import { mtlsPair } from './scenarios/mtls-pair.ts';
import { opaque } from './scenarios/opaque.ts';
import { plainHop } from './scenarios/plain-hop.ts';
import { reload } from './scenarios/reload.ts';
import { start } from './scenarios/start.ts';
import { accessLog, routes, tracing } from './scenarios/variants.ts';

export const scenarios: readonly Scenario[] = [
  plainHop,
  mtlsPair,
  http1Pair,
  grpc,
  latency,
  routes,
  tracing,
  accessLog,
  opaque,
  handshakes,
  idleMemory,
  connectionMemory,
  start,
  reload,
];
