import { defineConfig, type ViteUserConfig } from 'vitest/config';

/** Where whole processes, name spaces and other people's servers are driven: a stall of the machine can look like a fault. */
const PROCESSES = ['integration', 'interop', 'security', 'servers', 'netns', 'differential'].map(
  (folder) => `test/${folder}/**/*.test.ts`,
);

// Two workers: the machines this runs on have two cores, and the tests that start real processes need one of them.
const config: ViteUserConfig = defineConfig({
  test: {
    root: new URL('..', import.meta.url).pathname,
    pool: 'forks',
    maxWorkers: 2,
    // Long enough for a machine that stands still for seconds: only a test that would never end reaches them.
    testTimeout: 60_000,
    hookTimeout: 90_000,
    expect: { poll: { timeout: 20_000 } },
    reporters: ['default', './test/support/skips.ts', './test/support/second-tries.ts'],
    projects: [
      // Decided by their inputs alone: a failure is a fault, however rarely its seed comes.
      { extends: true, test: { name: 'pure', include: ['test/**/*.test.ts'], exclude: PROCESSES } },
      // A second try decides, and the end of the run names every test that needed one.
      { extends: true, test: { name: 'processes', include: PROCESSES, retry: 1 } },
    ],
  },
});
export default config;
