/**
 * `make demo`: storefront → catalog (v1 and v2) → inventory on loopback, a sidecar each, real processes throughout.
 * Sends load, kills an instance under it, prints what was claimed and what was observed and one trace, then stays up
 * until Ctrl-C. With `--once` it ends by itself, with 0 only if every claim held.
 */
import { join } from 'node:path';
import { styleText } from 'node:util';
import { eventually } from '../../test/support/eventually.ts';
import { ROOT } from '../../test/support/weft.ts';
import { type AccessLine, accessLines } from './access-lines.ts';
import * as claims from './claims.ts';
import { Mesh, spiffeId } from './mesh.ts';
import { TraceReceiver } from './otlp.ts';
import { PODS, type Pod, VICTIM } from './pods.ts';
import { LOAD, load, plaintext, tracedRequest } from './traffic.ts';
import { layOut, waterfall } from './waterfall.ts';

/** So many that one of them may meet the dead instance while it is still in the turn. */
const TRACED_REQUESTS = 6;
const SERVICES = ['storefront', 'catalog', 'inventory'];
/**
 * How long what was seen is waited for. Usually a tenth of a second; a sidecar's control thread that loads the
 * OpenTelemetry SDK on a machine with other work is late with everything that it passes on.
 */
const SEEN_MS = 20_000;

type Style = Parameters<typeof styleText>[0];

/** Colours where the output is a terminal that wants them. */
function paint(style: Style, text: string): string {
  return styleText(style, text, { stream: process.stdout });
}

function title(text: string): void {
  console.log(`\n${paint('bold', text)}`);
}

const say = (line: string): void => console.log(`  ${line}`);

function sayClaim(claim: claims.Claim): boolean {
  const mark = claim.holds ? paint('green', '✓') : paint('red', '✗');
  console.log(`  ${mark} ${claim.text}: ${claim.observed}`);
  return claim.holds;
}

/** Where the sidecars send their spans: to `receiver`, or where the user's environment says. */
function telemetryEnv(receiver: TraceReceiver | null): Record<string, string> {
  const sampled = { OTEL_TRACES_SAMPLER: 'parentbased_traceidratio', OTEL_TRACES_SAMPLER_ARG: '0.01' };
  if (receiver === null) return process.env.OTEL_TRACES_SAMPLER === undefined ? sampled : {};
  return {
    ...sampled,
    OTEL_EXPORTER_OTLP_ENDPOINT: receiver.url,
    OTEL_EXPORTER_OTLP_PROTOCOL: 'http/protobuf',
    OTEL_BSP_SCHEDULE_DELAY: '200',
  };
}

/** Sends the load and kills the victim when a third of it is answered. Answers what was seen, and the dead pod. */
async function loadAndCrash(mesh: Mesh): Promise<{ answers: claims.Answers; dead: Pod }> {
  const third = Math.round((LOAD.rate * LOAD.durationMs) / 3_000);
  let crash: Promise<Pod> | undefined;
  const answers = await load(mesh.pod('storefront').place.ports.inbound, (answered) => {
    if (answered !== third) return;
    say(`${answered} answered; ${VICTIM}, sidecar and service, is killed now`);
    crash = mesh.crash(VICTIM);
  });
  if (crash === undefined) {
    const { observed } = claims.noneFailed(
      answers,
      mesh.pods.flatMap((pod) => accessLines(pod, 'outbound')),
    );
    throw new Error(`the load did not get going: ${observed}`);
  }
  return { answers, dead: await crash };
}

/** What these pods have logged: waits a while until it is `count` lines, because lines come in batches. */
async function lines(pods: readonly Pod[], direction: AccessLine['direction'], count: number): Promise<AccessLine[]> {
  const read = (): AccessLine[] => pods.flatMap((pod) => accessLines(pod, direction));
  const whole = (): AccessLine[] | undefined => (read().length >= count ? read() : undefined);
  return eventually('every request is logged', whole, SEEN_MS).catch(read);
}

async function judgeLoad(mesh: Mesh): Promise<claims.Claim[]> {
  const { answers, dead } = await loadAndCrash(mesh);
  const storefront = mesh.pod('storefront');
  const sent = await lines([storefront], 'outbound', answers.sent);
  const catalogs = mesh.pods.filter((pod) => pod.plan.account === 'catalog');
  const byCatalogs = answers.sent - (answers.byInstance.get(VICTIM) ?? 0);
  // The last lines of the dead one died with it.
  const catalogLines = [...(await lines(catalogs, 'inbound', byCatalogs)), ...accessLines(dead, 'inbound')];
  const inventoryLines = await lines([mesh.pod('inventory')], 'inbound', answers.sent);
  const counted = await storefront.weft.metric('istio_requests_total', 'reporter="source"');
  return [
    claims.noneFailed(
      answers,
      [...mesh.pods, dead].flatMap((pod) => accessLines(pod, 'outbound')),
    ),
    claims.splitIs(answers, 'catalog-v2', 10),
    claims.routedAround(answers, VICTIM, sent),
    claims.calledBy('catalog', spiffeId('storefront'), catalogLines),
    claims.calledBy('inventory', spiffeId('catalog'), inventoryLines),
    claims.metricsAgree(counted, sent),
  ];
}

async function judgePlaintext(mesh: Mesh): Promise<claims.Claim> {
  const { weft, place } = mesh.pod('inventory');
  const bytes = await plaintext(place.ports.inbound);
  const refusals = await eventually(
    'the refusal is counted',
    async () => (await weft.metric('weft_refusals_total', 'word="plaintext_refused"')) || undefined,
    SEEN_MS,
  ).catch(() => 0);
  return claims.plaintextRefused(bytes, refusals);
}

/** Asks for a few traces and shows the richest: a request that met the dead instance first, if any did. */
async function showTrace(mesh: Mesh, receiver: TraceReceiver | null): Promise<claims.Claim[]> {
  const port = mesh.pod('storefront').place.ports.inbound;
  const ids: string[] = [];
  while (ids.length < TRACED_REQUESTS) ids.push(await tracedRequest(port));
  if (receiver === null) {
    title(`${ids.length} traces were sent to ${process.env.OTEL_EXPORTER_OTLP_ENDPOINT}`);
    for (const id of ids) say(id);
    return [];
  }
  const claim = (id: string): claims.Claim => claims.traceIsWhole(receiver.trace(id), SERVICES);
  const whole = (): true | undefined => ids.every((id) => claim(id).holds) || undefined;
  await eventually('the traces are whole', whole, SEEN_MS).catch(() => undefined);
  const richest = ids.toSorted((a, b) => receiver.trace(b).length - receiver.trace(a).length)[0] as string;
  title(`One request's trace (${richest})`);
  const picture = waterfall(receiver.trace(richest));
  console.log(layOut(picture, (bar, line) => paint(line.failed ? 'red' : 'cyan', bar)));
  return [claim(ids.find((id) => !claim(id).holds) ?? richest)];
}

function sayWhatToTry(mesh: Mesh): void {
  const { inbound, outbound, admin, metrics } = mesh.pod('storefront').place.ports;
  const strict = mesh.pod('inventory').place.ports.inbound;
  const lines = [
    [`curl http://127.0.0.1:${inbound}/`, "as a customer, through the storefront's sidecar"],
    [
      `curl -i -H 'Host: catalog' http://127.0.0.1:${outbound}/items`,
      'as the storefront, through its outbound listener',
    ],
    [`curl -i -H 'Host: catalog:81' http://127.0.0.1:${outbound}/`, 'a local answer: the Service has no such port'],
    [`curl http://127.0.0.1:${strict}/stock`, 'plain text to a STRICT port'],
    [`curl http://127.0.0.1:${admin}/clusters`, 'what the sidecar knows of its upstreams'],
    [`curl -s http://127.0.0.1:${metrics}/metrics | grep istio_requests_total`, 'what it counted'],
    [`$EDITOR ${mesh.policy}/mesh.yaml`, 'change the weights; the sidecars follow'],
  ] as const;
  const width = Math.max(...lines.map(([command]) => command.length));
  title('Try it (Ctrl-C ends it)');
  for (const [command, comment] of lines) say(`${command.padEnd(width)}  # ${comment}`);
}

/** Shows everything once; true if every claim held. */
async function show(mesh: Mesh, receiver: TraceReceiver | null): Promise<boolean> {
  title(`Starting ${PODS.length} services and a sidecar for each`);
  await mesh.start(telemetryEnv(receiver), say);
  title(`Load: ${LOAD.rate} requests per second for ${LOAD.durationMs / 1_000} s`);
  const judged = [...(await judgeLoad(mesh)), await judgePlaintext(mesh)];
  judged.push(...(await showTrace(mesh, receiver)));
  title('What was claimed, and what was observed');
  return judged.map(sayClaim).every(Boolean);
}

async function main(once: boolean): Promise<number> {
  const interrupt = Promise.withResolvers<'interrupted'>();
  let interrupts = 0;
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.on(signal, () => {
      interrupts += 1;
      if (interrupts > 1) process.exit(130); // Impatient; the processes are killed on the way out.
      interrupt.resolve('interrupted');
    });
  }
  const receiver = process.env.OTEL_EXPORTER_OTLP_ENDPOINT === undefined ? await TraceReceiver.start() : null;
  const mesh = new Mesh();
  try {
    const held = await Promise.race([show(mesh, receiver), interrupt.promise]);
    if (held === 'interrupted') return 130;
    if (!once) {
      sayWhatToTry(mesh);
      await interrupt.promise;
      title('Draining');
    }
    const pods = mesh.pods.length;
    const ended = sayClaim(claims.drained(pods, await mesh.stop()));
    return held && ended ? 0 : 1;
  } catch (error) {
    console.error(`demo: ${error instanceof Error ? error.message : String(error)}`);
    return 1;
  } finally {
    await mesh.end();
    receiver?.close();
  }
}

// Fourteen processes of one program: without a cache each would strip and compile its TypeScript anew.
process.env.NODE_COMPILE_CACHE ??= join(ROOT, '.cache/compile');
process.exit(await main(process.argv.includes('--once')));
