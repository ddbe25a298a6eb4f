/** Commands, signals, exit codes (CONTRACT, "Commands"). What only one command needs is loaded by it. */
import { EXIT_FAILED, EXIT_USAGE } from '../shared/exit-codes.ts';
import { bootstrapHelp, parseBootstrap } from './config/bootstrap.ts';
import { VERSION } from './version.ts';

interface Command {
  readonly about: string;
  run(args: readonly string[], entry: string): Promise<number>;
}

const COMMANDS: Readonly<Record<string, Command>> = {
  proxy: { about: 'the sidecar', run: proxy },
  validate: { about: 'every problem of a policy folder', run: validate },
  explain: { about: 'what would become of a request, and why', run: explain },
  test: { about: 'the policy tests of a folder', run: test },
  diff: { about: 'what changes for requests between two policy folders', run: diff },
  init: { about: "the pod's traffic redirect", run: init },
  inject: { about: 'adds the sidecar to manifests, or takes it out', run: inject },
  injector: { about: 'the admission webhook that adds the sidecar to pods', run: injector },
  drain: { about: 'asks a running sidecar to let inbound traffic run out', run: drain },
  wait: { about: 'lasts until a running sidecar is ready', run: wait },
  ca: { about: 'an own certificate authority: init, issue, serve', run: ca },
};

/** Runs the command that `argv` names; sets the exit code. `entry` is the URL of the file that was started. */
export async function run(argv: readonly string[], entry: string): Promise<void> {
  const [name = '', ...args] = argv;
  const command = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined;
  if (command !== undefined) {
    process.exitCode = await command.run(args, entry);
    return;
  }
  if (name === '--version') {
    process.stdout.write(`${VERSION}\n`);
    return;
  }
  const lines = Object.entries(COMMANDS).map(([known, { about }]) => `  weft ${known.padEnd(10)} ${about}`);
  const usage = `usage: weft COMMAND | --version | --help\n${lines.join('\n')}\n`;
  const asked = name === '' || name === 'help' || name === '--help';
  if (asked) process.stdout.write(usage);
  else process.stderr.write(`weft: no command ${name}\n${usage}`);
  process.exitCode = asked ? 0 : EXIT_USAGE;
}

async function proxy(args: readonly string[], entry: string): Promise<number> {
  if (args.includes('--help')) {
    process.stdout.write(bootstrapHelp());
    return 0;
  }
  const bootstrap = parseBootstrap([...args], process.env);
  if (!bootstrap.ok) {
    for (const problem of bootstrap.error) process.stderr.write(`weft proxy: ${problem}\n`);
    return EXIT_FAILED;
  }
  const { Control } = await import('./control.ts');
  const { promise: ended, resolve: end } = Promise.withResolvers<void>();
  try {
    const control = new Control({ bootstrap: bootstrap.value, env: process.env, workerEntry: new URL(entry) }, () =>
      drain(),
    );
    let signals = 0;
    const drain = (): void => {
      signals++;
      void (signals === 1 ? control.drain() : control.stop()).then(end);
    };
    process.on('SIGTERM', drain);
    process.on('SIGINT', drain);
    await control.start();
    if (bootstrap.value.exitWithApp) {
      const { appLives, AppWatch } = await import('../deploy/lifecycle/app-watch.ts');
      const { systemClock } = await import('../shared/clock.ts');
      // Nothing is left to serve: there is no drain.
      new AppWatch(systemClock, appLives(process.getuid?.() ?? 0), () => void control.stop().then(end)).start();
    }
  } catch (error) {
    process.stderr.write(`weft proxy: ${error instanceof Error ? error.message : String(error)}\n`);
    process.exit(EXIT_FAILED);
  }
  await ended;
  process.exit(0);
}

/** Where the commands that answer a question print. A reader that has seen enough (`| head`) ends them quietly. */
function output(): { out(line: string): void; err(line: string): void } {
  process.stdout.on('error', () => process.exit());
  return {
    out: (line) => process.stdout.write(`${line}\n`),
    err: (line) => process.stderr.write(`${line}\n`),
  };
}

async function validate(args: readonly string[]): Promise<number> {
  const { runValidate } = await import('./answers/validate.ts');
  return runValidate(args, output());
}

async function explain(args: readonly string[]): Promise<number> {
  const { runExplain } = await import('./answers/explain-cli.ts');
  return runExplain(args, output());
}

async function test(args: readonly string[]): Promise<number> {
  const { runTest } = await import('./answers/test-cli.ts');
  return runTest(args, output());
}

async function diff(args: readonly string[]): Promise<number> {
  const { runDiff } = await import('./answers/diff-cli.ts');
  return runDiff(args, output());
}

async function init(args: readonly string[]): Promise<number> {
  const { runInit } = await import('../deploy/init/cli.ts');
  return runInit(args, process.env, output());
}

async function inject(args: readonly string[]): Promise<number> {
  const { runInject } = await import('../deploy/inject/cli.ts');
  const { readFileSync } = await import('node:fs');
  return runInject(args, {
    readInput: () => readFileSync(0, 'utf8'),
    out: (text) => process.stdout.write(text),
    err: (line) => process.stderr.write(`${line}\n`),
  });
}

async function injector(args: readonly string[]): Promise<number> {
  const { runInjector } = await import('../deploy/injector/cli.ts');
  return runInjector(args, process.env, output(), stopSignal());
}

async function drain(args: readonly string[]): Promise<number> {
  const { runDrain } = await import('../deploy/lifecycle/drain.ts');
  return runDrain(args, process.env, output());
}

async function wait(args: readonly string[]): Promise<number> {
  const { runWait } = await import('../deploy/lifecycle/wait.ts');
  return runWait(args, process.env, output());
}

async function ca(args: readonly string[]): Promise<number> {
  const { runCa } = await import('../certs/ca-cli.ts');
  return runCa(args, process, stopSignal());
}

function stopSignal(): AbortSignal {
  const stop = new AbortController();
  process.once('SIGTERM', () => stop.abort()).once('SIGINT', () => stop.abort());
  return stop.signal;
}
