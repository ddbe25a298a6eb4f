import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { runExplain } from '../../../proxy/answers/explain-cli.ts';
import type { Explanation } from '../../../proxy/answers/explanation.ts';
import { service } from '../../support/policy-documents.ts';
import { freePort } from '../../support/ports.ts';

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'weft-explain-'));
  writeFileSync(join(dir, 'a.yaml'), service('a'));
});
afterEach(() => rmSync(dir, { recursive: true }));

async function run(...args: string[]): Promise<{ code: number; out: string[]; err: string[] }> {
  const out: string[] = [];
  const err: string[] = [];
  const code = await runExplain(args, { out: (line) => out.push(line), err: (line) => err.push(line) });
  return { code, out, err };
}

describe('weft explain of a folder', () => {
  it('exits 0 whatever the verdict, and prints lines for people', async () => {
    const { code, out, err } = await run('--policy', dir, 'GET', 'http://a:81/');
    expect([code, err]).toEqual([0, []]);
    expect(out).toEqual(['GET http://a:81/', expect.stringContaining('→ refused: 404 no_service_port')]);
  });

  it('prints JSON for programs, with the headers that were given', async () => {
    const { out } = await run('--json', '--policy', dir, '--header', 'x-a: 1', '--header=x-b:2:3', 'GET', 'http://a/');
    const { request, verdict } = JSON.parse(out.join('\n')) as Explanation;
    expect(verdict.outcome).toBe('forwarded');
    expect(request?.headers).toEqual([
      ['Host', 'a'],
      ['x-a', '1'],
      ['x-b', '2:3'],
    ]);
  });

  it.each([
    [['--namespace', 'web'], 'web'],
    [['--from', 'spiffe://cluster.local/ns/shop/sa/cart'], 'shop'],
    [['--from', 'spiffe://cluster.local/ns/shop/sa/cart', '--namespace', 'web'], 'web'],
  ])('asks with %j as a caller of namespace %s', async (flags, namespace) => {
    const { out } = await run('--json', '--policy', dir, ...flags, 'GET', 'http://a/');
    expect((JSON.parse(out.join('\n')) as Explanation).service?.namespace).toBe(namespace);
  });

  it('exits 1 and tells the problems where the folder has some', async () => {
    writeFileSync(join(dir, 'b.yaml'), 'kind: Service\n');
    expect(await run('--policy', dir, 'GET', 'a/')).toEqual({
      code: 1,
      out: [],
      err: ['b.yaml:1:1: apiVersion: is required (e.g. v1)'],
    });
  });
});

describe('weft explain of a running sidecar', () => {
  let server: Server;
  const asked: string[] = [];
  let status = 200;
  beforeEach(async () => {
    server = createServer((request, response) => {
      asked.push(request.url ?? '');
      response.writeHead(status).end(status === 200 ? JSON.stringify({ hello: 'there' }) : 'no policy\n');
    }).listen(0, '127.0.0.1');
    await once(server, 'listening');
  });
  afterEach(() => {
    server.close();
    server.closeAllConnections();
  });

  it('asks its admin server, and says why where it cannot', async () => {
    const at = `127.0.0.1:${(server.address() as AddressInfo).port}`;
    const { code, out } = await run('--admin', at, '--json', '--header', 'x: y & z', 'PUT', 'http://a/?q=1');
    expect([code, JSON.parse(out.join('\n'))]).toEqual([0, { hello: 'there' }]);
    const query = new URL(asked[0] ?? '', 'http://x').searchParams;
    expect([...query]).toEqual([
      ['method', 'PUT'],
      ['url', 'http://a/?q=1'],
      ['header', 'x: y & z'],
    ]);
    status = 400;
    expect(await run('--admin', at, 'GET', 'a/')).toMatchObject({ code: 1, err: [`${at} answers 400: no policy`] });
    const nobody = `127.0.0.1:${await freePort()}`;
    const gone = await run('--admin', nobody, 'GET', 'a/');
    expect(gone).toMatchObject({ code: 1, out: [] });
    expect(gone.err[0]).toBe(`${nobody} cannot be asked: ECONNREFUSED`);
  });

  it('asks on ports too that fetch bars, where nobody may listen', async () => {
    expect((await run('--admin', '127.0.0.1:1', 'GET', 'a/')).err).toEqual([
      '127.0.0.1:1 cannot be asked: ECONNREFUSED',
    ]);
  });
});

describe('the command line', () => {
  it('tells its usage for --help, and exits 0', async () => {
    expect(await run('--help')).toEqual({ code: 0, out: [expect.stringContaining('usage: weft explain')], err: [] });
  });

  it.each([
    [['--policy', 'x', 'GET'], 'a method and a URL are needed'],
    [['GET', 'a/'], 'either --policy or --admin'],
    [['--policy', 'x', '--admin', 'a:1', 'GET', 'a/'], 'either --policy or --admin'],
    [['--admin', 'a', 'GET', 'a/'], '--admin must be HOST:PORT'],
    [
      ['--admin', 'a:1', '--namespace', 'x', 'GET', 'a/'],
      'a sidecar knows its own namespace and identity: --namespace and --from are for --policy',
    ],
    [
      ['--policy', 'x', '--from', 'me', 'GET', 'a/'],
      '--from must be a SPIFFE ID: spiffe://TRUST_DOMAIN/ns/NAMESPACE/sa/NAME',
    ],
    [
      ['--policy', 'x', '--from', 'spiffe://x', 'GET', 'a/'],
      '--from must be a SPIFFE ID: spiffe://TRUST_DOMAIN/ns/NAMESPACE/sa/NAME',
    ],
    [['--policy', 'x', '--header', 'bad', 'GET', 'a/'], "a header must be 'name: value', not 'bad'"],
    [['--policy', 'x', '--jason', 'GET', 'a/'], 'unknown flag --jason (did you mean --json?)'],
    [['--policy', 'x', '--policy', 'y', 'GET', 'a/'], '--policy is given twice'],
    [['--json=yes', 'GET', 'a/'], '--json takes no value'],
    [['GET', 'a/', '--policy'], '--policy needs a value'],
  ])('%j exits 2: %s', async (args, line) => {
    const { code, err } = await run(...args);
    expect(code).toBe(2);
    expect(err[0]).toBe(line);
    expect(err[1]).toContain('usage: weft explain');
  });
});
