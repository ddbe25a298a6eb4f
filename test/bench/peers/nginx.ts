/** nginx: one process without a master, access log off, keep-alive on every side. */
import { startNginx } from '../../support/nginx.ts';
import { freePort } from '../../support/ports.ts';
import { isInstalled, type Program } from '../../support/process.ts';
import { type Deployment, deploymentOf, type Peer, pairOf } from '../peer.ts';
import type { Site } from '../site.ts';

/** Buffers that hold the largest body of the bench, so that none goes through a file. */
const PROXYING = `
  proxy_http_version 1.1;
  proxy_set_header Connection "";
  proxy_set_header Host $http_host;
  proxy_buffers 32 8k;
  proxy_max_temp_file_size 0;`;

const upstream = (port: number): string =>
  `upstream next { server 127.0.0.1:${port}; keepalive 256; keepalive_requests 1000000000; keepalive_timeout 600s; }`;

export const nginx: Peer = {
  name: 'nginx',
  compilesUnderLoad: false,
  missing: () => (isInstalled('nginx') ? null : 'nginx is not installed'),

  async hop(site) {
    const port = await freePort();
    const http = `${PROXYING}
  ${upstream(site.origin.port)}
  server { listen 127.0.0.1:${port} backlog=4096; location / { proxy_pass http://next; } }`;
    return deploymentOf(await startProxy(site, 'nginx-hop', port, http), port);
  },

  callee: nginxCallee,

  async pair(site) {
    const callee = await nginxCallee(site);
    return pairOf(await nginxCaller(site, callee.port), callee);
  },
};

/** The half of a pair that calls, over mutual TLS and HTTP/1.1, whoever listens on `meshPort`. */
export async function nginxCaller(site: Site, meshPort: number): Promise<Deployment> {
  const port = await freePort();
  return deploymentOf(await startProxy(site, 'nginx-caller', port, callerHttp(site, port, meshPort)), port);
}

export async function nginxCallee(site: Site): Promise<Deployment> {
  const port = await freePort();
  return deploymentOf(await startProxy(site, 'nginx-callee', port, calleeHttp(site, port)), port);
}

function startProxy(site: Site, name: string, port: number, http: string): Promise<Program> {
  return startNginx({ folder: site.folder, name: `${name}-${port}`, http, ports: [port], cpu: site.proxyCpu });
}

function calleeHttp(site: Site, meshPort: number): string {
  const certs = site.calleeCerts;
  return `${PROXYING}
  ${upstream(site.origin.port)}
  server {
    listen 127.0.0.1:${meshPort} ssl backlog=4096;
    ssl_certificate ${certs}/tls.crt;
    ssl_certificate_key ${certs}/tls.key;
    ssl_client_certificate ${certs}/ca.crt;
    ssl_verify_client on;
    ssl_protocols TLSv1.3;
    ssl_conf_command Ciphersuites TLS_AES_128_GCM_SHA256;
    ssl_ecdh_curve X25519;
    ssl_session_cache shared:mesh:4m;
    location / { proxy_pass http://next; }
  }`;
}

function callerHttp(site: Site, port: number, meshPort: number): string {
  const certs = site.callerCerts;
  return `${PROXYING}
  ${upstream(meshPort)}
  server {
    listen 127.0.0.1:${port} backlog=4096;
    location / {
      proxy_pass https://next;
      proxy_ssl_certificate ${certs}/tls.crt;
      proxy_ssl_certificate_key ${certs}/tls.key;
      proxy_ssl_trusted_certificate ${certs}/ca.crt;
      proxy_ssl_verify on;
      proxy_ssl_name callee.default.svc;
      proxy_ssl_protocols TLSv1.3;
      proxy_ssl_conf_command Ciphersuites TLS_AES_128_GCM_SHA256;
    }
  }`;
}
