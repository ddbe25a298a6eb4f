/** What stands behind every proxy: nginx with fixed answers, on the core of the load. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { startNginx } from '../support/nginx.ts';
import { freePort } from '../support/ports.ts';

/** Bodies by path; any path under `/route-` answers like `/1k`. */
export const BODY_BYTES: Readonly<Record<string, number>> = { '/1k': 1024, '/100k': 102_400 };

export interface Origin {
  readonly port: number;
  stop(): Promise<void>;
}

export async function startOrigin(folder: string): Promise<Origin> {
  const root = join(folder, 'www');
  mkdirSync(root);
  for (const [path, bytes] of Object.entries(BODY_BYTES)) writeFileSync(join(root, path), 'x'.repeat(bytes));
  const port = await freePort();
  const program = await startNginx({
    folder,
    name: 'origin',
    ports: [port],
    http: `
  sendfile on;
  tcp_nopush on;
  open_file_cache max=16;
  server {
    listen 127.0.0.1:${port} backlog=4096;
    root ${root};
    location = /1k { return 200 "${'x'.repeat(1024)}"; }
    location /route- { return 200 "${'x'.repeat(1024)}"; }
  }`,
  });
  return {
    port,
    async stop() {
      await program.kill();
    },
  };
}
