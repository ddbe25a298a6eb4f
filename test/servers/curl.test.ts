import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { TestCa, writeIdentity } from '../support/certificates.ts';
import { startNginx } from '../support/nginx.ts';
import { Folder } from '../support/policy.ts';
import { freePort } from '../support/ports.ts';
import { carriages, type Way } from './pair.ts';
import { behindSidecars, expectIdentity, randomText, type StartServer, sha256, shell } from './stage.ts';

/** More shows nothing new, and there are many variants. */
const MOST_BYTES = 1024 * 1024;

/** The protocol that curl is told to speak, and the version that the answer then has. */
interface Speech {
  readonly speech: string;
  readonly flag: string;
  readonly version: string;
}

interface Approach {
  readonly approach: string;
  /** curl's flags that lead it to the Service, of which it knows only the name. */
  readonly flags: (way: Way) => string;
}

/** A server of HTTP/1.1 answers in its own version (RFC 9110 section 6.2). */
const HTTP_1_0: Speech = { speech: 'HTTP/1.0', flag: '--http1.0', version: '1.1' };
const HTTP_1_1: Speech = { speech: 'HTTP/1.1', flag: '--http1.1', version: '1.1' };
const HTTP_2: Speech = { speech: 'HTTP/2', flag: '--http2-prior-knowledge', version: '2' };
const HTTP_2_BY_ALPN: Speech = { ...HTTP_2, flag: '--http2' };

const DIRECT: Approach = {
  approach: 'sent to the sidecar',
  flags: ({ outboundPort }) => `--connect-to ::127.0.0.1:${outboundPort}`,
};
const AS_PROXY: Approach = {
  approach: 'with the sidecar as http_proxy',
  flags: ({ outboundPort }) => `--proxy http://127.0.0.1:${outboundPort}`,
};
/** curl's own CONNECT. */
const TUNNELLED: Approach = {
  approach: 'through a tunnel',
  flags: (way) => `--proxytunnel ${AS_PROXY.flags(way)}`,
};

/** Where nginx takes and gives files. */
let folder: string;

/** nginx with one server; `listen` is what stands after its port, `settings` what is its own. */
function nginx(listen: string, settings: (folder: string) => string = () => ''): StartServer {
  return async (owned) => {
    folder = owned.use(new Folder('weft-curl-')).path;
    mkdirSync(`${folder}/files`);
    const port = await freePort();
    const http = `server { listen 127.0.0.1:${port} ${listen}; root ${folder}/files; client_max_body_size 64m;
  location / { dav_methods PUT; } ${settings(folder)} }`;
    owned.use(await startNginx({ folder, name: 'server', ports: [port], http }));
    return port;
  };
}

/** What is asked of one server, over all carriages. */
function asks(start: StartServer, declared: string, scheme: string, questions: readonly (Speech & Approach)[]): void {
  const stage = behindSidecars(['nginx', 'curl'], start);
  const variants = carriages(declared).flatMap((carriage) => questions.map((each) => ({ ...carriage, ...each })));

  test.each(variants)('curl over $speech $approach puts and gets files through $name', async (variant) => {
    const { flag, flags, version } = variant;
    const way = await stage().pair.carry(variant);
    const trust = scheme === 'https' ? `--cacert ${folder}/certs/ca.crt` : '';
    const curl = `curl --silent --show-error ${flag} ${flags(way)} ${trust} --write-out '%{http_version} %{http_code}'`;
    const url = `${scheme}://${way.authority}`;
    const text = randomText(Math.min(variant.bulk, MOST_BYTES));
    writeFileSync(`${folder}/sent`, text);
    rmSync(`${folder}/files/file`, { force: true });
    expect(await shell(`${curl} --upload-file ${folder}/sent ${url}/file`)).toBe(`${version} 201`);
    expect(await shell(`${curl} --output ${folder}/got ${url}/file`)).toBe(`${version} 200`);
    expect(sha256(readFileSync(`${folder}/got`))).toBe(sha256(text));
    expect(await shell(`${curl} --output /dev/null ${url}/missing`)).toBe(`${version} 404`);
    await expectIdentity(stage(), variant);
  });
}

describe('a server of HTTP/1', () => {
  asks(nginx(''), 'http', 'http', [
    { ...HTTP_1_0, ...DIRECT },
    { ...HTTP_1_1, ...AS_PROXY },
    { ...HTTP_1_1, ...TUNNELLED },
  ]);
});

describe('a server of HTTP/2 in the clear', () => {
  asks(nginx('http2'), 'http2', 'http', [
    { ...HTTP_2, ...DIRECT },
    { ...HTTP_2, ...TUNNELLED },
  ]);
});

describe('a server of TLS, of which the sidecars see bytes', () => {
  const settings = (where: string): string => {
    writeIdentity(`${where}/certs`, new TestCa('web root').identity('default/web', { dnsNames: ['whole', 'cut'] }));
    return `ssl_certificate ${where}/certs/tls.crt; ssl_certificate_key ${where}/certs/tls.key;`;
  };
  asks(nginx('ssl http2', settings), 'https', 'https', [
    { ...HTTP_1_1, ...TUNNELLED },
    { ...HTTP_2_BY_ALPN, ...TUNNELLED },
  ]);
});
