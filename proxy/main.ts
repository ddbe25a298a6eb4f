/**
 * The process edge: refuses a runtime that is too old before anything else is loaded, then hands over to the command
 * line. In the bundle it is the entry of the data threads too.
 */
import { isMainThread } from 'node:worker_threads';

const OLDEST = [26, 10] as const;

const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
if (major < OLDEST[0] || (major === OLDEST[0] && minor < OLDEST[1])) {
  process.stderr.write(
    `weft needs Node ${OLDEST.join('.')} or later, this is ${process.versions.node}: run node_modules/.bin/node after make setup\n`,
  );
  process.exit(1);
}

// Without top-level await, which a CommonJS bundle cannot hold; a rejection ends the process as one would.
void (isMainThread
  ? import('./cli.ts').then(({ run }) => run(process.argv.slice(2), import.meta.url))
  : import('./worker.ts'));
