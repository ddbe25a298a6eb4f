/** nginx as a peer: one process without a master, everything it writes below one folder. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { eventually } from './eventually.ts';
import { answersOn } from './ports.ts';
import { type Program, startProgram } from './process.ts';

export interface NginxOptions {
  readonly folder: string;
  readonly name: string;
  /** Content of the `http` block; its access log is off. */
  readonly http: string;
  /** Ports it will listen on; it has started when all accept. */
  readonly ports: readonly number[];
  readonly cpu?: number | undefined;
}

export async function startNginx(options: NginxOptions): Promise<Program> {
  const { folder, name, http, ports, cpu } = options;
  const file = join(folder, `${name}.conf`);
  const scratch = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
    .map((kind) => `  ${kind}_temp_path ${join(folder, `${name}-${kind}`)};`)
    .join('\n');
  writeFileSync(
    file,
    `daemon off;
master_process off;
worker_processes 1;
worker_rlimit_nofile 20000;
pid ${join(folder, `${name}.pid`)};
error_log stderr crit;
events { worker_connections 10000; }
http {
  access_log off;
  keepalive_timeout 600s;
  keepalive_requests 1000000000;
${scratch}
${http}
}
`,
  );
  const program = startProgram({ command: 'nginx', args: ['-c', file, '-e', 'stderr'], cpu });
  await eventually(`nginx ${name} accepts`, () => answersOn(program, ports));
  return program;
}
