/**
 * nginx behind and before weft, under odd requests: what weft forwards, nginx must read as the same requests with the
 * same bodies, and what nginx forwards, weft must read so too, or refuse.
 */
import { join } from 'node:path';
import { beforeAll, beforeEach, expect, test } from 'vitest';
import { type RecordedRequest, startBackend, text } from '../support/backend.ts';
import { TestCa, writeIdentity } from '../support/certificates.ts';
import { endpointSlice, Folder, PLAIN, policyText, service } from '../support/policy.ts';
import { isInstalled } from '../support/process.ts';
import { skip } from '../support/skips.ts';
import { startWeft, type Weft } from '../support/weft.ts';
import { LoggingNginx, type Reading, sendAll, weftReadings, withoutLast } from './readings.ts';
import { oddStreams } from './streams.ts';

const STREAMS = oddStreams(400, 20_261_121);
/** As many requests at least must get through, and as many be refused, or the streams show nothing. */
const ENOUGH = 100;

let folder: Folder;
beforeAll(() => {
  folder = new Folder('weft-differential-');
  writeIdentity(join(folder.path, 'certs'), new TestCa().identity('default/caller'));
  return () => folder.remove();
});
beforeEach(() => {
  if (!isInstalled('nginx')) skip('nginx is not installed');
});

test('whatever weft forwards, nginx behind it reads as the same requests with the same bodies', async () => {
  await using nginx = await LoggingNginx.start(folder.path, 'behind', null);
  await using weft = await weftBefore(nginx.port);
  await sendAll(weft.ports.outbound, STREAMS);
  const byWeft = await weftReadings(weft);
  const byNginx = await nginx.readings();

  expect(byWeft.filter((reading) => reading.isDone).length).toBeGreaterThan(ENOUGH);
  expect(await weft.metric('weft_refusals_total')).toBeGreaterThan(ENOUGH);
  // Done for weft means done for nginx; a caller that left in between may leave the reverse untold.
  expect(named(byWeft.filter((reading) => reading.isDone))).toEqual(named(doneBoth(byNginx, byWeft)));
  expect(strangers(byNginx, byWeft)).toEqual([]);
});

test('whatever nginx before it forwards, weft reads as the same requests with the same bodies, or refuses', async () => {
  await using backend = await startBackend(text('seen'));
  await using weft = await weftBefore(backend.port);
  await using nginx = await LoggingNginx.start(folder.path, 'before', weft.ports.outbound);
  await sendAll(nginx.port, STREAMS);
  const byNginx = await nginx.readings();
  const byBackend = withoutLast(backend.requests.map(backendReading));

  expect(byNginx.filter((reading) => reading.isDone).length).toBeGreaterThan(ENOUGH);
  expect(named(byNginx.filter((reading) => reading.isDone))).toEqual(named(doneBoth(byBackend, byNginx)));
  expect(strangers(byBackend, byNginx)).toEqual([]);
});

function weftBefore(port: number): Promise<Weft> {
  const documents = [
    service({ name: 'backend', ports: [{ port: 80, targetPort: port }], annotations: PLAIN }),
    endpointSlice({ service: 'backend', ports: [{ port }], endpoints: ['127.0.0.1'] }),
  ];
  folder.write(`policy-${port}/policy.yaml`, policyText(documents));
  return startWeft({
    policy: join(folder.path, `policy-${port}`),
    certs: join(folder.path, 'certs'),
    flags: ['--access-log', 'json', '--service-account', 'caller'],
  });
}

function backendReading({ target, bodyBytes, complete }: RecordedRequest): Reading {
  return { path: target.split('?')[0] ?? '', bodyBytes, isDone: complete };
}

function named(readings: readonly Reading[]): string[] {
  return readings.map(({ path, bodyBytes }) => `${path} ${bodyBytes}`).toSorted();
}

/** Readings of the far party that the near one has done too. */
function doneBoth(far: readonly Reading[], near: readonly Reading[]): Reading[] {
  const done = new Set(near.filter((reading) => reading.isDone).map((reading) => reading.path));
  return far.filter((reading) => reading.isDone && done.has(reading.path));
}

/** Requests that the far party saw and the near one did not know of: smuggled ones. */
function strangers(far: readonly Reading[], near: readonly Reading[]): string[] {
  const known = new Set(near.map((reading) => reading.path));
  return far.map((reading) => reading.path).filter((path) => !known.has(path));
}
